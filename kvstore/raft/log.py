"""The log as the core sees it: what is stored, plus a tail in memory that holds at least everything not yet on disk.

Invariants, asserted where they could break:

    snapshot.index <= given_out <= commit <= last_index          entries are applied only when committed
    given_out <= persisted <= handed <= last_index               ... and only when this member has them on disk
    tail holds exactly offset .. last_index, offset <= persisted + 1
    a committed entry is never truncated (paper, 5.4)

Storage is never asked for an index at or above `offset`: after a truncation it still holds what is about to be overwritten.
"""

from collections import deque
from collections.abc import Sequence

from kvstore.ids import NO_INDEX, NO_TERM, Index, Term
from kvstore.raft.messages import Entry, SnapshotMeta
from kvstore.raft.storage import Storage


class LogLost(Exception):
    """The leader knows that we acknowledged entries which our log does not hold: the disk lost them, and this member must not go on."""


class Log:
    def __init__(self, storage: Storage, applied: Index, commit: Index, tail_bytes_max: int) -> None:
        self._storage = storage
        self._tail: list[Entry] = []
        self._tail_bytes = 0
        self._tail_bytes_max = tail_bytes_max
        self.last_index = storage.last_index()
        self.last_term = self._stored_term(self.last_index)
        self.offset = Index(self.last_index + 1)
        self.persisted = self.handed = self.last_index
        assert applied <= self.last_index, "the state is never on disk before the log"
        self.given_out = applied
        self.commit = Index(max(applied, min(commit, self.last_index)))
        # Writes handed to the disk and not yet reported: how far each of them vouches for the log as it is now.
        self._outstanding: deque[Index] = deque()

    def _stored_term(self, index: Index) -> Term:
        term = self._storage.term_at(index)
        return NO_TERM if term is None else term

    # --- reading ------------------------------------------------------------------------------------------------------

    def term_at(self, index: int) -> Term | None:
        """None for what is not held: beyond the end, or behind the snapshot."""
        position = index - self.offset
        if position >= 0:
            return self._tail[position].term if position < len(self._tail) else None
        if index == self.last_index:
            return self.last_term
        return NO_TERM if index == NO_INDEX else self._storage.term_at(Index(index))

    def first_index(self) -> Index:
        """The oldest entry that is still held."""
        return Index(self._storage.snapshot().index + 1)

    def entries(self, first: int, bytes_max: int, last: int | None = None) -> Sequence[Entry]:
        """Entries from `first` on, at least one if held, cut where their data passes `bytes_max`."""
        end = self.last_index if last is None else last
        if first > end:
            return ()
        if first < self.offset:
            return self._storage.entries(Index(first), Index(min(end, self.offset - 1)), bytes_max)
        start = first - self.offset
        stop = end - self.offset + 1
        window = self._tail[start:stop]
        total = 0
        for position, entry in enumerate(window):
            total += len(entry.data)
            if total > bytes_max and position:
                return window[:position]
        return window

    def is_up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """May a candidate with this last entry lead us (paper, 5.4.1)?"""
        return last_term > self.last_term or (last_term == self.last_term and last_index >= self.last_index)

    def conflict_hint(self, index: int, term: Term) -> tuple[Index, Term]:
        """The highest index at or below `index` whose term is at or below `term`: where two logs may still agree."""
        while index > NO_INDEX:
            own = self.term_at(index)
            if own is None:
                return Index(index), NO_TERM  # compacted: everything up to here is committed and so agrees
            if own <= term:
                return Index(index), own
            index -= 1
        return NO_INDEX, NO_TERM

    # --- writing ------------------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Put `entries` at the end."""
        assert entries[0].index == self.last_index + 1, "entries follow the end of the log without a gap"
        self._tail += entries
        self.last_index, self.last_term = entries[-1].index, entries[-1].term
        self._tail_bytes += sum([len(entry.data) for entry in entries])

    def accept(self, prev_index: Index, prev_term: Term, entries: Sequence[Entry]) -> Index | None:
        """A leader's append (paper, 5.3): None if our entry at `prev_index` is another; else the last index that now agrees.

        Only a real conflict truncates: entries that we hold already are skipped, however old the message is, because what we
        acknowledged must not disappear by a late duplicate.
        """
        if self.term_at(prev_index) != prev_term:
            return None
        for position, entry in enumerate(entries):
            own = self.term_at(entry.index)
            if own != entry.term:
                if own is not None:
                    self.truncate_from(entry.index)
                self.append(entries[position:])
                break
        return Index(prev_index + len(entries))

    def truncate_from(self, index: Index) -> None:
        """Drop the conflicting entry at `index` and all behind it."""
        assert index > self.commit, f"conflict at {index} although everything up to {self.commit} is committed"
        keep = index - self.offset
        if keep > 0:
            dropped = self._tail[keep:]
            del self._tail[keep:]
            self._tail_bytes -= sum([len(entry.data) for entry in dropped])
        else:
            self._tail = []
            self._tail_bytes = 0
            self.offset = index
        last_term = self._tail[-1].term if self._tail else self._stored_term(Index(index - 1))
        self.last_index, self.last_term = Index(index - 1), last_term
        self.handed = Index(min(self.handed, index - 1))
        self.persisted = Index(min(self.persisted, index - 1))
        # Writes that are still out hold what was dropped; they vouch only for what is before it.
        self._outstanding = deque(Index(min(vouched, index - 1)) for vouched in self._outstanding)

    def commit_to(self, index: int) -> bool:
        """Move the commit index up to `index`; False if it is there already."""
        if index <= self.commit:
            return False
        if index > self.last_index:
            raise LogLost(f"the leader says that we hold entry {index}, but our log ends at {self.last_index}: this member's disk lost entries")
        self.commit = Index(index)
        return True

    # --- the disk -----------------------------------------------------------------------------------------------------

    def hand_over(self) -> list[Entry]:
        """Entries that the disk has not been given yet; follow with `note_handed`."""
        if self.handed == self.last_index:
            return []
        return self._tail[self.handed + 1 - self.offset :]

    def note_handed(self) -> None:
        """A write of everything up to the end goes out (it may have no entries)."""
        self.handed = self.last_index
        self._outstanding.append(self.last_index)

    def note_persisted(self) -> None:
        """The oldest write that is out is on disk."""
        vouched = self._outstanding.popleft()
        if vouched > self.persisted:
            self.persisted = vouched
        if self._tail_bytes > self._tail_bytes_max:
            self._shed()

    def give_out(self, bytes_max: int) -> Sequence[Entry]:
        """Committed entries that this member has on disk, each exactly once."""
        end = min(self.commit, self.persisted)
        if end <= self.given_out:
            return ()
        entries = self.entries(self.given_out + 1, bytes_max, end)
        self.given_out = entries[-1].index
        return entries

    def _shed(self) -> None:
        """Drop the older half of the tail that is on disk and was given out: slow followers are served from storage."""
        keep_from = min(self.persisted, self.given_out) + 1
        drop = 0
        while self._tail_bytes > self._tail_bytes_max // 2 and drop < len(self._tail) and self._tail[drop].index < keep_from:
            self._tail_bytes -= len(self._tail[drop].data)
            drop += 1
        del self._tail[:drop]
        self.offset = Index(self.offset + drop)

    def restore(self, meta: SnapshotMeta) -> None:
        """A snapshot replaced everything."""
        assert not self._outstanding, "a snapshot is installed only when no write of the log is out"
        self._tail = []
        self._tail_bytes = 0
        self.offset = Index(meta.index + 1)
        self.last_index, self.last_term = meta.index, meta.term
        self.persisted = self.handed = self.commit = self.given_out = meta.index
