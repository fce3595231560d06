"""Who must go, and who is spared."""

from agents.scheduler.cycle import Rejected
from tests.unit.agents.scheduler.cluster import decide, node, pod, snapshot


def budget(name, app, allowed):
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed},
    }


def victims(cluster, wanted):
    found = decide(cluster, wanted)
    assert isinstance(found, Rejected)
    return None if found.victims is None else (found.victims.node, [each.name for each in found.victims.pods])


def test_only_as_many_as_must_and_the_least_important():
    cluster = snapshot(
        node("n", cpu="4"),
        pod("a", cpu="1", nodeName="n", priority=3),
        pod("b", cpu="1", nodeName="n", priority=2),
        pod("c", cpu="1", nodeName="n", priority=1),
        pod("d", cpu="1", nodeName="n", priority=100),
    )
    assert victims(cluster, pod("p", cpu="2", priority=50)) == ("n", ["b", "c"])


def test_of_equal_priority_who_runs_longer_stays():
    old, young = {"startTime": "2026-01-01T00:00:00Z"}, {"startTime": "2026-01-02T00:00:00Z"}
    cluster = snapshot(node("n", cpu="2"), pod("young", cpu="1", nodeName="n", status=young), pod("old", cpu="1", nodeName="n", status=old))
    assert victims(cluster, pod("p", cpu="1", priority=1)) == ("n", ["young"])


def test_a_budget_turns_the_choice_to_another_node():
    cluster = snapshot(
        node("a", cpu="1"),
        node("b", cpu="1"),
        pod("x", cpu="1", nodeName="a", labels={"app": "x"}),
        pod("y", cpu="1", nodeName="b", labels={"app": "y"}, priority=5),
    )
    cluster.set_object("poddisruptionbudgets.policy", budget("x", "x", 0))
    assert victims(cluster, pod("p", cpu="1", priority=10)) == ("b", ["y"])
    cluster.set_object("poddisruptionbudgets.policy", budget("x", "x", 1))
    assert victims(cluster, pod("p", cpu="1", priority=10)) == ("a", ["x"])


def test_the_node_whose_highest_victim_is_lowest():
    cluster = snapshot(
        node("a", cpu="2"),
        node("b", cpu="2"),
        pod("a1", cpu="2", nodeName="a", priority=9),
        pod("b1", cpu="1", nodeName="b", priority=8),
        pod("b2", cpu="1", nodeName="b", priority=8),
    )
    assert victims(cluster, pod("p", cpu="2", priority=10)) == ("b", ["b1", "b2"])


def test_no_eviction_where_it_does_not_help():
    cluster = snapshot(
        node("a", cpu="1", unschedulable=True), node("b", cpu="1"), pod("x", cpu="1", nodeName="a"), pod("y", nodeName="b", priority=99)
    )
    found = decide(cluster, pod("p", cpu="2", priority=10))
    assert found.victims is None
    assert found.message.endswith("preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.")
    assert found.clear_nomination


def test_anti_affinity_of_a_victim_is_gone_with_it():
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    cluster = snapshot(node("n"), pod("loner", nodeName="n", affinity=anti))
    assert victims(cluster, pod("p", labels={"app": "web"}, priority=1)) == ("n", ["loner"])


def test_spread_counts_without_the_victims():
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    labels = {"app": "web"}
    cluster = snapshot(
        node("a", cpu="2"),
        node("b", cpu="2", taints=[("k", "", "NoSchedule")]),
        pod("x", cpu="1", nodeName="a", labels=labels),
    )
    assert victims(cluster, pod("p", cpu="1", labels=labels, priority=1, topologySpreadConstraints=[constraint])) == ("a", ["x"])


def test_a_victim_on_its_way_out_is_waited_for():
    gone = {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}
    leaving = pod("leaving", cpu="1", nodeName="n", status=gone)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster = snapshot(node("n", cpu="1"), leaving)
    found = decide(cluster, pod("p", cpu="1", priority=1, status={"nominatedNodeName": "n"}))
    assert found.victims is None
    assert found.message.endswith("preemption: not eligible due to a terminating pod on the nominated node.")
    assert not found.clear_nomination
