"""How the core reads what is stored. Calls are rare (a slow follower, a restart): the recent tail is in the core's memory."""

from collections.abc import Sequence
from typing import Protocol

from kvstore.ids import NO_INDEX, NO_TERM, Index, Term
from kvstore.raft.messages import ConfState, Entry, HardState, SnapshotMeta


class Storage(Protocol):
    """The log on disk. `snapshot` is the point behind which the log was cut; entries run from snapshot.index + 1 to last_index."""

    def hard_state(self) -> HardState: ...

    def snapshot(self) -> SnapshotMeta:
        """Index 0, term 0 if nothing was ever cut; `conf` is then the bootstrap configuration."""
        ...

    def last_index(self) -> Index: ...

    def term_at(self, index: Index) -> Term | None:
        """Term of the entry at `index`; of the snapshot at its index; None for what is not held."""
        ...

    def entries(self, first: Index, last: Index, bytes_max: int) -> Sequence[Entry]:
        """Entries first..last inclusive, at least one if held, cut where their data passes `bytes_max`. Empty if the log was cut behind `first`
        since it was asked where it begins: that is done by another thread."""
        ...


class SnapshotSource(Protocol):
    """An exported state, read in chunks by the leader while it sends it. The member closes it when `Raft` says it is done with it."""

    meta: SnapshotMeta
    total_bytes: int

    def read(self, offset: int, size: int) -> bytes: ...


class MemoryStorage:
    """Storage in memory, written by hand: for tests of the core alone. Nothing is ever lost here; the simulator's disk is elsewhere."""

    def __init__(self, conf: ConfState | None = None) -> None:
        self._hard_state = HardState()
        self._snapshot = SnapshotMeta(NO_INDEX, NO_TERM, conf or ConfState())
        self._entries: list[Entry] = []

    def hard_state(self) -> HardState:
        return self._hard_state

    def snapshot(self) -> SnapshotMeta:
        return self._snapshot

    def last_index(self) -> Index:
        return Index(self._snapshot.index + len(self._entries))

    def term_at(self, index: Index) -> Term | None:
        if index == self._snapshot.index:
            return self._snapshot.term
        position = index - self._snapshot.index - 1
        return self._entries[position].term if 0 <= position < len(self._entries) else None

    def entries(self, first: Index, last: Index, bytes_max: int) -> Sequence[Entry]:
        start = first - self._snapshot.index - 1
        assert start >= 0, "entries behind the snapshot are gone"
        chosen: list[Entry] = []
        size = 0
        for entry in self._entries[start : last - self._snapshot.index]:
            size += len(entry.data)
            if chosen and size > bytes_max:
                break
            chosen.append(entry)
        return chosen

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        """What a `Persist` asks for: entries from the first one's index on replace what is there."""
        if hard_state is not None:
            self._hard_state = hard_state
        if entries:
            keep = entries[0].index - self._snapshot.index - 1
            assert 0 <= keep <= len(self._entries), "no gap, and nothing behind the snapshot"
            self._entries[keep:] = entries

    def cut(self, meta: SnapshotMeta) -> None:
        """Forget entries up to and including meta.index."""
        self._entries = self._entries[meta.index - self._snapshot.index :]
        self._snapshot = meta

    def reset(self, meta: SnapshotMeta) -> None:
        """A snapshot was installed: the log begins behind it."""
        self._entries = []
        self._snapshot = meta
