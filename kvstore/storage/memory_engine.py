"""The same protocols in memory, with a crash: what was not committed is forgotten. The simulator's disk.

Writes go into the tables at once and leave an undo record; a commit drops the records, a crash (or abort) plays them back. A read transaction
while a write is open works on a copy with the records played back; else on the tables themselves, so it must be short.
"""

import pickle
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sortedcontainers import SortedDict

from kvstore.storage.engine import KEY_BYTES_MAX, Corrupted, DiskFull, EngineError, Export
from kvstore.storage.memory_file import MemoryFile

ROW_BYTES = 64
"""What a row counts for when somebody asks for the size."""

MEMORY_JOURNAL_BYTES = 64 << 10


class MemoryTable:
    """A plain table maps key to value; a dupsort table holds (key, value) pairs mapped to b""."""

    def __init__(self, name: bytes, dupsort: bool) -> None:
        self.name = name
        self.dupsort = dupsort
        self.rows: SortedDict = SortedDict()

    def copy(self) -> "MemoryTable":
        clone = MemoryTable(self.name, self.dupsort)
        clone.rows = self.rows.copy()
        return clone


class MemoryCursor:
    """A position is a row of the table: a key, or a (key, value) pair."""

    def __init__(self, txn: "MemoryTxn", table: MemoryTable) -> None:
        self._txn = txn
        self._table = table
        self._rows = table.rows
        self._at: Any = None

    def _move(self, position: int) -> bool:
        if 0 <= position < len(self._rows):
            self._at = self._rows.peekitem(position)[0]
            return True
        self._at = None
        return False

    def _row(self, key: bytes, value: bytes = b"") -> Any:
        return (key, value) if self._table.dupsort else key

    def first(self) -> bool:
        return self._move(0)

    def last(self) -> bool:
        return self._move(len(self._rows) - 1)

    def next(self) -> bool:
        return self.first() if self._at is None else self._move(self._rows.bisect_right(self._at))

    def prev(self) -> bool:
        return self.last() if self._at is None else self._move(self._rows.bisect_left(self._at) - 1)

    def _stay_on_key(self, position: int) -> bool:
        key = self.key()
        if 0 <= position < len(self._rows) and self._rows.peekitem(position)[0][0] == key:
            return self._move(position)
        return False

    def next_dup(self) -> bool:
        return self._stay_on_key(self._rows.bisect_right(self._at))

    def prev_dup(self) -> bool:
        return self._stay_on_key(self._rows.bisect_left(self._at) - 1)

    def first_dup(self) -> bool:
        return self._move(self._rows.bisect_left((self.key(), b"")))

    def last_dup(self) -> bool:
        return self._move(self._rows.bisect_left((self.key() + b"\x00", b"")) - 1)

    def next_nodup(self) -> bool:
        if not self._table.dupsort or self._at is None:
            return self.next()
        return self._move(self._rows.bisect_left((self.key() + b"\x00", b"")))

    def prev_nodup(self) -> bool:
        if not self._table.dupsort or self._at is None:
            return self.prev()
        return self._move(self._rows.bisect_left((self.key(), b"")) - 1)

    def set_key(self, key: bytes, /) -> bool:
        return self.set_range(key) and self.key() == key

    def set_range(self, key: bytes, /) -> bool:
        return self._move(self._rows.bisect_left(self._row(key)))

    def set_range_dup(self, key: bytes, value: bytes, /) -> bool:
        return self._move(self._rows.bisect_left((key, value))) and self.key() == key

    def key(self) -> bytes:
        if self._at is None:
            return b""
        return self._at[0] if self._table.dupsort else self._at  # type: ignore[no-any-return]

    def value(self) -> bytes:
        if self._at is None:
            return b""
        return self._at[1] if self._table.dupsort else self._rows[self._at]  # type: ignore[no-any-return]

    def item(self) -> tuple[bytes, bytes]:
        return self.key(), self.value()

    def delete(self) -> bool:
        """Delete the present row and move to the next, as LMDB's does."""
        if self._at is None:
            return False
        position = self._rows.bisect_left(self._at)
        self._txn.remove(self._table, self._at)
        self._move(position)
        return True

    def close(self) -> None:
        pass

    def iternext(self, keys: bool = True, values: bool = True) -> Iterator[Any]:
        if self._at is None and not self.first():
            return
        while self._at is not None:
            yield self.item() if keys and values else self.key() if keys else self.value()
            self.next()

    def putmulti(self, items: Any, dupdata: bool = True, overwrite: bool = True, append: bool = False) -> tuple[int, int]:
        count = 0
        for key, value in items:
            self._txn.put(key, value, dupdata, overwrite, append, self._table)
            count += 1
        return count, count


