"""What watchers are told: the changes of one applied revision, and their encoded forms, made once and shared by everybody.

`RevisionEvents` comes from the state machine (freshly applied, or read again from history). An event has two byte forms, with and
without the version before it; a revision of n events has as many selections as there are interests. `SharedEvents` makes each form and each
selection at most once, so a thousand watchers of a key hold the same tuple of the same bytes, and the services can encode one
frame for all of them by the identity of that tuple.
"""

from collections.abc import Iterable

from kvstore.encoding import encode_event
from kvstore.ids import Revision
from kvstore.model import EncodedEvent, EncodedKeyValue, Record


class AppliedEvent(Record, frozen=True, gc=False):
    """One key changed. `kv` is the new version, or the tombstone if `deleted`; `prev_kv` is the version before it, None if there was none
    (or history no longer has it)."""

    key: bytes
    deleted: bool
    kv: EncodedKeyValue
    prev_kv: EncodedKeyValue | None = None


class RevisionEvents(Record, frozen=True, gc=False):
    """All changes of one revision, in the order of their sub-revisions; never empty."""

    revision: Revision
    events: tuple[AppliedEvent, ...]


class SharedEvents:
    """The encoded selections of a run of events (one revision, or a stretch of history)."""

    __slots__ = ("_events", "_plain", "_selections", "_with_prev")

    def __init__(self, events: tuple[AppliedEvent, ...]) -> None:
        self._events = events
        self._plain: list[EncodedEvent | None] = [None] * len(events)
        self._with_prev: list[EncodedEvent | None] = [None] * len(events)
        self._selections: dict[tuple[tuple[int, ...], bool], tuple[EncodedEvent, ...]] = {}

    def select(self, positions: Iterable[int], with_prev: bool) -> tuple[EncodedEvent, ...]:
        """Bytes of the events at `positions` (ascending); the same tuple object whenever the same are asked for."""
        events = self._events
        positions = tuple(positions)
        # Nothing came before any of them: both forms are the same bytes, so let them be the same object too.
        with_prev = with_prev and any(events[at].prev_kv is not None for at in positions)
        selection = self._selections.get((positions, with_prev))
        if selection is None:
            selection = tuple([self._encoded(at, with_prev) for at in positions])
            self._selections[positions, with_prev] = selection
        return selection

    def _encoded(self, at: int, with_prev: bool) -> EncodedEvent:
        event = self._events[at]
        with_prev = with_prev and event.prev_kv is not None
        forms = self._with_prev if with_prev else self._plain
        encoded = forms[at]
        if encoded is None:
            encoded = forms[at] = encode_event(event.deleted, event.kv, event.prev_kv if with_prev else None)
        return encoded
