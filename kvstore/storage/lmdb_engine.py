"""LMDB as an `Engine`, and a directory of environments as a `Disk`.

Each environment is one file (`log.mdb`, `state.mdb`), so that a received or compacted state replaces the old one by a rename; `journal` belongs
to the log (`raftlog`). LMDB's options, and why:

* `sync`, `metasync` on and no WRITEMAP: a commit is on disk when it returns, and a power cut leaves the last commit. `sync=False` is
  etcd's --unsafe-no-fsync.
* `meminit=False`: pages need no zeroing, nobody else reads the file.
* `max_spare_txns`: a few read transactions are kept for reuse; beginning one then costs under a microsecond.
* `readahead=False`: look-ups are random; reading ahead only evicts what is needed.
* A write transaction ends in the thread that began it, and before its environment goes: LMDB's lock stands in a list of that thread's, and one that
  the garbage collector ends elsewhere leaves the list pointing at memory that is no longer there. The next transaction of the thread writes to it.
* The map is address space, not memory or disk: it is opened large, and the file grows as it is written.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lmdb

from kvstore.storage.engine import Corrupted, DiskFull, EngineError, Export, ReadTxn, Table, WriteTxn
from kvstore.storage.engine_errors import EngineErrors
from kvstore.storage.file import SystemFile, create, sync_directory
from kvstore.storage.journal import JOURNAL_BYTES

TABLES_MAX = 32
READERS_MAX = 126
RESERVED_BYTES = 8 << 20
"""What a copy of the state leaves free on the disk: some seconds of the log."""
SPARE_TXNS = 8
DEFAULT_MAP_BYTES = 64 << 30
UNLIMITED_MAP_BYTES = 4 << 40
JOURNAL_FILE = "journal"


_READ_EVERYTHING = """
import lmdb, sys
environment = lmdb.open(sys.argv[1], subdir=False, readonly=True, lock=False, max_dbs=int(sys.argv[2]))
with environment.begin() as txn:
    for name, _ in txn.cursor():
        for _ in txn.cursor(environment.open_db(name, txn=txn, create=False)):
            pass
"""


def is_readable(path: Path) -> bool:
    """Can every table of this file be read to its end? Tried in a process of its own, which may die of it."""
    command = [sys.executable, "-I", "-c", _READ_EVERYTHING, str(path), str(TABLES_MAX)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


class FileExport(Export):
    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        self.total_bytes = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class LmdbEngine:
    def __init__(self, path: Path, map_bytes: int, *, sync: bool = True, readonly: bool = False) -> None:
        """`readonly`: beside the process that owns the file, and trusting nothing: a file cut short is not looked for, reading it ends this one."""
        self.path = path
        self.readonly = readonly
        self.closed = False
        self._exports = 0
        self._tables: dict[bytes, Table] = {}
        self._errors = EngineErrors(path)
        with self._errors:
            self._env = lmdb.open(
                str(path),
                subdir=False,
                map_size=map_bytes,
                max_dbs=TABLES_MAX,
                max_readers=READERS_MAX,
                max_spare_txns=SPARE_TXNS,
                meminit=False,
                readahead=False,
                sync=sync,
                metasync=sync,
                mode=0o600,
                readonly=readonly,
            )
        if readonly:
            return
        try:
            self._check_length()
        except BaseException:
            self._env.close()
            raise

    def _check_length(self) -> None:
        """A file that was cut short would kill us with SIGBUS, without a word, when the first page that is gone is read.

        Pages that one transaction took and gave back may rightly lie behind the end, so shortness alone proves nothing: then a process that may
        die of it reads everything once. Raises Corrupted.
        """
        if self.path.stat().st_size >= self.size_bytes():
            return
        if not is_readable(self.path):
            raise Corrupted(
                f"{self.path}: the file ends before its data does (it was cut short); if other members are healthy, "
                "remove this member's data directory and let it join again"
            )

    def open_table(self, name: bytes, *, dupsort: bool = False) -> Table:
        table = self._tables.get(name)
        if table is None:
            with self._errors:
                table = self._tables[name] = self._env.open_db(name, dupsort=dupsort)
        return table

    def begin_write(self) -> WriteTxn:
        with self._errors:
            txn: Any = self._env.begin(write=True)
            return txn  # type: ignore[no-any-return]

    def begin_read(self) -> ReadTxn:
        with self._errors:
            txn: Any = self._env.begin()
            return txn  # type: ignore[no-any-return]

    def errors(self) -> EngineErrors:
        """For what is done with transactions, which are LMDB's own."""
        return self._errors

    def size_bytes(self) -> int:
        info = self._env.info()
        return (int(info["last_pgno"]) + 1) * int(self._env.stat()["psize"])

    def size_in_use_bytes(self) -> int:
        """Pages of all tables as of the last commit, and those that LMDB needs for itself; what is left of the file are free pages."""
        with self._env.begin() as txn:
            stats = [txn.stat(table) for table in self._tables.values()]
        pages = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return min((pages + 4) * int(self._env.stat()["psize"]), self.size_bytes())

    def count(self, table: Table) -> int:
        """Entries of a table as of the last commit; costs nothing."""
        with self._env.begin() as txn:
            return int(txn.stat(table)["entries"])

    def count_readers(self) -> int:
        """Read transactions open on this file, in any process."""
        lines = str(self._env.readers()).splitlines()[1:]
        return sum(not line.rstrip().endswith("-") for line in lines)

    def export(self) -> FileExport:
        check_room(self.path, self.size_in_use_bytes())
        self._exports += 1
        target = self.path.with_name(f"{self.path.name}.export-{os.getpid()}-{self._exports}")
        try:
            with self._errors:
                self._env.copy(str(target), compact=True)
        except BaseException:
            target.unlink(missing_ok=True)  # half a copy would keep a full disk full
            raise
        return FileExport(target)

    def close(self) -> None:
        self.closed = True
        self._env.close()