class Room:
    """Is there any on the disk? What its engines share."""

    full = False

    def check(self) -> None:
        if self.full:
            raise DiskFull("no room to write (simulated)")


class MemoryTxn:
    def __init__(self, engine: "MemoryEngine", tables: dict[bytes, MemoryTable], write: bool) -> None:
        self._engine = engine
        self._tables = tables
        self._write = write
        self._open = True
        self.undo: list[tuple[MemoryTable, Any, bytes | None]] = []

    def _table(self, db: MemoryTable) -> MemoryTable:
        assert self._open, "a transaction is used only until it ends"
        return self._tables[db.name]

    def get(self, key: bytes, default: bytes | None = None, db: Any = None) -> bytes | None:
        table = self._table(db)
        if table.dupsort:
            position = table.rows.bisect_left((key, b""))
            if position < len(table.rows) and table.rows.peekitem(position)[0][0] == key:
                return table.rows.peekitem(position)[0][1]  # type: ignore[no-any-return]
            return default
        return table.rows.get(key, default)  # type: ignore[no-any-return]

    def cursor(self, db: Any = None) -> MemoryCursor:
        return MemoryCursor(self, self._table(db))

    def stat(self, db: Any) -> dict[str, int]:
        rows = len(self._table(db).rows)
        return {"entries": rows, "psize": ROW_BYTES, "branch_pages": 0, "leaf_pages": rows, "overflow_pages": 0}

    def put(self, key: bytes, value: bytes, dupdata: bool = True, overwrite: bool = True, append: bool = False, db: Any = None) -> bool:
        assert self._write, "a read transaction writes nothing"
        assert 0 < len(key) <= KEY_BYTES_MAX, "LMDB's limit on keys"
        table = self._table(db)
        assert not table.dupsort or len(value) <= KEY_BYTES_MAX, "LMDB's limit on values of dupsort tables"
        row, content = ((key, value), b"") if table.dupsort else (key, bytes(value))
        if append and table.rows:
            assert row > table.rows.peekitem(-1)[0], "append=True puts behind the end"
        if not overwrite and row in table.rows:
            return False
        self.undo.append((table, row, table.rows.get(row)))
        table.rows[row] = content
        return True

    def delete(self, key: bytes, value: bytes = b"", db: Any = None) -> bool:
        table = self._table(db)
        if not table.dupsort:
            return self.remove(table, key)
        if value:
            return self.remove(table, (key, value))
        removed = [row for row in table.rows.irange((key, b"")) if row[0] == key]
        for row in removed:
            self.remove(table, row)
        return bool(removed)

    def remove(self, table: MemoryTable, row: Any) -> bool:
        assert self._write, "a read transaction deletes nothing"
        if row not in table.rows:
            return False
        self.undo.append((table, row, table.rows.pop(row)))
        return True

    def roll_back(self) -> None:
        for table, row, content in reversed(self.undo):
            if content is None:
                table.rows.pop(row, None)
            else:
                table.rows[row] = content
        self.undo.clear()

    def commit(self) -> None:
        self._open = False
        try:
            if self.undo:
                self._engine.room.check()
        except DiskFull:
            self.roll_back()
            raise
        finally:
            self.undo.clear()
            self._engine.ended(self)

    def abort(self) -> None:
        if self._write and self._open:
            self.roll_back()
            self._engine.ended(self)
        self._open = False


class MemoryExport(Export):
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.total_bytes = len(content)

    def read(self, offset: int, size: int) -> bytes:
        return self._content[offset : offset + size]

    def close(self) -> None:
        pass


