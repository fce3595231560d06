"""The Raft log on an engine: what the core reads (`raft.storage.Storage`), and what the disk thread writes.

Writes come from one thread (`append`, `cut`, `reset`), reads from another, each in a short read transaction of its own. Every entry carries
a CRC-32, checked whenever it is read, so that a flipped byte is an error with a name and never a different command; so do the term, the vote, the
beginning and the identity.
"""

from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

import msgspec

from kvstore.ids import NO_INDEX, NO_TERM, Index, Term
from kvstore.raft.messages import ConfState, Entry, HardState, SnapshotMeta
from kvstore.storage.engine import Corrupted, Engine, ReadTxn, WriteTxn
from kvstore.storage.tables import open_log_tables

CUT_ENTRIES_PER_STEP = 2000
"""Entries dropped in one transaction: bounds how long a cut holds up the next append."""

CHECK_BYTES = 4 << 20

_T = TypeVar("_T")

_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode


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


class RaftLog:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._errors = engine.errors()
        self._tables = open_log_tables(engine)
        txn = engine.begin_read()
        try:
            self._hard_state = self._meta(txn, b"hard_state", HardState) or HardState()
            self._snapshot = self._meta(txn, b"snapshot", SnapshotMeta) or SnapshotMeta(NO_INDEX, NO_TERM, ConfState())
            cursor = txn.cursor(db=self._tables.entries)
            last = int.from_bytes(cursor.key(), "big") if cursor.last() else 0
            cursor.close()
            self._last_index = Index(max(last, self._snapshot.index))
        finally:
            txn.abort()

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
        txn = self._engine.begin_read()
        try:
            with self._errors:
                stored = txn.get(_key(index), db=self._tables.entries)
            return None if stored is None else self._checked(index, stored).term
        finally:
            txn.abort()

    def entries(self, first: Index, last: Index, bytes_max: int) -> Sequence[Entry]:
        """Raises Corrupted if one that should be there is missing or damaged. Empty: they were cut away meanwhile, by the disk's thread."""
        chosen: list[Entry] = []
        size = 0
        txn = self._engine.begin_read()
        try:
            with self._errors:
                cursor = txn.cursor(db=self._tables.entries)
                index = int(first)
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
        if not chosen:
            # `cut` says first where the log begins and deletes then: who finds nothing and looks again knows which of the two it is.
            if first <= self._snapshot.index:
                return ()
            raise Corrupted(f"log: entry {first} is missing, though the log runs from {self._snapshot.index + 1} to {self._last_index}")
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

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        """One synced transaction. Entries from the first one's index on replace what is stored there and behind.

        Raises DiskFull or another EngineError; then nothing was kept, and what is on disk is what was there before.
        """
        with self._errors:
            self._append(entries, hard_state)
        if entries:
            self._last_index = entries[-1].index
        if hard_state is not None:
            self._hard_state = hard_state

    def _append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        tables = self._tables
        txn = self._engine.begin_write()
        try:
            if entries:
                first = entries[0].index
                assert self._snapshot.index < first <= self._last_index + 1, "no gap, and nothing behind the snapshot"
                if first <= self._last_index:
                    self._delete(txn, first, self._last_index, self._last_index)
                cursor = txn.cursor(db=tables.entries)
                cursor.putmulti([(_key(entry.index), _value(entry)) for entry in entries], append=True)
                cursor.close()
            if hard_state is not None:
                txn.put(b"hard_state", _row(_encode(hard_state)), db=tables.meta)
            txn.commit()
        except BaseException:
            txn.abort()
            raise

    def cut(self, meta: SnapshotMeta) -> None:
        """Forget entries up to and including meta.index: first the new beginning, then the entries, in steps.

        What a crash or a full disk left of an earlier cut goes, too.
        """
        with self._errors:
            txn = self._engine.begin_write()
            txn.put(b"snapshot", _row(_encode(meta)), db=self._tables.meta)
            txn.commit()
            self._snapshot = meta
            first = self._first_stored()
            while first <= meta.index:
                txn = self._engine.begin_write()
                first = self._delete(txn, first, meta.index, first + CUT_ENTRIES_PER_STEP - 1)
                txn.commit()

    def reset(self, meta: SnapshotMeta) -> None:
        """The state was replaced by one at `meta`: nothing of the log is needed any more. One transaction."""
        with self._errors:
            txn = self._engine.begin_write()
            self._delete(txn, 0, self._last_index, self._last_index)
            txn.put(b"snapshot", _row(_encode(meta)), db=self._tables.meta)
            txn.commit()
        self._snapshot = meta
        self._last_index = meta.index

    def _first_stored(self) -> int:
        txn = self._engine.begin_read()
        try:
            cursor = txn.cursor(db=self._tables.entries)
            first = int.from_bytes(cursor.key(), "big") if cursor.first() else self._last_index + 1
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
