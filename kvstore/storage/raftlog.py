"""The Raft log: what the core reads (`raft.storage.Storage`), and what the disk thread writes. Its home are tables of an engine; before them stands a
journal, which makes an append durable with one flush instead of the two of a commit.

    append      one record into the journal: the entries as they came, and the hard state
    checkpoint  when the journal is full or has many entries: what is only there goes into the tables, in one transaction, together
                with the mark of the next epoch
    open        the tables, and above them the records since their mark

Entries that only the journal has stay in memory, as a list behind the tables (`_Recent`); where both have an index, the list counts. An append
that the journal has no room for is part of a checkpoint itself. Without a journal every append is one.

Every entry in the tables carries a CRC-32, checked whenever it is read, so that a flipped byte is an error with a name and never a different command;
so do the term, the vote, the beginning and the identity.

Two threads. Writes come from one (`append`, `cut`, `reset`, `close`), reads from another, and neither waits for the other:

* A reader takes `_recent` first, then begins a read transaction. A checkpoint publishes the empty list after its commit. So who got the full list
  reads all from it, and who got the empty one sees the commit. `cut` says where the log begins, drops from the list, and deletes then.
* A published `_Recent` only grows at its end, by one `list.extend`, which no other thread sees half done. What else changes it makes a new one.
* An index that is about to be overwritten is not asked for (`raft.log`: storage is never asked at or above its offset).
"""

import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar
from zlib import crc32

import msgspec

from kvstore.ids import NO_INDEX, NO_TERM, Index, Term
from kvstore.raft.messages import ConfState, Entry, HardState, SnapshotMeta
from kvstore.storage.engine import Corrupted, Engine, ReadTxn, WriteTxn
from kvstore.storage.file import File
from kvstore.storage.journal import Journal, Mark
from kvstore.storage.tables import open_log_tables

CUT_ENTRIES_PER_STEP = 2000
"""Entries dropped in one transaction: bounds how long a cut holds up the next append."""

CHECKPOINT_ENTRIES = 2000
"""With so many that only the journal has, a checkpoint is due: the next append waits for it, some milliseconds. A commit each so many costs each of
them a quarter of a microsecond."""

CHECK_BYTES = 4 << 20

_T = TypeVar("_T")
_Appended = tuple[HardState | None, list[Entry]]
"""A record of the journal."""

_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_decode_appended = msgspec.msgpack.Decoder(_Appended).decode


def _key(index: int) -> bytes:
    return index.to_bytes(8, "big")


CHECKED = b"\xc1"
"""Before a row's checksum; msgpack never begins so. Rows of the first releases have none, and are read as they are."""


def _row(encoded: bytes) -> bytes:
    """A row that says when it is damaged: a vote or a term that changed would break what was promised."""
    return CHECKED + crc32(encoded).to_bytes(4, "big") + encoded


def _content(stored: bytes, name: bytes) -> bytes:
    if not stored.startswith(CHECKED):
        return stored
    if crc32(stored[5:]).to_bytes(4, "big") != stored[1:5]:
        raise Corrupted(f"log: the row {name.decode()} is damaged (checksum): remove this member from the cluster and let it join again")
    return stored[5:]


def _value(entry: Entry) -> bytes:
    encoded = _encode(entry)
    return crc32(encoded).to_bytes(4, "big") + encoded


def _draw_id() -> int:
    return secrets.randbits(64)


class _Recent:
    """Entries `first` and following, without a gap up to the end of the log: those that no checkpoint has written yet."""

    __slots__ = ("entries", "first")

    def __init__(self, first: int, entries: list[Entry]) -> None:
        self.first = first
        self.entries = entries

    def between(self, first: int, last: int) -> list[Entry]:
        return self.entries[first - self.first : last - self.first + 1]

    def with_appended(self, entries: Sequence[Entry]) -> "_Recent":
        """A new one; `entries` replace what has their first index or a higher one."""
        if not entries:
            return self
        first = entries[0].index
        return _Recent(min(self.first, first), [*self.entries[: max(0, first - self.first)], *entries])


