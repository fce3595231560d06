"""Recent events, kept once for all watchers."""

from apiserver.storage import ring as ring_module
from apiserver.storage.items import ADDED, Event, Item
from apiserver.storage.ring import EVENT_BYTES, Budget, Ring, Subscription


def event(revision, size_bytes=0):
    return Event(ADDED, Item(f"/k/{revision}", {"metadata": {"name": str(revision)}}, revision, size_bytes), None)


def filled(ring, *revisions, size_bytes=0):
    for revision in revisions:
        ring.append(event(revision, size_bytes))
    return ring


def revisions(events):
    return [each.revision for each in events]


def test_a_watcher_reads_from_its_place_on():
    ring = filled(Ring(Budget()), 3, 5, 8)
    late, new = Subscription(ring, 3), Subscription(ring, 8)
    assert (late.pending, new.pending) == (True, False)
    assert late.told_up_to(9) == 4
    assert revisions(late.take(1)) == [5]
    filled(ring, 9)
    assert (revisions(late.take(10)), revisions(new.take(10)), late.told_up_to(9)) == ([8, 9], [9], 9)


def test_large_events_push_out_the_oldest(monkeypatch):
    monkeypatch.setattr(ring_module, "RING_BYTES_MAX", 2500 + 3 * EVENT_BYTES)
    ring = Ring(Budget())
    watcher = Subscription(ring, 0)
    filled(ring, 1, 2, size_bytes=1000)
    assert (ring.complete_after, watcher.slow) == (0, False)
    filled(ring, 3, size_bytes=1000)
    assert (ring.complete_after, watcher.slow, watcher.ended, watcher.take(9)) == (1, True, True, [])
    filled(ring, 4, size_bytes=9000)
    assert (ring.complete_after, ring.end - ring.first) == (3, 1), "one that is larger than all may stay alone"


def test_all_rings_have_one_budget_and_the_largest_gives_way():
    budget = Budget(2000 + 4 * EVENT_BYTES)
    small, large = filled(Ring(budget), 1, size_bytes=100), filled(Ring(budget), 2, 3, size_bytes=900)
    filled(small, 4, size_bytes=500)
    assert (small.complete_after, large.complete_after) == (0, 2)
    assert budget.size_bytes == small.size_bytes + large.size_bytes
    large.close()
    assert budget.size_bytes == small.size_bytes


def test_a_ring_that_is_left_is_read_to_its_end():
    ring = filled(Ring(Budget()), 1, 2)
    watcher = Subscription(ring, 0)
    watcher.end()
    ring.close()
    assert (watcher.ended, watcher.slow, revisions(watcher.take(9))) == (True, False, [1, 2])


def test_who_missed_something_knows_everything_up_to_nowhere(monkeypatch):
    monkeypatch.setattr(ring_module, "RING_EVENTS_MAX", 2)
    ring = Ring(Budget())
    slow = Subscription(ring, 0)
    filled(ring, 1, 2)
    assert slow.told_up_to(2) == 0
    filled(ring, 3)
    left = Subscription(ring, 2)
    left.end()
    assert (slow.told_up_to(3), left.told_up_to(7)) == (None, 2)
    left.take(1)
    assert left.told_up_to(7) is None


def test_what_another_server_told_already_is_not_told_again():
    ring = filled(Ring(Budget()), 1, 2)
    ahead = Subscription(ring, 4)
    assert (ahead.take(1), ahead.told_up_to(2)) == ([], 4)
    filled(ring, 3, 4, 5)
    assert (ahead.told_up_to(5), revisions(ahead.take(1)), ahead.told_up_to(5)) == (4, [5], 5)
