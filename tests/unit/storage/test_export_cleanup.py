"""A copy of the state that could not be finished leaves nothing behind: half of it would keep a full disk full."""

from pathlib import Path
from typing import Any

import lmdb
import pytest

from kvstore.storage.engine import DiskFull
from kvstore.storage.lmdb_engine import LmdbEngine


class _FullDisk:
    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment = environment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def copy(self, path: str, **_: Any) -> None:
        Path(path).write_bytes(b"half")
        raise lmdb.DiskError("mdb_env_copy2: No space left on device")


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path / "state.mdb", 1 << 20)
    before = set(tmp_path.iterdir())
    engine._env = _FullDisk(engine._env)
    try:
        with pytest.raises(DiskFull):
            engine.export()
        assert set(tmp_path.iterdir()) == before
    finally:
        engine.close()
