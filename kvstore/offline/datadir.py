"""A stopped member's data directory: found, locked against a start meanwhile, checked, defragmented."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kvstore.mvcc.inspection import Inspection
from kvstore.offline.snapshots import SnapshotRefused
from kvstore.server import inspector
from kvstore.storage.lmdb_engine import LmdbDisk


@contextlib.contextmanager
def stopped(data_dir: Path) -> Iterator[LmdbDisk]:
    """The member's files, which nobody else has meanwhile. Raises SnapshotRefused if there are none, EngineError if a member runs on them."""
    if not (data_dir / "member" / "state.mdb").is_file():
        raise SnapshotRefused(f"{data_dir}: not a data directory of Keelson: it has no member/state.mdb")
    disk = LmdbDisk(data_dir / "member")
    try:
        yield disk
    finally:
        disk.close()


def check(data_dir: Path) -> Inspection:
    """Read all of log and state and hold it against itself; `damage` names file, table and key of what cannot be right. Raises SnapshotRefused,
    EngineError if it cannot be looked at: there is none, or a member runs on it."""
    with stopped(data_dir) as disk:
        return inspector.run(disk.directory / "state.mdb", 0, thorough=True, log=disk.directory / "log.mdb")


def defragment(data_dir: Path) -> tuple[int, int]:
    """Rewrite the state without its free pages; the sizes before and after, in bytes. Raises SnapshotRefused, EngineError."""
    with stopped(data_dir) as disk:
        state = disk.directory / "state.mdb"
        before = state.stat().st_size
        disk.defragment_state().close()
        return before, state.stat().st_size
