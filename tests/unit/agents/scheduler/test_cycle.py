"""Decisions: which node, why none, and how many are looked at."""

import pytest

from agents.scheduler.cycle import NO_NODES, Cycle, Placed, Rejected, nodes_to_find
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.profiles import default_profile
from tests.unit.agents.scheduler.cluster import ZONE, decide, node, pod, snapshot


@pytest.mark.parametrize(
    ("total", "percentage", "wanted"), [(99, 0, 99), (100, 0, 100), (1000, 0, 420), (5000, 0, 500), (6000, 0, 300), (1000, 100, 1000), (1000, 1, 100)]
)
def test_how_many_feasible_nodes_are_enough(total, percentage, wanted):
    assert nodes_to_find(total, percentage) == wanted


def test_no_nodes_at_all():
    assert decide(snapshot(), pod("a")).message == NO_NODES


def test_the_emptier_node_is_better():
    found = decide(snapshot(node("full"), node("empty"), pod("x", cpu="2", memory="4Gi", nodeName="full")), pod("a", cpu="1", memory="1Gi"))
    assert isinstance(found, Placed)
    assert found.node == "empty"
    assert found.scores["empty"] > found.scores["full"]


def test_chance_decides_between_equal_nodes():
    cluster = snapshot(*(node(f"n{number}") for number in range(5)))
    asked = []

    def last(count):
        asked.append(count)
        return count - 1

    found = Cycle(last).decide(default_profile(), PodInfo(pod("a")), cluster)
    assert (found.node, asked) == ("n4", [5])


def test_every_reason_with_its_number_of_nodes():
    cluster = snapshot(node("m", taints=[("k", "", "NoSchedule")]), node("a", cpu="1"), node("b", cpu="1"))
    found = decide(cluster, pod("p", cpu="2", priority=0))
    assert isinstance(found, Rejected)
    assert found.message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
        " preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )
    assert found.plugins == {"TaintToleration", "NodeResourcesFit"}


def test_large_clusters_are_looked_through_in_turns():
    cluster = snapshot(*(node(f"n{number:04}") for number in range(300)))
    cycle = Cycle(lambda count: 0)
    profile = default_profile()
    found = [cycle.decide(profile, PodInfo(pod(f"p{number}")), cluster) for number in range(3)]
    assert [each.evaluated for each in found] == [144] * 3
    assert [each.node for each in found] == ["n0000", "n0144", "n0288"]


def test_the_first_nodes_are_of_all_zones():
    cluster = snapshot(*(node(f"{zone}{number}", labels={ZONE: zone}) for zone in "ab" for number in range(3)))
    assert [each.name for each in cluster.order] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_nominated_node_is_tried_first_and_kept_for_its_pod():
    cluster = snapshot(node("a", cpu="1"), node("b", cpu="1"))
    chosen = pod("chosen", cpu="1", priority=10, status={"nominatedNodeName": "b"})
    cluster.nominate(PodInfo(chosen), "b")
    assert decide(cluster, pod("low", cpu="1", priority=1)).node == "a"
    assert decide(cluster, chosen).node == "b"
    assert decide(cluster, pod("higher", cpu="1", priority=11)).feasible == 2


def test_an_assumed_pod_counts_until_it_is_forgotten():
    cluster = snapshot(node("a", cpu="1"))
    first = PodInfo(pod("first", cpu="1"))
    cluster.assume(first, "a")
    assert isinstance(decide(cluster, pod("second", cpu="1")), Rejected)
    cluster.forget("first")
    assert isinstance(decide(cluster, pod("second", cpu="1")), Placed)


def test_what_the_informer_confirms_is_not_forgotten():
    cluster = snapshot(node("a", cpu="1"))
    cluster.assume(PodInfo(pod("first", cpu="1")), "a")
    cluster.set_pod(pod("first", cpu="1", nodeName="a"))
    cluster.forget("first")
    assert isinstance(decide(cluster, pod("second", cpu="1")), Rejected)


def test_pods_of_a_node_that_is_gone_or_not_there_yet():
    cluster = snapshot(pod("early", cpu="3", nodeName="a"))
    assert cluster.order == []
    cluster.set_node(node("a"))
    assert isinstance(decide(cluster, pod("p", cpu="2")), Rejected)
    cluster.remove_node("a")
    assert cluster.order == []
    cluster.remove_pod("early")
    assert cluster.nodes == {}
