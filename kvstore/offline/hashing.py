"""HashKV of a file: the number that a member with the same keys gives, so that a backup can be compared with what it is of."""

import contextlib
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from kvstore.mvcc.hash import hash_kv
from kvstore.mvcc.store import FIRST_REVISION
from kvstore.offline.datadir import stopped
from kvstore.offline.migration import adopt
from kvstore.offline.snapshots import Kind, SnapshotRefused, examine, verify
from kvstore.offline.view import open_view
from kvstore.storage.engine import ReadTxn
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.tables import StateTables


class FileHash(Struct, frozen=True):
    """`compact_revision` is -1 if it was never compacted, as a member says it."""

    hash: int
    hash_revision: int
    compact_revision: int


class _Content(Struct):
    txn: ReadTxn
    tables: StateTables
    revision: int
    compacted: int


def hash_file(path: Path, revision: int = 0) -> FileHash:
    """Of a snapshot, etcd's or Keelson's, or of a stopped member's data directory; 0 is the newest revision. Raises SnapshotRefused, EngineError."""
    with _content(path) as content:
        at = revision or content.revision
        if at > content.revision:
            raise SnapshotRefused(f"{path}: revision {at} is not there: the newest is {content.revision}")
        if at < content.compacted:
            raise SnapshotRefused(f"{path}: revision {at} has been compacted: the oldest is {content.compacted}")
        try:
            checksum = hash_kv(content.txn, content.tables, at, content.compacted)
        except (IndexError, ValueError, struct.error) as error:  # lengths inside a row that lead outside of it
            raise SnapshotRefused(f"{path}: damaged: a row cannot be read ({error})") from error
        return FileHash(checksum, at, content.compacted or -1)


@contextlib.contextmanager
def _content(path: Path) -> Iterator[_Content]:
    if path.is_dir():
        with stopped(path) as disk, _state(disk.directory / "state.mdb", trusted=False) as content:
            yield content
        return
    snapshot = examine(path)
    if snapshot.checksum is not None:
        verify(snapshot)
    if snapshot.kind is Kind.KEELSON:
        with _state(path, trusted=snapshot.checksum is not None) as content:
            yield content
        return
    with (
        tempfile.TemporaryDirectory(prefix="kvctl-hashkv-") as folder,
        contextlib.closing(LmdbDisk(Path(folder) / "member", sync=False)) as disk,
        contextlib.closing(disk.open_state()) as engine,
    ):
        machine = adopt(snapshot, engine)
        try:
            yield _Content(machine.transaction, machine.tables, machine.revision, machine.compacted_revision)
        finally:
            machine.transaction.abort()


@contextlib.contextmanager
def _state(path: Path, *, trusted: bool) -> Iterator[_Content]:
    with open_view(path, trusted=trusted) as view:
        yield _Content(view.txn, view.tables, max(view.revision, FIRST_REVISION), view.compacted_revision)
