"""The watch hub against a history that the test keeps: every watcher gets exactly its events, once, in order, whole revisions at a time."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from kvstore.encoding import encode_event, encode_key_value, encode_tombstone
from kvstore.ids import Revision
from kvstore.member.delivery import ALL_WATCHERS, REVISIONS_MAX, Delivery, Stream
from kvstore.model import EncodedEvent, WatchSpec, WatchUpdate
from kvstore.mvcc.events import AppliedEvent, RevisionEvents


class History:
    """A state that remembers everything and only pretends to compact; it refuses to be asked for what it pretends to have forgotten."""

    def __init__(self) -> None:
        self.revision = Revision(1)
        self.compacted_revision = -1
        self.told: list[RevisionEvents] = []
        self.readings = 0
        self._newest: dict[bytes, AppliedEvent] = {}

    def change(self, *changes: tuple[bytes, bool]) -> RevisionEvents:
        """Changes of one new revision: key and whether it is deleted."""
        self.revision = Revision(self.revision + 1)
        events = []
        for key, deleted in changes:
            before = self._newest.get(key)
            prev_kv = before.kv if before and not before.deleted else None
            kv = encode_tombstone(key, self.revision) if deleted else encode_key_value(key, 2, self.revision, 1, b"v", 0)
            events.append(AppliedEvent(key, deleted, kv, prev_kv))
            self._newest[key] = events[-1]
        self.told.append(RevisionEvents(self.revision, tuple(events)))
        return self.told[-1]

    def history(self, first_revision: Revision, revisions_max: int, bytes_max: int) -> list[RevisionEvents]:
        assert max(1, self.compacted_revision) <= first_revision <= self.revision
        self.readings += 1
        batch: list[RevisionEvents] = []
        size = 0
        for told in self.told[max(first_revision, 2) - 2 :]:  # revision 1 is the empty store
            size += sum(len(event.kv) for event in told.events)
            if batch and (size > bytes_max or len(batch) == revisions_max):
                break
            batch.append(told)
        return batch


class Client:
    """The far end of a stream, with a buffer of `room` updates."""

    def __init__(self, delivery: Delivery, room: int = 1_000_000) -> None:
        self.room = room
        self.buffer: deque[WatchUpdate] = deque()
        self.taken: list[WatchUpdate] = []
        self.refused = 0
        self.stream: Stream = delivery.open_stream(self._deliver)

    def _deliver(self, update: WatchUpdate) -> bool:
        if len(self.buffer) >= self.room:
            self.refused += 1
            return False
        self.buffer.append(update)
        return True

    def drain(self) -> list[WatchUpdate]:
        taken = list(self.buffer)
        self.taken += taken
        self.buffer.clear()
        self.stream.resume()
        return taken


def encoded(event: AppliedEvent, prev_kv: bool = False) -> EncodedEvent:
    return encode_event(event.deleted, event.kv, event.prev_kv if prev_kv else None)


@pytest.fixture
def history() -> History:
    return History()


def put(history: History, delivery: Delivery, *keys: bytes) -> RevisionEvents:
    told = history.change(*[(key, False) for key in keys])
    delivery.on_applied([told])
    return told


def catch_up(delivery: Delivery) -> None:
    while delivery.catch_up():
        pass


# --- single guarantees -------------------------------------------------------------------------------------------------


def test_a_watcher_hears_from_now_on_with_the_events_own_revision(history: History) -> None:
    delivery = Delivery(history)
    put(history, delivery, b"a")
    client = Client(delivery)
    assert client.stream.create(WatchSpec(7, b"a")) == 2
    told = put(history, delivery, b"a")
    put(history, delivery, b"b")
    assert client.drain() == [WatchUpdate(7, Revision(3), (encoded(told.events[0]),))]


def test_the_same_events_are_one_tuple_for_all_who_get_them(history: History) -> None:
    delivery = Delivery(history)
    client = Client(delivery)
    for watch_id, spec in enumerate([WatchSpec(0, b"a"), WatchSpec(1, b"a", b"c"), WatchSpec(2, b"a", prev_kv=True), WatchSpec(3, b"a", b"\0")]):
        assert spec.watch_id == watch_id
        client.stream.create(spec)
    put(history, delivery, b"a")
    assert len({id(update.events) for update in client.drain()}) == 1


def test_a_start_in_the_past_is_caught_up_in_batches_with_the_current_revision(history: History) -> None:
    delivery = Delivery(history)
    for _ in range(REVISIONS_MAX + 10):
        put(history, delivery, b"a")
    woken: list[bool] = []
    delivery = Delivery(history, wake=lambda: woken.append(True))
    client = Client(delivery)
    client.stream.create(WatchSpec(0, b"a", start_revision=2))
    assert woken
    assert delivery.behind
    assert delivery.slow_watcher_count == 1
    assert client.drain() == [], "nothing is delivered before create has returned"
    catch_up(delivery)
    first, second = client.drain()
    assert (len(first.events), len(second.events)) == (REVISIONS_MAX, 10)
    assert first.revision == second.revision == history.revision
    assert delivery.slow_watcher_count == 0
    assert delivery.watcher_count == 1


def test_watchers_behind_at_about_the_same_place_share_one_reading(history: History) -> None:
    delivery = Delivery(history)
    for _ in range(50):
        put(history, delivery, b"a")
    client = Client(delivery)
    for watch_id in range(40):
        client.stream.create(WatchSpec(watch_id, b"a", start_revision=2 + watch_id // 2))
    catch_up(delivery)
    assert history.readings == 1
    updates = client.drain()
    assert {update.watch_id: len(update.events) for update in updates} == {watch_id: 50 - watch_id // 2 for watch_id in range(40)}
    assert len({id(update.events) for update in updates}) == 20


def test_who_wants_all_of_history_does_not_hold_up_who_missed_a_moment(history: History) -> None:
    delivery = Delivery(history)
    for _ in range(20):
        put(history, delivery, b"a")
    old, recent = Client(delivery), Client(delivery)
    old.stream.create(WatchSpec(0, b"a", start_revision=2))
    recent.stream.create(WatchSpec(0, b"a", start_revision=20))
    for _ in range(3):
        delivery.catch_up(bytes_max=1)
    assert sum(len(update.events) for update in recent.drain()) >= 1


def test_one_step_of_catching_up_is_bounded(history: History) -> None:
    delivery = Delivery(history)
    for _ in range(10):
        put(history, delivery, b"a")
    client = Client(delivery)
    for watch_id in range(10):
        client.stream.create(WatchSpec(watch_id, b"a", start_revision=2 + watch_id))
    assert delivery.catch_up(work_max=25)
    assert 0 < len(client.drain()) < 10
    catch_up(delivery)
    assert delivery.slow_watcher_count == 0


def test_who_is_cancelled_or_slow_between_two_steps_is_not_served_from_the_reading(history: History) -> None:
    delivery = Delivery(history)
    for _ in range(10):
        put(history, delivery, b"a")
    client, slow = Client(delivery), Client(delivery, room=1)
    for watch_id in range(3):
        client.stream.create(WatchSpec(watch_id, b"a", start_revision=2))
        slow.stream.create(WatchSpec(watch_id, b"a", start_revision=2))
    assert delivery.catch_up(work_max=1)
    for watch_id in range(3):
        client.stream.cancel(watch_id)
    before = client.drain()
    catch_up(delivery)
    assert client.drain() == []
    assert len(before) <= 1
    assert delivery.slow_watcher_count == 2
    for _ in range(3):
        slow.drain()
        catch_up(delivery)
    assert sorted(update.watch_id for update in slow.taken) == [0, 1, 2]


def test_a_future_start_hears_nothing_before_it_neither_events_nor_progress(history: History) -> None:
    delivery = Delivery(history)
    client = Client(delivery)
    client.stream.create(WatchSpec(0, b"a", start_revision=4))
    for _ in range(2):
        put(history, delivery, b"a")
        client.stream.request_progress()
        client.stream.progress(0)
    assert client.drain() == []
    told = put(history, delivery, b"a")
    client.stream.progress(0)
    assert client.drain() == [WatchUpdate(0, Revision(4), (encoded(told.events[0]),)), WatchUpdate(0, Revision(4))]


def test_a_start_below_the_compacted_revision_is_told_once_and_the_watcher_is_gone(history: History) -> None:
    delivery = Delivery(history)
    for _ in range(5):
        put(history, delivery, b"a")
    history.compacted_revision = 4
    delivery.on_compacted(Revision(4))
    client = Client(delivery)
    client.stream.create(WatchSpec(0, b"a", start_revision=3))
    client.stream.create(WatchSpec(1, b"a", start_revision=4))
    catch_up(delivery)
    updates = client.drain()
    assert [(update.watch_id, update.compact_revision, len(update.events)) for update in updates] == [(0, 4, 0), (1, 0, 3)]
    put(history, delivery, b"a")
    assert [update.watch_id for update in client.drain()] == [1]
    assert delivery.watcher_count == 1
    client.stream.cancel(0)
    client.stream.create(WatchSpec(0, b"a"))


def test_a_compaction_overtakes_a_slow_watcher(history: History) -> None:
    delivery = Delivery(history)
    client = Client(delivery, room=1)
    client.stream.create(WatchSpec(0, b"a"))
    for _ in range(5):
        put(history, delivery, b"a")
    history.compacted_revision = 5
    delivery.on_compacted(Revision(5))
    assert [len(update.events) for update in client.drain()] == [1]
    catch_up(delivery)
    assert [update.compact_revision for update in client.drain()] == [5]
    assert delivery.watcher_count == 0


def test_a_compaction_between_two_steps_drops_what_was_read_before_it(history: History) -> None:
    delivery = Delivery(history)
    for _ in range(10):
        put(history, delivery, b"a")
    client = Client(delivery)
    for watch_id in (0, 1):
        client.stream.create(WatchSpec(watch_id, b"a", start_revision=2 + watch_id))
    assert delivery.catch_up(work_max=1)
    history.compacted_revision = 6
    delivery.on_compacted(Revision(6))
    catch_up(delivery)
    assert sorted(update.compact_revision for update in client.drain()) == [0, 6]


def test_a_slow_client_neither_delays_others_nor_loses_anything(history: History) -> None:
    delivery = Delivery(history)
    slow, quick = Client(delivery, room=1), Client(delivery)
    for client in (slow, quick):
        client.stream.create(WatchSpec(0, b"a"))
    for _ in range(5):
        put(history, delivery, b"a")
    assert len(quick.drain()) == 5
    assert slow.refused == 1, "a full client is not asked again before it resumes"
    assert delivery.slow_watcher_count == 1
    assert not delivery.behind
    slow.drain()
    assert delivery.behind
    catch_up(delivery)
    slow.drain()
    assert [len(update.events) for update in slow.taken] == [1, 4]
    assert [event for update in slow.taken for event in update.events] == [event for update in quick.taken for event in update.events]


def test_progress_of_a_stream_needs_watchers_all_of_whom_have_been_told_everything(history: History) -> None:
    delivery = Delivery(history)
    put(history, delivery, b"a")
    client = Client(delivery)
    client.stream.request_progress()
    client.stream.create(WatchSpec(0, b"a"))
    client.stream.create(WatchSpec(1, b"a", start_revision=2))
    client.stream.request_progress()
    client.stream.progress(1)
    client.stream.progress(99)
    assert client.drain() == []
    catch_up(delivery)
    client.drain()
    client.stream.request_progress()
    client.stream.progress(1)
    assert client.drain() == [WatchUpdate(ALL_WATCHERS, Revision(2)), WatchUpdate(1, Revision(2))]


def test_after_a_snapshot_the_revisions_jumped_over_come_from_history(history: History) -> None:
    delivery = Delivery(history)
    client = Client(delivery)
    client.stream.create(WatchSpec(0, b"a"))
    put(history, delivery, b"a")
    for _ in range(3):
        history.change((b"a", False))
    delivery.on_state_replaced(history)
    catch_up(delivery)
    put(history, delivery, b"a")
    assert [len(update.events) for update in client.drain()] == [1, 3, 1]


def test_a_revision_left_out_is_our_mistake(history: History) -> None:
    delivery = Delivery(history)
    history.change((b"a", False))
    with pytest.raises(AssertionError, match="watchers would miss"):
        delivery.on_applied([history.change((b"a", False))])


def test_close_ends_everything(history: History) -> None:
    delivery = Delivery(history)
    client = Client(delivery)
    put(history, delivery, b"a")
    for watch_id, start in enumerate([0, 2, 9]):
        client.stream.create(WatchSpec(watch_id, b"a", start_revision=start))
    client.stream.close()
    put(history, delivery, b"a")
    catch_up(delivery)
    assert client.drain() == []
    assert delivery.watcher_count == 0


# --- everything at random, against the obvious rule --------------------------------------------------------------------

KEYS = st.sampled_from([b"a", b"b", b"ba", b"c"])
CHANGES = st.lists(st.tuples(KEYS, st.booleans()), min_size=1, max_size=3, unique_by=lambda change: change[0])
SPECS = st.builds(
    WatchSpec,
    st.just(0),
    KEYS,
    st.sampled_from([b"", b"", b"\0", b"c", b"d"]),
    no_put=st.booleans(),
    no_delete=st.booleans(),
    prev_kv=st.booleans(),
)


class Watched:
    """The obvious rule for one watcher: all that it must ever be told, found by looking at every event there was."""

    def __init__(self, spec: WatchSpec, first_revision: int, *, late: bool) -> None:
        self.spec = spec
        self.first_revision = first_revision
        self.may_be_compacted = late
        self.got: list[tuple[EncodedEvent, ...]] = []
        self.ended = False
        self.progress = 0

    def expected(self, history: History) -> list[tuple[int, tuple[EncodedEvent, ...]]]:
        """Revision and events of every revision with any."""
        spec = self.spec
        found = []
        for told in history.told:
            if told.revision < self.first_revision:
                continue
            events = tuple(encoded(event, spec.prev_kv) for event in told.events if self._wants(event))
            if events:
                found.append((told.revision, events))
        return found

    def _wants(self, event: AppliedEvent) -> bool:
        spec = self.spec
        if spec.no_delete if event.deleted else spec.no_put:
            return False
        if not spec.range_end:
            return event.key == spec.key
        return event.key >= spec.key and (spec.range_end == b"\0" or event.key < spec.range_end)


class HubMachine(RuleBasedStateMachine):
    clients = Bundle("clients")

    @initialize()
    def begin(self) -> None:
        self.history = History()
        self.delivery = Delivery(self.history)
        self.all_clients: list[Client] = []
        self.watched: dict[tuple[Client, int], Watched] = {}
        self.next_id = 0

    @rule(target=clients, room=st.sampled_from([1, 2, 1000]))
    def open_stream(self, room: int) -> Client:
        self.all_clients.append(Client(self.delivery, room))
        return self.all_clients[-1]

    @rule(client=clients, spec=SPECS, start=st.integers(-6, 3), from_now=st.booleans())
    def create(self, client: Client, spec: WatchSpec, start: int, from_now: bool) -> None:
        if any(update.watch_id == ALL_WATCHERS for update in client.buffer):
            # Progress of the stream binds the watchers that it had then, not this new one: let the client read it before.
            self._check(client, client.drain())
        revision = self.history.revision
        first = revision + 1 if from_now else max(1, revision + start)
        watch_id = self.next_id = self.next_id + 1
        spec = WatchSpec(watch_id, spec.key, spec.range_end, 0 if from_now else first, False, spec.no_put, spec.no_delete, spec.prev_kv)
        buffered = len(client.buffer)
        assert client.stream.create(spec) == revision
        assert len(client.buffer) == buffered
        self.watched[client, watch_id] = Watched(spec, first, late=first <= revision)

    @rule(batch=st.lists(CHANGES, min_size=1, max_size=4))
    def write(self, batch: list[list[tuple[bytes, bool]]]) -> None:
        self.delivery.on_applied([self.history.change(*changes) for changes in batch])
        self._note_slow()

    @rule(batch=st.lists(CHANGES, max_size=4))
    def install_snapshot(self, batch: list[list[tuple[bytes, bool]]]) -> None:
        for changes in batch:
            self.history.change(*changes)
        self.delivery.on_state_replaced()
        for watched in self.watched.values():
            watched.may_be_compacted |= bool(batch)

    @rule(back=st.integers(0, 8))
    def compact(self, back: int) -> None:
        revision = self.history.revision - back
        if revision > self.history.compacted_revision and revision > 1:
            self.history.compacted_revision = revision
            self.delivery.on_compacted(Revision(revision))

    @rule(bytes_max=st.sampled_from([1, 50, 10_000]), work_max=st.sampled_from([1, 3, 10_000]))
    def catch_up(self, bytes_max: int, work_max: int) -> None:
        more = self.delivery.catch_up(bytes_max, work_max)
        assert more == self.delivery.behind
        self._note_slow()

    @rule(client=clients)
    def drain(self, client: Client) -> None:
        self._check(client, client.drain())

    @rule(client=clients, data=st.data())
    @precondition(lambda self: self.watched)
    def cancel(self, client: Client, data: st.DataObject) -> None:
        ids = [watch_id for owner, watch_id in self.watched if owner is client]
        if ids:
            watch_id = data.draw(st.sampled_from(ids))
            self._check(client, client.drain())
            client.stream.cancel(watch_id)
            del self.watched[client, watch_id]

    @rule(client=clients)
    def ask_for_progress(self, client: Client) -> None:
        client.stream.request_progress()

    @rule(client=clients)
    def ask_each_for_progress(self, client: Client) -> None:
        for watch_id in list(client.stream.watchers):
            client.stream.progress(watch_id)

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "delivery"):
            assert self.delivery.watcher_count == sum(len(client.stream.watchers) for client in self.all_clients)

    def teardown(self) -> None:
        if not hasattr(self, "delivery"):
            return
        for _ in range(10_000):
            self.delivery.catch_up()
            for client in self.all_clients:
                self._check(client, client.drain())
            if not self.delivery.slow_watcher_count:
                break
        assert self.delivery.slow_watcher_count == 0, "everybody catches up once clients take what they are given"
        for client in self.all_clients:
            self._check(client, client.drain())
        for watched in self.watched.values():
            if not watched.ended:
                assert watched.got == [events for _, events in watched.expected(self.history)]

    def _note_slow(self) -> None:
        for (client, _), watched in self.watched.items():
            watched.may_be_compacted |= client.refused > 0

    def _check(self, client: Client, updates: list[WatchUpdate]) -> None:
        for update in updates:
            if update.watch_id == ALL_WATCHERS:
                for (owner, _), watched in self.watched.items():
                    if owner is client and not watched.ended and watched.spec.start_revision <= update.revision:
                        self._check_progress(watched, update)
                continue
            watched = self.watched[client, update.watch_id]
            assert not watched.ended, "nothing comes after the end"
            if update.compact_revision:
                assert not update.events
                assert watched.may_be_compacted, "only who was behind can be overtaken"
                assert update.compact_revision <= self.history.compacted_revision
                watched.ended = True
            elif update.events:
                self._check_events(watched, update)
            else:
                assert watched.spec.start_revision <= update.revision
                self._check_progress(watched, update)

    def _check_progress(self, watched: Watched, update: WatchUpdate) -> None:
        due = [events for revision, events in watched.expected(self.history) if revision <= update.revision]
        assert watched.got == due or len(watched.got) > len(due), "progress at R: everything up to R has been told"
        watched.progress = max(watched.progress, update.revision)

    def _check_events(self, watched: Watched, update: WatchUpdate) -> None:
        """The update is the next revisions that were due, each of them whole."""
        left = list(update.events)
        for revision, events in watched.expected(self.history)[len(watched.got) :]:
            if not left:
                break
            assert tuple(left[: len(events)]) == events
            assert watched.progress < revision <= update.revision
            watched.got.append(events)
            del left[: len(events)]
        assert not left


@pytest.mark.slow
def test_hub_equals_the_obvious_rule() -> None:
    run_state_machine_as_test(HubMachine, settings=settings(max_examples=300, stateful_step_count=40, deadline=None))
