"""From applied revisions to watchers: streams, their back-pressure, and catching up from history in bounded steps.

The owner calls `on_applied` with what the machine's `take_events` gave, in order and without a gap; and while `behind` is true it
calls `catch_up` from its loop, one step a turn, so that nobody's long history holds up anything else. `wake` (if given) is called
when a stream's call left something to catch up: a watcher was created in the past, a slow client takes again.

Synced watchers are told of each revision as it is applied, all watchers of an interest with the same tuple of encoded events. A client whose
`deliver` refuses an update has all its concerned watchers put behind: nothing is kept for it here but the number of the next revision. When it
resumes, they are served from history like any other late watcher: many revisions to an update, one reading for all who are at about the same
place, turn by turn with those who are elsewhere.

Rules: etcd's watch semantics, W-4, W-6, W-8, W-11 to W-16, W-19 to W-24 (server/storage/mvcc/watchable_store.go).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kvstore.ids import Revision
from kvstore.model import EncodedEvent, WatchSpec, WatchUpdate
from kvstore.mvcc.events import AppliedEvent, RevisionEvents, SharedEvents
from kvstore.mvcc.watch import Audience, Interest, Place, Watcher, WatcherSets

Deliver = Callable[[WatchUpdate], bool]

REVISIONS_MAX = 1000
"""Most revisions in one update of a watcher that catches up (etcd's watchBatchMaxRevs)."""

CATCH_UP_BYTES_MAX = 1 << 20
"""About how much history one reading takes."""

STEP_WORK_MAX = 10_000
"""What one step of catching up may do, counted in events looked at (0.3 us each) and updates delivered: about 3 ms."""

ALL_WATCHERS = -1


class State(Protocol):
    """What is asked of the machine. Revisions are those applied, committed to disk or not."""

    @property
    def revision(self) -> Revision: ...
    @property
    def compacted_revision(self) -> int: ...
    def history(self, first_revision: Revision, revisions_max: int, bytes_max: int) -> list[RevisionEvents]:
        """Whole revisions from `first_revision` (not below the compacted one) in order, at least one if there is any, at most about the maxima;
        fewer than there are only for the sake of the maxima."""
        ...


class _Reading:
    """A stretch of history in memory, and the watchers still to be served from it."""

    def __init__(self, first: int, last: int, batch: list[RevisionEvents], queue: list[Watcher]) -> None:
        self.first = first
        self.last = last
        self.queue = queue
        self._revisions = [told.revision for told in batch for _ in told.events]
        self._events: tuple[AppliedEvent, ...] = tuple([event for told in batch for event in told.events])
        self._shared = SharedEvents(self._events)
        self._views: dict[tuple[Interest, int], tuple[EncodedEvent, ...]] = {}

    def view(self, interest: Interest, first: int) -> tuple[tuple[EncodedEvent, ...], int]:
        """The events from revision `first` on that `interest` is to hear of, and what finding them cost."""
        found = self._views.get((interest, first))
        if found is not None:
            return found, 1
        wants = interest.wants
        revisions = self._revisions
        positions = [at for at, event in enumerate(self._events) if revisions[at] >= first and wants(event)]
        found = self._views[interest, first] = self._shared.select(positions, interest.prev_kv)
        return found, 1 + len(self._events)


class Stream:
    """The watchers of one client stream (`kvstore.api.backend.WatchStream`)."""

    def __init__(self, delivery: "Delivery", deliver: Deliver) -> None:
        self._delivery = delivery
        self._sets = delivery.sets
        self._deliver = deliver
        self._blocked = False
        self.watchers: dict[int, Watcher] = {}

    def create(self, spec: WatchSpec) -> Revision:
        """Start a watcher; the current revision, as of which it was started. Nothing is delivered before this returns."""
        assert spec.watch_id not in self.watchers, f"watch id {spec.watch_id} is in use: ids are the caller's"
        current = self._delivery.state.revision
        interest = Interest(spec.key, spec.range_end, spec.no_put, spec.no_delete, spec.prev_kv)
        next_revision = spec.start_revision or current + 1
        watcher = Watcher(self, spec.watch_id, interest, spec.start_revision, next_revision)
        self.watchers[spec.watch_id] = watcher
        self._sets.add(watcher)
        self._delivery.note_work()
        return current

    def cancel(self, watch_id: int) -> None:
        """End a watcher. Nothing more of it is delivered. Unknown ids are ignored."""
        watcher = self.watchers.pop(watch_id, None)
        if watcher is not None:
            self._sets.remove(watcher)

    def request_progress(self) -> None:
        """One progress update for the whole stream if there are watchers and all of them have been told everything; else nothing."""
        if self.watchers and all(map(self._sets.is_current, self.watchers.values())):
            self._deliver(WatchUpdate(ALL_WATCHERS, self._sets.told))

    def progress(self, watch_id: int) -> None:
        """A progress update for that watcher if it has been told everything and its start has been reached; else nothing."""
        watcher = self.watchers.get(watch_id)
        if watcher is not None and self._sets.is_current(watcher):
            self._deliver(WatchUpdate(watch_id, self._sets.told))

    def resume(self) -> None:
        """The client has taken what was buffered: its watchers may catch up."""
        self._blocked = False
        for watcher in self.watchers.values():
            self._sets.wake(watcher)
        self._delivery.note_work()

    def close(self) -> None:
        """End all watchers."""
        for watcher in self.watchers.values():
            self._sets.remove(watcher)
        self.watchers.clear()

    def offer(self, update: WatchUpdate) -> bool:
        """Deliver an update unless the client is known to be full. Whether it was taken."""
        if self._blocked:
            return False
        taken = self._deliver(update)
        self._blocked = not taken
        return taken

    def forget(self, watch_id: int) -> None:
        del self.watchers[watch_id]


class Delivery:
    """The watch hub of a member."""

    def __init__(self, state: State, wake: Callable[[], None] | None = None) -> None:
        self.state = state
        self.sets = WatcherSets(state.revision)
        self._wake = wake
        self.events_sent = 0
        """To all watchers together, for the metrics."""
        self._reading: _Reading | None = None

    def open_stream(self, deliver: Deliver) -> Stream:
        return Stream(self, deliver)

    @property
    def behind(self) -> bool:
        """Whether `catch_up` has anything to do."""
        return bool(self.sets.ready)

    @property
    def watcher_count(self) -> int:
        return self.sets.count

    @property
    def slow_watcher_count(self) -> int:
        """Watchers that have not been told everything there is for them (etcd's unsynced watchers)."""
        return len(self.sets.ready) + len(self.sets.stalled)

    def note_work(self) -> None:
        if self._wake is not None and self.sets.ready:
            self._wake()

    def on_applied(self, batch: list[RevisionEvents]) -> None:
        """Tell the synced watchers. Revisions follow each other without a gap, from one call to the next too."""
        sets = self.sets
        if not sets.count:
            sets.advance_unwatched(batch[0].revision, batch[-1].revision)
            return
        for applied in batch:
            sets.advance(applied.revision)
            if sets.synced:
                self._tell(applied)
            if sets.waiting:
                sets.join_next()

    def on_state_replaced(self, state: State | None = None) -> None:
        """A snapshot was installed: revisions were jumped over. Watchers get them from the new history, or learn that it is compacted.

        `state` is given if another machine now takes the place of the old one. Events that the old one had still to tell must not come.
        """
        if state is not None:
            self.state = state
        self._reading = None
        self.sets.replaced(self.state.revision)
        self.note_work()

    def on_compacted(self, revision: Revision) -> None:
        """History below `revision` is gone. Watchers that still needed it learn so in the next `catch_up`, or when their client resumes."""
        if self._reading is not None and self._reading.first < revision:
            self._reading = None

    def catch_up(self, bytes_max: int = CATCH_UP_BYTES_MAX, work_max: int = STEP_WORK_MAX) -> bool:
        """One bounded step (some milliseconds) for the watchers that are behind. Whether more is to be done."""
        if self._reading is None and self.sets.ready:
            self._reading = self._read(bytes_max)
        if self._reading is not None:
            self._serve(self._reading, work_max)
        return self.behind

    def _tell(self, applied: RevisionEvents) -> None:
        revision, events = applied.revision, applied.events
        if len(events) == 1:
            matched: Mapping[Audience, Sequence[int]] = dict.fromkeys(self.sets.synced.match(events[0]), (0,))
        else:
            matched = self.sets.synced.match_all(events)
        if not matched:
            return
        shared = SharedEvents(events)
        slow: list[Watcher] = []
        for audience, positions in matched.items():
            encoded = shared.select(positions, audience.interest.prev_kv)
            slow_before = len(slow)
            slow += [watcher for watcher in audience.watchers if not watcher.owner.offer(WatchUpdate(watcher.watch_id, revision, encoded))]
            self.events_sent += len(encoded) * (len(audience.watchers) - len(slow) + slow_before)
        if slow:
            self.sets.fell_behind(slow, revision)

    def _read(self, bytes_max: int) -> _Reading | None:
        """Read history for the watcher that has waited longest, and for whoever else needs a part of the same stretch.

        Taking turns like this, somebody who asked for the whole of history does not hold up those who missed a second of it.
        """
        state = self.state
        self._end_compacted()
        if not self.sets.ready:
            return None
        first = next(iter(self.sets.ready)).next_revision
        batch = state.history(Revision(first), REVISIONS_MAX, bytes_max)
        # Every revision above the compacted one changed something, so no events at all means that there are no revisions.
        last = batch[-1].revision if batch else state.revision
        assert last >= first, f"history from {first} ends at {last}: a ready watcher lies at or below the current revision"
        return _Reading(first, last, batch, [watcher for watcher in self.sets.ready if first <= watcher.next_revision <= last])

    def _end_compacted(self) -> None:
        """Tell those whose history is gone, once, and end them. Asking for the compacted revision itself is fine (W-6)."""
        compacted = self.state.compacted_revision
        for watcher in [watcher for watcher in self.sets.ready if watcher.next_revision < compacted]:
            if watcher.owner.offer(WatchUpdate(watcher.watch_id, self.state.revision, (), compacted)):
                self.sets.remove(watcher)
                watcher.owner.forget(watcher.watch_id)
            else:
                self.sets.stall(watcher)

    def _serve(self, reading: _Reading, work_max: int) -> None:
        work = 0
        queue = reading.queue
        while queue and work < work_max:
            watcher = queue.pop()
            # May have been cancelled, or have stalled and woken again, since the reading began.
            if watcher.place is not Place.READY or not reading.first <= watcher.next_revision <= reading.last:
                continue
            encoded, cost = reading.view(watcher.interest, watcher.next_revision)
            work += cost
            if not encoded or watcher.owner.offer(WatchUpdate(watcher.watch_id, self.state.revision, encoded)):
                self.sets.moved(watcher, reading.last + 1)
                self.events_sent += len(encoded)
            else:
                self.sets.stall(watcher)
        if not queue:
            self._reading = None
