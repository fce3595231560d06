"""Who is concerned by an event, and that encoded events are made once."""

from hypothesis import given
from hypothesis import strategies as st

from kvstore.encoding import encode_event, encode_key_value, encode_tombstone
from kvstore.ids import Revision
from kvstore.model import EncodedKeyValue, WatchUpdate
from kvstore.mvcc.events import AppliedEvent, SharedEvents
from kvstore.mvcc.watch import FROM_KEY, KNOWN_MATCHES_MAX, Audience, Audiences, Interest, Place, RangeIndex, Watcher, WatcherSets

KEYS = st.text("ab\0", min_size=1, max_size=3).map(str.encode)
INTERESTS = st.builds(Interest, KEYS, st.one_of(st.just(b""), st.just(FROM_KEY), KEYS), st.booleans(), st.booleans(), st.booleans())


class Nobody:
    def offer(self, update: WatchUpdate) -> bool:
        return True

    def forget(self, watch_id: int) -> None: ...


def put(key: bytes, prev_kv: EncodedKeyValue | None = None) -> AppliedEvent:
    return AppliedEvent(key, False, encode_key_value(key, 2, 3, 1, b"v", 0), prev_kv)


def delete(key: bytes, prev_kv: EncodedKeyValue | None = None) -> AppliedEvent:
    return AppliedEvent(key, True, encode_tombstone(key, 3), prev_kv)


def watcher(interest: Interest, next_revision: int = 2, start_revision: int = 0) -> Watcher:
    return Watcher(Nobody(), 0, interest, start_revision, next_revision)


def in_range(interest: Interest, key: bytes) -> bool:
    """The rule as etcd's API says it: no end is the one key, end "\\0" is everything from key on, else half open."""
    if interest.range_end == b"":
        return key == interest.key
    if interest.range_end == b"\0":
        return key >= interest.key
    return interest.key <= key < interest.range_end


@given(st.lists(INTERESTS, max_size=8), st.lists(st.tuples(KEYS, st.booleans()), max_size=8), st.data())
def test_matching_equals_asking_every_watcher_while_they_come_and_go(
    interests: list[Interest], changes: list[tuple[bytes, bool]], data: st.DataObject
) -> None:
    audiences = Audiences()
    present: list[Watcher] = []
    for interest in interests:
        present.append(watcher(interest))
        audiences.add(present[-1])
        if data.draw(st.booleans(), "one goes"):
            audiences.remove(present.pop(data.draw(st.integers(0, len(present) - 1))))
        for key, deleted in changes:
            event = delete(key) if deleted else put(key)
            matched = [w for audience in audiences.match(event) for w in audience.watchers]
            wanted = [w for w in present if in_range(w.interest, key) and not (w.interest.no_delete if deleted else w.interest.no_put)]
            assert len(matched) == len(set(matched))
            assert set(matched) == set(wanted)
            assert all(w.interest.wants(event) == (w in wanted) for w in present)


def test_watchers_of_the_same_interest_are_one_audience() -> None:
    audiences = Audiences()
    for _ in range(1000):
        audiences.add(watcher(Interest(b"/a/", b"/a0")))
    assert len(audiences.match(put(b"/a/1"))) == 1


def test_audiences_left_by_everybody_are_forgotten() -> None:
    audiences = Audiences()
    present = [watcher(Interest(b"a")), watcher(Interest(b"a", prev_kv=True)), watcher(Interest(b"a", b"b"))]
    for one in present:
        audiences.add(one)
    for one in present:
        audiences.remove(one)
    assert not audiences
    assert audiences.match(put(b"a")) == []


def test_what_nested_ranges_make_the_index_remember_is_bounded() -> None:
    index = RangeIndex()
    size = 700  # 700 * 700 / 2 matches, over the bound
    for at in range(size):
        index.add(Audience(Interest(b"%04d" % at, FROM_KEY)))
    for at in range(size):
        assert len(index.match(b"%04d" % at)) == at + 1
        assert index._known_matches <= KNOWN_MATCHES_MAX + size
    assert len(index.match(b"0000")) == 1


# --- encoded events ----------------------------------------------------------------------------------------------------


def test_a_selection_is_one_object_however_often_it_is_asked_for() -> None:
    before = encode_key_value(b"a", 1, 1, 1, b"old", 0)
    a, b = put(b"a", before), delete(b"b")
    shared = SharedEvents((a, b))
    assert shared.select((0, 1), False) == (encode_event(False, a.kv), encode_event(True, b.kv))
    assert shared.select([0, 1], True) == (encode_event(False, a.kv, before), encode_event(True, b.kv))
    assert shared.select([0, 1], True) is shared.select((0, 1), True)
    assert shared.select((0,), False)[0] is shared.select((0, 1), False)[0]
    assert shared.select((0,), True)[0] is shared.select((0, 1), True)[0]


def test_without_a_version_before_both_forms_are_the_same_object() -> None:
    shared = SharedEvents((put(b"a"),))
    assert shared.select((0,), True) is shared.select((0,), False)


# --- places ------------------------------------------------------------------------------------------------------------


def test_a_watcher_is_put_where_its_next_revision_says() -> None:
    sets = WatcherSets(Revision(5))
    past, now, next_one, future = (watcher(Interest(b"a"), revision) for revision in (5, 6, 7, 9))
    for one in (past, now, next_one, future):
        sets.add(one)
    assert [one.place for one in (past, now, next_one, future)] == [Place.READY, Place.SYNCED, Place.WAITING, Place.WAITING]
    sets.advance(Revision(6))
    assert next_one.place is Place.WAITING, "revision 6 is being told, and must not be told to who starts at 7"
    sets.join_next()
    assert next_one.place is Place.SYNCED
    assert future.place is Place.WAITING


def test_progress_waits_for_the_start() -> None:
    sets = WatcherSets(Revision(5))
    from_now, from_next = watcher(Interest(b"a"), 6), watcher(Interest(b"a"), 6, start_revision=6)
    sets.add(from_now)
    sets.add(from_next)
    assert sets.is_current(from_now)
    assert not sets.is_current(from_next)
    sets.advance(Revision(6))
    assert sets.is_current(from_next)


def test_a_jump_of_the_state_leaves_everybody_with_the_revision_he_was_to_hear_next() -> None:
    sets = WatcherSets(Revision(5))
    synced, soon, later = watcher(Interest(b"a"), 6), watcher(Interest(b"a"), 8), watcher(Interest(b"a"), 20)
    for one in (synced, soon, later):
        sets.add(one)
    sets.replaced(Revision(10))
    assert [(one.place, one.next_revision) for one in (synced, soon, later)] == [(Place.READY, 6), (Place.READY, 8), (Place.WAITING, 20)]
    assert not sets.synced
    assert sets.count == 3


def test_removing_from_every_place() -> None:
    sets = WatcherSets(Revision(5))
    everybody = [watcher(Interest(b"a"), revision) for revision in (3, 4, 6, 7, 7)]
    for one in everybody:
        sets.add(one)
    sets.stall(everybody[1])
    for one in everybody:
        sets.remove(one)
        sets.remove(one)
    assert sets.count == 0
    assert (sets.ready, sets.stalled, sets.waiting, bool(sets.synced)) == ({}, {}, {}, False)
