"""What makes one node better than another."""

import pytest

from agents.scheduler.amounts import pod_requests
from agents.scheduler.framework import CycleState, normalized
from agents.scheduler.plugins.image_locality import normalized_name, score_of
from agents.scheduler.plugins.node_resources_balanced_allocation import balance
from agents.scheduler.plugins.node_resources_fit import NodeResourcesFit, least_allocated, most_allocated, requested_to_capacity_ratio
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.terms import Toleration
from tests.unit.agents.scheduler.cluster import decide, node, pod, snapshot


def test_shares_of_what_is_allocated():
    assert (least_allocated(1, 4), least_allocated(5, 4), most_allocated(1, 4), most_allocated(9, 4)) == (75, 0, 25, 100)


def test_a_shape_of_scores():
    score = requested_to_capacity_ratio([{"utilization": 0, "score": 0}, {"utilization": 50, "score": 10}, {"utilization": 100, "score": 2}])
    assert [score(used, 100) for used in (0, 25, 50, 75, 100, 130)] == [0, 50, 100, 60, 20, 20]


def test_the_quick_loop_says_what_the_obvious_rule_says():
    plugin = NodeResourcesFit()
    cluster = snapshot(node("a"), node("b", cpu="1"), node("c", memory="0"), pod("x", cpu="3", nodeName="a"), pod("y", cpu="2", nodeName="b"))
    info = PodInfo(pod("p", cpu="500m", memory="1Gi"))
    assert plugin.plain
    assert plugin.score(CycleState(), info, cluster.order) == [plugin._weighted(info, each) for each in cluster.order]


def test_even_use_is_better():
    assert (balance([0.5, 0.5]), balance([0.0, 1.0]), balance([0.2]), balance([0.1, 0.1, 0.1])) == (100, 50, 100, 100)


def test_images_that_lie_there():
    assert normalized_name("host:5000/app") == "host:5000/app:latest"
    assert normalized_name("app@sha256:00") == "app@sha256:00"
    assert (score_of(0, 1), score_of(23 << 20, 1), score_of(1000 << 20, 1), score_of(1000 << 20, 2)) == (0, 0, 100, 49)


def test_normalizing():
    assert normalized([2, 1, 0]) == [100, 50, 0]
    assert normalized([2, 1, 0], reverse=True) == [0, 50, 100]
    assert normalized([0, 0], reverse=True) == [100, 100]


def test_fewer_soft_taints_and_preferred_labels():
    soft = ("k", "v", "PreferNoSchedule")
    assert decide(snapshot(node("a", taints=[soft]), node("b")), pod("p")).node == "b"
    term = {"weight": 5, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    assert decide(snapshot(node("a"), node("b", labels={"disk": "ssd"})), pod("p", affinity=affinity)).node == "b"


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        (Toleration("", "Exists", "", ""), True),
        (Toleration("k", "Exists", "", "NoSchedule"), True),
        (Toleration("k", "Exists", "", "NoExecute"), False),
        (Toleration("k", "Equal", "5", ""), True),
        (Toleration("k", "", "6", ""), False),
        (Toleration("x", "Exists", "", ""), False),
    ],
)
def test_tolerations(toleration, tolerates):
    assert toleration.tolerates("k", "5", "NoSchedule") is tolerates


def test_requests_of_init_containers_sidecars_and_overhead():
    def asks(cpu, **more):
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "initContainers": [asks("2"), asks("500m", restartPolicy="Always"), asks("1")],
        "containers": [asks("100m"), asks("100m")],
        "overhead": {"cpu": "50m"},
    }
    assert pod_requests(spec)["cpu"] == 2050
    spec["containers"][0] = asks("3")
    assert pod_requests(spec)["cpu"] == 3650
    spec["resources"] = {"requests": {"cpu": "1"}}
    assert pod_requests(spec)["cpu"] == 1050
