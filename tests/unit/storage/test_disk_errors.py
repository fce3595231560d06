"""What a failing disk is called: full, damaged or otherwise, always with the file's name; and what a failure must not leave behind."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lmdb
import pytest

from kvstore.ids import Index, Term
from kvstore.raft.messages import ConfState, Entry, SnapshotMeta
from kvstore.storage import lmdb_engine
from kvstore.storage.engine import Corrupted, DiskFull, EngineError
from kvstore.storage.engine_errors import EngineErrors
from kvstore.storage.lmdb_engine import RESERVED_BYTES, LmdbDisk, LmdbEngine
from kvstore.storage.raftlog import RaftLog, _encode


def free_bytes(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(lmdb_engine.os, "statvfs", lambda _: SimpleNamespace(f_bavail=number, f_frsize=1))


@pytest.mark.parametrize(
    ("error", "free", "kind"),
    [
        (lmdb.MapFullError("mdb_put"), 1 << 40, DiskFull),
        (lmdb.DiskError("mdb_txn_commit: No space left on device"), 0, DiskFull),
        (lmdb.Error("mdb_txn_commit: File too large"), 1 << 40, DiskFull),
        (lmdb.Error("mdb_txn_commit: Input/output error"), 4096, DiskFull),
        (lmdb.Error("mdb_txn_commit: Input/output error"), 1 << 40, EngineError),
        (lmdb.PanicError("mdb_txn_begin"), 1 << 40, EngineError),
        (lmdb.CorruptedError("mdb_get"), 1 << 40, Corrupted),
        (lmdb.PageNotFoundError("mdb_get"), 1 << 40, Corrupted),
        (OSError(errno.ENOSPC, "No space left on device"), 0, DiskFull),
        (OSError(errno.EIO, "Input/output error"), 1 << 40, EngineError),
    ],
)
def test_failures_by_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, free: int, kind: type) -> None:
    free_bytes(monkeypatch, free)
    with pytest.raises(EngineError, match=str(tmp_path)) as raised, EngineErrors(tmp_path / "state.mdb"):
        raise error
    assert type(raised.value) is kind


def test_our_own_mistakes_are_not_the_disks(tmp_path: Path) -> None:
    with pytest.raises(KeyError), EngineErrors(tmp_path / "state.mdb"):
        raise KeyError("mistake")


def test_copies_leave_room_for_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk = LmdbDisk(tmp_path, 1 << 26)
    state = disk.open_state()
    state.open_table(b"t")
    free_bytes(monkeypatch, RESERVED_BYTES + state.size_in_use_bytes() - 1)
    with pytest.raises(DiskFull, match="has to leave"):
        state.export()
    with pytest.raises(DiskFull, match="has to leave"):
        disk.import_state(state.size_in_use_bytes())
    state.close()
    with pytest.raises(DiskFull):
        disk.defragment_state()
    free_bytes(monkeypatch, RESERVED_BYTES + (1 << 20))
    disk.defragment_state().close()
    assert not list(tmp_path.glob("*.export-*"))
    disk.close()


def test_a_received_state_that_meets_a_full_disk_is_an_error_and_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk = LmdbDisk(tmp_path, 1 << 26)
    importer = disk.import_state(1000)

    class Full:
        def __init__(self, file: Any) -> None:
            self.seek, self.close, self.fileno = file.seek, file.close, file.fileno
            self.written = 0

        def write(self, data: memoryview) -> int:
            self.written += len(data) // 2
            if self.written > 400:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return len(data) // 2

    importer._file = Full(importer._file)
    with pytest.raises(DiskFull):
        importer.write(0, b"x" * 1000)
    importer.abort()
    assert not list(tmp_path.glob("*.incoming*"))
    disk.close()


def test_what_an_unfinished_cut_left_goes_with_the_next(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path / "log.mdb", 1 << 26)
    log = RaftLog(engine)
    log.bootstrap(ConfState(), b"me")
    log.append([Entry(Term(1), Index(index), b"x") for index in range(1, 31)], None)
    txn = engine.begin_write()
    txn.put(b"snapshot", _encode(SnapshotMeta(Index(10), Term(1), ConfState())), db=log._tables.meta)  # a crash right behind the first step of a cut
    txn.commit()
    log = RaftLog(engine)
    log.cut(SnapshotMeta(Index(20), Term(1), ConfState()))
    reading = engine.begin_read()
    assert reading.stat(log._tables.entries)["entries"] == 10
    reading.abort()
    engine.close()
