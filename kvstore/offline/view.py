"""A state opened for reading only: no lock file, no new table, not a byte changed; so also for files on read-only media."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from kvstore.ids import Revision
from kvstore.mvcc.store import FIRST_REVISION
from kvstore.storage.engine import Corrupted, ReadTxn, Table
from kvstore.storage.engine_errors import EngineErrors
from kvstore.storage.lmdb_engine import DEFAULT_MAP_BYTES, TABLES_MAX, is_readable
from kvstore.storage.tables import SCHEMA_KEY, SCHEMA_VERSION, StateTables

META = "state_meta"


class StateView:
    """One read transaction over everything. `names` are the tables that the file has; `tables` has None for those that it lacks, being older."""

    def __init__(self, path: Path, environment: Any, txn: Any) -> None:
        self.path = path
        self.txn: ReadTxn = txn
        self.names = [name.decode() for name, _ in txn.cursor()]
        if META not in self.names or "history" not in self.names:
            raise Corrupted(f"{path}: an LMDB file, but not a state of Keelson")
        self.handles: dict[str, Table] = {name: environment.open_db(name.encode(), txn=txn, create=False) for name in self.names}
        schema = int.from_bytes(self.meta(SCHEMA_KEY), "big")
        if schema > SCHEMA_VERSION:
            raise Corrupted(f"{path}: schema version {schema}, this release reads up to {SCHEMA_VERSION}: use a newer release")
        fields = StateTables.__struct_fields__
        self.tables = StateTables(*(self.handles.get(META if field == "meta" else field) for field in fields))

    def meta(self, name: bytes) -> bytes:
        return self.txn.get(name, db=self.handles[META]) or b""

    @property
    def revision(self) -> Revision:
        return Revision(int.from_bytes(self.meta(b"revision"), "big") or FIRST_REVISION)

    @property
    def compacted_revision(self) -> Revision:
        return Revision(int.from_bytes(self.meta(b"compacted"), "big"))

    def rows(self, name: str) -> int:
        return self.txn.stat(self.handles[name])["entries"]


@contextlib.contextmanager
def open_view(path: Path, *, trusted: bool) -> Iterator[StateView]:
    """Open the state in `path`; a checksum behind it does not disturb. Raises Corrupted, EngineError.

    LMDB believes what its pages say, so a damaged file can kill its reader. One that was not checked otherwise (not `trusted`) is first read by a
    process that may die of it.
    """
    if not trusted and not is_readable(path):
        raise Corrupted(f"{path}: the file is damaged or cut short: not all of it can be read")
    with EngineErrors(path):
        environment: Any = lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, max_dbs=TABLES_MAX, map_size=DEFAULT_MAP_BYTES, readahead=True
        )
    try:
        with environment.begin() as txn, EngineErrors(path):
            yield StateView(path, environment, txn)
    finally:
        environment.close()