class MemoryEngine:
    def __init__(self, room: Room | None = None) -> None:
        self.room = room or Room()
        self.tables: dict[bytes, MemoryTable] = {}
        self.closed = False
        self.readonly = False
        self._writing: MemoryTxn | None = None

    def open_table(self, name: bytes, *, dupsort: bool = False) -> MemoryTable:
        return self.tables.setdefault(name, MemoryTable(name, dupsort))

    def begin_write(self) -> MemoryTxn:
        assert self._writing is None, "one write transaction at a time"
        self._writing = MemoryTxn(self, self.tables, write=True)
        return self._writing

    def begin_read(self) -> MemoryTxn:
        return MemoryTxn(self, self._committed(), write=False)

    def _committed(self) -> dict[bytes, MemoryTable]:
        if self._writing is None or not self._writing.undo:
            return self.tables
        tables = {name: table.copy() for name, table in self.tables.items()}
        view = MemoryTxn(self, tables, write=True)
        view.undo = [(tables[table.name], row, content) for table, row, content in self._writing.undo]
        view.roll_back()
        return tables

    def ended(self, txn: MemoryTxn) -> None:
        assert txn is self._writing, "the write transaction that ends is the one that is open"
        self._writing = None

    def crash(self) -> None:
        """Forget what was not committed."""
        if self._writing is not None:
            self._writing.abort()

    def size_bytes(self) -> int:
        return sum(len(table.rows) for table in self.tables.values()) * ROW_BYTES

    def size_in_use_bytes(self) -> int:
        return self.size_bytes()

    def export(self) -> MemoryExport:
        rows = {name: (table.dupsort, list(table.rows.items())) for name, table in self._committed().items()}
        self.room.check()
        return MemoryExport(pickle.dumps(rows))

    def errors(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        self.closed = True


class MemoryImporter:
    def __init__(self, disk: "MemoryDisk", total_bytes: int) -> None:
        self._disk = disk
        self._content = bytearray(total_bytes)
        self._received = 0

    def write(self, offset: int, data: bytes) -> None:
        self._disk.room.check()
        self._content[offset : offset + len(data)] = data
        self._received = max(self._received, offset + len(data))

    def _rows(self) -> dict[bytes, tuple[bool, list[tuple[Any, bytes]]]]:
        if self._received != len(self._content):
            raise Corrupted(f"received {self._received} of {len(self._content)} bytes of the state")
        try:
            return pickle.loads(bytes(self._content))  # type: ignore[no-any-return]
        except Exception as error:
            raise Corrupted(f"what was received is not a state: {error}") from error

    def prepare(self) -> None:
        self._rows()

    def finish(self) -> MemoryEngine:
        rows = self._rows()
        engine = MemoryEngine(self._disk.room)
        for name, (dupsort, items) in rows.items():
            engine.open_table(name, dupsort=dupsort).rows.update(items)
        self._disk.state.close()
        self._disk.state = engine
        return engine

    def abort(self) -> None:
        self._received = 0


class MemoryDisk:
    """A member's two environments and its journal. They outlive the member: open them again after `crash`."""

    def __init__(self, journal_bytes: int = MEMORY_JOURNAL_BYTES) -> None:
        self.room = Room()
        self.journal = MemoryFile(journal_bytes)
        self.log = MemoryEngine(self.room)
        self.state = MemoryEngine(self.room)

    def open_log(self) -> MemoryEngine:
        self.log.closed = False
        return self.log

    def open_journal(self) -> MemoryFile:
        return self.journal

    def open_state(self) -> MemoryEngine:
        self.state.closed = False
        return self.state

    def import_state(self, total_bytes: int) -> MemoryImporter:
        return MemoryImporter(self, total_bytes)

    def defragment_state(self) -> MemoryEngine:
        return self.state

    def crash(self, rng: random.Random | None = None) -> None:
        """Transactions are forgotten. With `rng` the power went, too: of what the journal has not synced, chance leaves some."""
        self.log.crash()
        self.state.crash()
        if rng is not None:
            self.journal.power_cut(rng)


__all__ = ["EngineError", "MemoryDisk", "MemoryEngine"]
