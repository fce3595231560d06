"""The three places of waiting pods, back-off, and what wakes whom."""

from agents.scheduler.framework import ClusterEvent
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.profiles import default_profile
from agents.scheduler.queue import Place, SchedulingQueue
from tests.unit.agents.scheduler.cluster import node, pod

FIT = frozenset({"NodeResourcesFit"})


def queue_of(*pods):
    queue = SchedulingQueue({"default-scheduler": default_profile()})
    for each in pods:
        queue.add(PodInfo(each), 0.0)
    return queue


def names(queue, now=0.0):
    found = []
    while (queued := queue.pop(now)) is not None:
        found.append(queued.pod.name)
    return found


def test_priority_comes_before_time():
    assert names(queue_of(pod("a"), pod("b", priority=5), pod("c", priority=5), pod("d", priority=-1))) == ["b", "c", "a", "d"]


def test_a_change_of_priority_is_a_change_of_rank():
    queue = queue_of(pod("a"), pod("b"))
    queue.update(PodInfo(pod("b", priority=9)), 0.0)
    assert names(queue) == ["b", "a"]


def test_a_deleted_pod_is_not_popped():
    queue = queue_of(pod("a"), pod("b"))
    queue.delete("a")
    assert names(queue) == ["b"]
    assert queue.size(Place.IN_FLIGHT) == 1


def test_a_refused_pod_waits_for_an_event_that_its_plugin_believes_in():
    queue = queue_of(pod("a", cpu="2"))
    queue.reject(queue.pop(0.0), FIT, 0.0)
    assert queue.size(Place.UNSCHEDULABLE) == 1
    small, large = node("n", cpu="1"), node("n", cpu="2")
    assert queue.happened(ClusterEvent("nodes", "add"), None, small, 5.0) == 0
    assert queue.happened(ClusterEvent("nodes", "update"), small, large, 5.0) == 1
    assert names(queue, 5.0) == ["a"]


def test_status_updates_of_running_pods_wake_nobody():
    queue = queue_of(pod("a", cpu="2"))
    queue.reject(queue.pop(0.0), FIT | {"InterPodAffinity", "PodTopologySpread", "TaintToleration"}, 0.0)
    before, after = pod("x", cpu="1", nodeName="n"), pod("x", cpu="1", nodeName="n", status={"phase": "Running"})
    assert queue.happened(ClusterEvent("pods", "update"), before, after, 60.0) == 0


def test_back_off_doubles_and_has_an_end():
    queue = queue_of(pod("a"))
    waits = []
    now = 0.0
    for _ in range(6):
        queued = queue.pop(now)
        queue.reject(queued, frozenset(), now, error=True)
        waits.append(queue.next_due() - now)
        now = queue.next_due()
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_back_off_counts_from_the_failure_and_not_from_the_event():
    queue = queue_of(pod("a"))
    queue.reject(queue.pop(0.0), FIT, 0.0)
    queue.happened(ClusterEvent("nodes", "add"), None, node("n"), 0.4)
    assert queue.size(Place.BACKOFF) == 1
    assert queue.pop(0.9) is None
    assert names(queue, 1.0) == ["a"]


def test_what_happened_while_a_pod_was_tried_is_not_missed():
    queue = queue_of(pod("a"))
    queued = queue.pop(0.0)
    queue.happened(ClusterEvent("nodes", "add"), None, node("n"), 0.0)
    queue.reject(queued, FIT, 0.0)
    assert queue.size(Place.BACKOFF) == 1


def test_after_five_minutes_a_pod_is_tried_without_a_reason():
    queue = queue_of(pod("a"))
    queue.reject(queue.pop(0.0), FIT, 0.0)
    queue.flush_forgotten(300.0)
    assert queue.size(Place.UNSCHEDULABLE) == 1
    queue.flush_forgotten(300.1)
    assert names(queue, 300.1) == ["a"]


def test_gates_hold_a_pod_until_it_changes():
    queue = queue_of(pod("a", schedulingGates=[{"name": "g"}]))
    assert queue.pop(0.0) is None
    queue.happened(ClusterEvent("nodes", "add"), None, node("n"), 0.0)
    queue.flush_forgotten(1000.0)
    assert queue.pop(1000.0) is None
    queue.update(PodInfo(pod("a")), 1000.0)
    assert names(queue, 1000.0) == ["a"]


def test_a_rejection_of_a_pod_that_was_deleted_meanwhile_brings_nothing_back():
    queue = queue_of(pod("a"))
    queued = queue.pop(0.0)
    queue.delete("a")
    queue.reject(queued, FIT, 0.0)
    assert len(queue) == 0
    assert all(queue.size(place) == 0 for place in Place)


def test_without_any_nodes_the_first_node_is_waited_for():
    queue = queue_of(pod("a"))
    queue.reject(queue.pop(0.0), frozenset(), 0.0)
    assert queue.size(Place.UNSCHEDULABLE) == 1
    assert queue.happened(ClusterEvent("nodes", "add"), None, node("n"), 2.0) == 1
    assert names(queue, 2.0) == ["a"]
