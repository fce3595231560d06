"""From Raft's Readys to the disk: what is durable before what (`raft/__init__.py`, the order that the driver owes).

At most one write of the log is out; Readys that come meanwhile are merged into the next, which is group commit without a timer. A Ready
that changes nothing which must survive a crash costs no write.
"""

from msgspec import Struct

from kvstore.member.effects import Persist
from kvstore.raft.messages import AnyMessage, Entry, HardState
from kvstore.raft.ready import PersistMark, Ready


class Durable(Struct, frozen=True):
    """Readys that the disk has: what to report to Raft, in this order, and the messages that waited for it."""

    marks: list[PersistMark]
    messages: list[AnyMessage]


class LogWriter:
    def __init__(self, durable: HardState) -> None:
        self._durable = durable
        self._queued: list[Ready] = []
        self._writing: list[Ready] = []
        self._written = durable

    @property
    def busy(self) -> bool:
        """A write is out and not yet answered."""
        return bool(self._writing)

    def add(self, ready: Ready) -> None:
        if ready.mark is not None:
            self._queued.append(ready)

    def start(self) -> Persist | Durable | None:
        """The next write; or, if what is queued needs none, that it is as good as written; None if a write is out or nothing is queued."""
        if self._writing or not self._queued:
            return None
        self._writing, self._queued = self._queued, []
        entries = _merged(self._writing)
        hard_state = next((ready.hard_state for ready in reversed(self._writing) if ready.hard_state is not None), None)
        if not entries and hard_state is None:
            # Nothing that must survive a crash: not worth a sync.
            self._written = self._durable
            return self.finish()
        self._written = hard_state or self._durable
        return Persist(hard_state, entries)

    def finish(self) -> Durable:
        """The write that was out is on disk."""
        finished, self._writing = self._writing, []
        self._durable = self._written
        return Durable(
            [ready.mark for ready in finished if ready.mark is not None],
            [message for ready in finished for message in ready.messages_after_persist],
        )


def _merged(readys: list[Ready]) -> list[Entry]:
    """Entries of several Readys as one list with rising indexes: a later list replaces what overlaps of the earlier ones."""
    if len(readys) == 1:
        return readys[0].entries
    merged: list[Entry] = []
    for ready in readys:
        if not ready.entries:
            continue
        first = ready.entries[0].index
        while merged and merged[-1].index >= first:
            merged.pop()
        merged += ready.entries
    return merged