def within(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """As many as have at most so much data, and the first in any case."""
    size = 0
    for position, entry in enumerate(entries):
        size += len(entry.data)
        if position and size > bytes_max:
            return entries[:position]
    return entries


class RaftLog:
    def __init__(self, engine: Engine, file: File | None = None, draw_id: Callable[[], int] = _draw_id) -> None:
        """`file` becomes the journal if the log has none yet. Raises Corrupted; without its journal a log that has one is not whole."""
        self._engine = engine
        self._errors = engine.errors()
        self._tables = open_log_tables(engine)
        txn = engine.begin_read()
        try:
            self._hard_state = self._meta(txn, b"hard_state", HardState) or HardState()
            self._snapshot = self._meta(txn, b"snapshot", SnapshotMeta) or SnapshotMeta(NO_INDEX, NO_TERM, ConfState())
            mark = self._meta(txn, b"journal", Mark)
            cursor = txn.cursor(db=self._tables.entries)
            self._table_last = int.from_bytes(cursor.key(), "big") if cursor.last() else 0
            cursor.close()
        finally:
            txn.abort()
        self._last_index = Index(max(self._table_last, self._snapshot.index))
        self._recent = _Recent(self._last_index + 1, [])
        self._draw_id = draw_id
        self._unused: Journal | None = None
        """The first append makes it the journal. Until then nothing may be changed: perhaps a log is missing here that it belongs to."""
        self._journal = self._opened(file, mark)

    def _opened(self, file: File | None, mark: Mark | None) -> Journal | None:
        if mark is None:
            if file is not None and not file.readonly:
                self._unused = Journal(file)
                self._unused.check_unused()
            return None
        if file is None:
            raise Corrupted("log: its journal is missing, and with it what was appended last: restore both together, or let this member join again")
        journal = Journal(file)
        for content in journal.recover(mark):
            try:
                hard_state, entries = _decode_appended(content)
            except msgspec.MsgspecError as error:
                raise Corrupted(f"the log's journal holds something else than entries: {error}") from error
            self._recover(entries, hard_state)
        return journal

    def _begin_journal(self, journal: Journal) -> None:
        mark = journal.format(self._draw_id())
        with self._errors:
            txn = self._engine.begin_write()
            txn.put(b"journal", _row(_encode(mark)), db=self._tables.meta)
            txn.commit()
        self._journal, self._unused = journal, None

    def _recover(self, entries: list[Entry], hard_state: HardState | None) -> None:
        """Append once more what a record says. What was cut since is left out, but its place in the order still ends what was longer."""
        if entries:
            begin = self._snapshot.index + 1
            first = max(entries[0].index, begin)
            if entries[0].index > self._last_index + 1:
                raise Corrupted(f"log: the journal goes on with entry {entries[0].index}, but the log ends at {self._last_index}")
            recent = self._recent
            kept = [entry for entry in entries if entry.index >= begin]
            if first == recent.first + len(recent.entries):
                recent.entries.extend(kept)
            else:
                self._recent = _Recent(min(recent.first, first), [*recent.entries[: max(0, first - recent.first)], *kept])
            self._last_index = Index(max(entries[-1].index, self._snapshot.index))
        if hard_state is not None:
            self._hard_state = hard_state

    def _meta(self, txn: ReadTxn, name: bytes, kind: type[_T]) -> _T | None:
        stored = txn.get(name, db=self._tables.meta)
        if stored is None:
            return None
        try:
            return msgspec.msgpack.decode(_content(stored, name), type=kind)
        except msgspec.MsgspecError as error:
            raise Corrupted(f"log: the row {name.decode()} is damaged: {error}") from error

    # --- what the core reads --------------------------------------------------------------------------------------------

    def hard_state(self) -> HardState:
        return self._hard_state

    def snapshot(self) -> SnapshotMeta:
        return self._snapshot

    def last_index(self) -> Index:
        return self._last_index

    def term_at(self, index: Index) -> Term | None:
        snapshot = self._snapshot
        if index <= snapshot.index:
            return snapshot.term if index == snapshot.index else None
        recent = self._recent
        if index >= recent.first:
            found = recent.between(index, index)
            return found[0].term if found else None
        txn = self._engine.begin_read()
        try:
            with self._errors:
                stored = txn.get(_key(index), db=self._tables.entries)
            return None if stored is None else self._checked(index, stored).term
        finally:
            txn.abort()

    def entries(self, first: Index, last: Index, bytes_max: int) -> Sequence[Entry]:
        """Raises Corrupted if one that should be there is missing or damaged. Empty: they were cut away meanwhile, by the disk's thread."""
        recent = self._recent
        if first >= recent.first:
            chosen = within(recent.between(first, last), bytes_max)
        else:
            chosen = self._from_table(first, min(last, recent.first - 1), bytes_max)
            if chosen and chosen[-1].index + 1 == recent.first <= last:
                chosen = within([*chosen, *recent.between(recent.first, last)], bytes_max)
        if not chosen:
            # `cut` says first where the log begins and deletes then: who finds nothing and looks again knows which of the two it is.
            if first <= self._snapshot.index:
                return ()
            raise Corrupted(f"log: entry {first} is missing, though the log runs from {self._snapshot.index + 1} to {self._last_index}")
        return chosen

    def _from_table(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        chosen: list[Entry] = []
        size = 0
        txn = self._engine.begin_read()
        try:
            with self._errors:
                cursor = txn.cursor(db=self._tables.entries)
                index = first
                if cursor.set_range(_key(first)):
                    for key, stored in cursor.iternext():
                        if index > last or key != _key(index):
                            break
                        entry = self._checked(index, stored)
                        size += len(entry.data)
                        if chosen and size > bytes_max:
                            break
                        chosen.append(entry)
                        index += 1
                cursor.close()
        finally:
            txn.abort()
        return chosen

    def check(self) -> None:
        """Read everything: every entry is there, in order, and has its checksum. Raises Corrupted."""
        index = self._snapshot.index
        while index < self._last_index:
            index = self.entries(Index(index + 1), self._last_index, CHECK_BYTES)[-1].index

    @staticmethod
    def _checked(index: int, stored: bytes) -> Entry:
        encoded = stored[4:]
        if crc32(encoded).to_bytes(4, "big") != stored[:4]:
            raise Corrupted(f"log: entry {index} is damaged (checksum): remove this member's data directory and let it join again")
        entry = _decode_entry(encoded)
        if entry.index != index:
            raise Corrupted(f"log: the place of entry {index} holds entry {entry.index}")
        return entry

    # --- what the disk thread writes ------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> int:
        """On disk when it returns; how many bytes the journal took, or the entries' data. Entries from the first one's index on replace what is
        stored there and behind.

        Raises DiskFull: then nothing was kept, and what is on disk is what was there before. Another EngineError: nobody knows, and nothing may be
        appended any more; the next start finds out.
        """
        assert not entries or self._snapshot.index < entries[0].index <= self._last_index + 1, "no gap, and nothing behind the snapshot"
        if self._unused is not None:
            self._begin_journal(self._unused)
        journal = self._journal
        if journal is None or not journal.fits(record := _encode((hard_state, entries))):
            self._checkpoint(self._recent.with_appended(entries), hard_state or self._hard_state)
            return sum([len(entry.data) for entry in entries])
        written_bytes = journal.append(record)
        if entries:
            recent = self._recent
            if entries[0].index == recent.first + len(recent.entries):
                recent.entries.extend(entries)
            else:
                self._recent = recent.with_appended(entries)
            self._last_index = entries[-1].index
        if hard_state is not None:
            self._hard_state = hard_state
        return written_bytes

    @property
    def wants_checkpoint(self) -> bool:
        return len(self._recent.entries) >= CHECKPOINT_ENTRIES

    def checkpoint(self) -> None:
        """Best called when somebody else is to be served first. Raises like `append`."""
        self._checkpoint(self._recent, self._hard_state)

    def _checkpoint(self, recent: _Recent, hard_state: HardState, snapshot: SnapshotMeta | None = None) -> None:
        """Write `recent`, up to now only in the journal if anywhere, to its place; the journal is empty then. One synced transaction.

        `snapshot` replaces everything: then `recent` is empty and begins behind it.
        """
        tables, journal = self._tables, self._journal
        with self._errors:
            txn = self._engine.begin_write()
            try:
                first = 0 if snapshot is not None else recent.first
                if first <= self._table_last:
                    self._delete(txn, first, self._table_last, self._table_last)
                cursor = txn.cursor(db=tables.entries)
                cursor.putmulti([(_key(entry.index), _value(entry)) for entry in recent.entries], append=True)
                cursor.close()
                txn.put(b"hard_state", _row(_encode(hard_state)), db=tables.meta)
                if snapshot is not None:
                    txn.put(b"snapshot", _row(_encode(snapshot)), db=tables.meta)
                if journal is not None:
                    txn.put(b"journal", _row(_encode(journal.following())), db=tables.meta)
                txn.commit()
            except BaseException:
                txn.abort()
                raise
        if journal is not None:
            journal.begin(journal.following())
        if snapshot is not None:
            self._snapshot = snapshot
        end = recent.first + len(recent.entries)
        self._table_last = end - 1
        self._last_index = Index(end - 1)
        self._hard_state = hard_state
        self._recent = _Recent(end, [])

    def cut(self, meta: SnapshotMeta) -> None:
        """Forget entries up to and including meta.index: first the new beginning, then the entries, in steps.

        What a crash or a full disk left of an earlier cut goes, too. Entries that only the journal has are dropped with that: no checkpoint writes
        them any more, and `_recover` leaves them out.
        """
        with self._errors:
            txn = self._engine.begin_write()
            txn.put(b"snapshot", _row(_encode(meta)), db=self._tables.meta)
            txn.commit()
            self._snapshot = meta
            recent = self._recent
            if recent.first <= meta.index:
                self._recent = _Recent(meta.index + 1, recent.between(meta.index + 1, self._last_index))
            first = self._first_stored()
            while first <= meta.index:
                txn = self._engine.begin_write()
                first = self._delete(txn, first, meta.index, first + CUT_ENTRIES_PER_STEP - 1)
                txn.commit()

    def reset(self, meta: SnapshotMeta) -> None:
        """The state was replaced by one at `meta`: nothing of the log is needed any more. One transaction."""
        self._checkpoint(_Recent(meta.index + 1, []), self._hard_state, meta)

    def close(self) -> None:
        """A courtesy: what the journal holds goes where it belongs. It would be found in the journal as well."""
        if self._journal is not None:
            if self._recent.entries:
                self.checkpoint()
            self._journal.close()

    def _first_stored(self) -> int:
        txn = self._engine.begin_read()
        try:
            cursor = txn.cursor(db=self._tables.entries)
            first = int.from_bytes(cursor.key(), "big") if cursor.first() else self._table_last + 1
            cursor.close()
            return first
        finally:
            txn.abort()

    def _delete(self, txn: WriteTxn, first: int, last: int, step_last: int) -> int:
        """Delete entries first..min(last, step_last); return the next index to delete."""
        end = min(last, step_last)
        cursor = txn.cursor(db=self._tables.entries)
        found = cursor.set_range(_key(first))
        while found and int.from_bytes(cursor.key(), "big") <= end:
            cursor.delete()
            found = bool(cursor.key())
        cursor.close()
        return end + 1

    # --- who this log belongs to ------------------------------------------------------------------------------------------

    def bootstrap(self, conf: ConfState, identity: bytes) -> None:
        """Begin the log of a new cluster: nothing stored, these voters, and `identity` (the member's own words)."""
        txn = self._engine.begin_write()
        meta = SnapshotMeta(NO_INDEX, NO_TERM, conf)
        txn.put(b"snapshot", _row(_encode(meta)), db=self._tables.meta)
        txn.put(b"identity", _row(identity), db=self._tables.meta)
        txn.commit()
        self._snapshot = meta

    def identity(self) -> bytes | None:
        """What `bootstrap` was told; None: this log was never bootstrapped."""
        txn = self._engine.begin_read()
        try:
            stored = txn.get(b"identity", db=self._tables.meta)
            return None if stored is None else _content(stored, b"identity")
        finally:
            txn.abort()