def check_room(path: Path, wanted_bytes: int) -> None:
    """Raises DiskFull if a copy of that size would leave the log too little to be written to: a copy can wait, the log cannot."""
    with EngineErrors(path):
        system = os.statvfs(path.parent)
    free_bytes = system.f_bavail * system.f_frsize
    if free_bytes < wanted_bytes + RESERVED_BYTES:
        raise DiskFull(
            f"{path}: a copy takes {wanted_bytes} bytes and has to leave {RESERVED_BYTES} to the log, but {free_bytes} are free: free disk space"
        )


class FileImporter:
    """Receives the bytes of `state.mdb` into a file beside it, and puts it in its place by a rename. Unbuffered: what fails, fails where it is
    written, and closing has nothing left to do that could."""

    def __init__(self, disk: "LmdbDisk", total_bytes: int) -> None:
        self._disk = disk
        self._total_bytes = total_bytes
        self._received = 0
        self._path = disk.directory / "state.mdb.incoming"
        self._errors = EngineErrors(self._path)
        with self._errors:
            self._path.unlink(missing_ok=True)
        check_room(self._path, total_bytes)
        with self._errors:
            self._file = self._path.open("wb", buffering=0)

    def write(self, offset: int, data: bytes) -> None:
        with self._errors:
            self._file.seek(offset)
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]  # a disk that fills up takes a part first, then refuses
        self._received = max(self._received, offset + len(data))

    def prepare(self) -> None:
        with self._errors:
            os.fsync(self._file.fileno())
        if self._received != self._total_bytes:
            raise Corrupted(f"{self._path}: received {self._received} of {self._total_bytes} bytes of the state")
        self._disk.check_state(self._path)

    def finish(self) -> LmdbEngine:
        try:
            self.prepare()
        except EngineError:
            self.abort()
            raise
        self._file.close()
        return self._disk.replace_state(self._path)

    def abort(self) -> None:
        self._file.close()
        with self._errors:
            self._path.unlink(missing_ok=True)
            self._path.with_name(f"{self._path.name}-lock").unlink(missing_ok=True)


def restoring(directory: Path) -> Path:
    """Where a restore builds what it renames to `directory` at its end. While that is there, nobody may begin anew beside it."""
    return directory.with_name(f"{directory.name}.restoring")


class LmdbDisk:
    """A member's directory. Only one process may have it: a second is refused."""

    def __init__(self, directory: Path, map_bytes: int = DEFAULT_MAP_BYTES, *, sync: bool = True) -> None:
        self.directory = directory
        self._map_bytes = map_bytes
        self._sync = sync
        if (unfinished := restoring(directory)).exists():
            raise EngineError(f"{unfinished}: a restore into this directory was not finished: repeat it, or remove the directory")
        with EngineErrors(directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (directory / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise EngineError(f"{directory}: another process has this data directory open; stop it first") from None
        for leftover in [*directory.glob("*.incoming*"), *directory.glob("*.export-*")]:
            leftover.unlink()

    def open_log(self) -> LmdbEngine:
        return LmdbEngine(self.directory / "log.mdb", self._map_bytes, sync=self._sync)

    def open_journal(self) -> SystemFile:
        """Zeros if it was not there: whether it should have been, the log knows. Raises DiskFull, EngineError."""
        path = self.directory / JOURNAL_FILE
        if not path.exists():
            create(path, JOURNAL_BYTES)
        return SystemFile(path, sync=self._sync)

    def open_state(self) -> LmdbEngine:
        return LmdbEngine(self.directory / "state.mdb", self._map_bytes, sync=self._sync)

    def import_state(self, total_bytes: int) -> FileImporter:
        return FileImporter(self, total_bytes)

    def defragment_state(self) -> LmdbEngine:
        engine = self.open_state()
        try:
            export = engine.export()
        finally:
            engine.close()
        try:
            with EngineErrors(export.path), export.path.open("rb+") as file:
                os.fsync(file.fileno())
            return self.replace_state(export.path)
        finally:
            export.close()

    def check_state(self, path: Path) -> None:
        """Raises Corrupted if `path` is not a database that opens."""
        LmdbEngine(path, self._map_bytes, sync=self._sync).close()

    def replace_state(self, path: Path) -> LmdbEngine:
        """Put the synced file `path` in the place of the state, which nobody has open, if it opens at all."""
        self.check_state(path)
        state = self.directory / "state.mdb"
        with EngineErrors(state):
            path.with_name(f"{path.name}-lock").unlink(missing_ok=True)
            state.with_name("state.mdb-lock").unlink(missing_ok=True)
            path.replace(state)
            sync_directory(self.directory)
        return self.open_state()

    def close(self) -> None:
        self._lock.close()
