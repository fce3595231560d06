"""Daemon sets: which nodes, which pods go, how a new template spreads."""

import asyncio

import pytest

from agents.controllers.clusterrole_aggregation import CLUSTER_ROLES, ClusterRoleAggregation
from agents.controllers.daemonset import DAEMON_SETS, NODES, DaemonSets, fit, node_of, pod_for
from agents.controllers.history import REVISIONS
from apiserver.machinery.objects import name_of
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, run_pods, template


def daemon(**spec):
    given = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(),
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        **spec,
    }
    return {"metadata": {"name": "agent", "namespace": "default"}, "spec": given}


def node(name, *taints, **labels):
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [{"key": key, "effect": effect} for key, effect in taints]}}


def affinity(key, value):
    terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


@pytest.mark.parametrize(
    ("spec", "where", "expected"),
    [
        ({}, node("a"), (True, True)),
        ({}, node("a", ("x", "NoSchedule")), (False, True)),
        ({}, node("a", ("x", "NoExecute")), (False, False)),
        ({}, node("a", ("node.kubernetes.io/unreachable", "NoExecute"), ("node.kubernetes.io/unschedulable", "NoSchedule")), (True, True)),
        ({}, node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), (False, True)),
        ({"hostNetwork": True}, node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), (True, True)),
        ({"nodeSelector": {"disk": "ssd"}}, node("a"), (False, False)),
        ({"nodeSelector": {"disk": "ssd"}}, node("a", disk="ssd"), (True, True)),
        ({"affinity": affinity("zone", "a")}, node("a", zone="b"), (False, False)),
        ({"affinity": affinity("zone", "a")}, node("a", zone="a"), (True, True)),
        ({"tolerations": [{"operator": "Exists"}]}, node("a", ("x", "NoExecute")), (True, True)),
        ({"nodeName": "b"}, node("a"), (False, False)),
    ],
)
def test_which_nodes_suit(spec, where, expected):
    found = fit(template(**spec), where)
    assert (found.run, found.stay) == expected


def test_a_pod_is_made_for_its_node_whatever_else_it_asks_for():
    owner = daemon(template=template(affinity=affinity("zone", "a")))
    owner["metadata"]["uid"] = "u"
    pod = pod_for(owner, {"metadata": {"name": "agent-x", "labels": {"controller.kubernetes.io/hash": "x"}}}, "n7")
    assert node_of(pod) == "n7"
    (term,) = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["key"] == "zone"
    assert pod["metadata"]["labels"] == {"app": "web", "controller-revision-hash": "x"}
    assert (
        len(owner["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0])
        == 1
    )


def cluster(count=3, **spec):
    api = FakeApi()
    for number in range(count):
        api.put(NODES, node(f"n{number}"))
    api.put(DAEMON_SETS, daemon(**spec))
    return api


def bind(api):
    """The scheduler: each pod goes to the node it is made for."""
    for pod in api.all(PODS):
        if not pod["spec"].get("nodeName"):
            api.touch(PODS, "default", name_of(pod), lambda obj: obj["spec"].update(nodeName=node_of(obj)))


async def turn(api):
    await asyncio.sleep(0.1)
    bind(api)
    run_pods(api)
    await settle()


def where(api):
    return sorted(node_of(pod) for pod in api.all(PODS))


def images(api):
    return "".join(pod["spec"]["containers"][0]["image"][-1] for pod in sorted(api.all(PODS), key=node_of))


def status(api):
    return api.all(DAEMON_SETS)[0]["status"]


def test_one_on_each_node_as_nodes_come_go_and_change():
    async def work():
        api = cluster()
        async with running(api, DaemonSets) as (_, recorder):
            for _ in range(5):
                await turn(api)
            assert where(api) == ["n0", "n1", "n2"]
            found = status(api)
            assert {
                key: found[key] for key in ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable")
            } == dict.fromkeys(("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable"), 3)
            assert found["updatedNumberScheduled"] == 3 and found["numberMisscheduled"] == 0 and "numberUnavailable" not in found
            api.put(NODES, node("n3"))
            await turn(api)
            assert where(api) == ["n0", "n1", "n2", "n3"]
            api.touch(NODES, "", "n1", lambda obj: obj["spec"].update(taints=[{"key": "x", "effect": "NoExecute"}]))
            await turn(api)
            assert where(api) == ["n0", "n2", "n3"]
            asked = len(api.calls)
            api.touch(NODES, "", "n0", lambda obj: obj.update(status={"heartbeat": 1}))
            await turn(api)
            assert len(api.calls) - asked <= 2, "only what the last turn had left"
            assert set(recorder.reasons()) == {"SuccessfulCreate", "SuccessfulDelete"}

    run(work())


def test_a_new_template_goes_from_node_to_node_and_back():
    async def work():
        api = cluster()
        async with running(api, DaemonSets):
            for _ in range(5):
                await turn(api)
            api.touch(DAEMON_SETS, "default", "agent", lambda obj: obj["spec"].update(template=template("web:2")))
            fewest = 3
            for _ in range(20):
                await turn(api)
                fewest = min(fewest, len(api.all(PODS)))
            assert images(api) == "222" and fewest >= 2
            assert sorted(each["revision"] for each in api.all(REVISIONS)) == [1, 2]
            assert status(api)["updatedNumberScheduled"] == 3

    run(work())


def test_with_surge_the_new_one_is_ready_before_the_old_one_goes():
    async def work():
        api = cluster(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
        async with running(api, DaemonSets):
            for _ in range(5):
                await turn(api)
            api.touch(DAEMON_SETS, "default", "agent", lambda obj: obj["spec"].update(template=template("web:2")))
            sizes = set()
            for _ in range(30):
                await turn(api)
                sizes.add(len(api.all(PODS)))
            assert images(api) == "222" and sizes <= {3, 4} and 4 in sizes

    run(work())


def test_on_delete_nothing_rolls():
    async def work():
        api = cluster(updateStrategy={"type": "OnDelete"})
        async with running(api, DaemonSets):
            for _ in range(5):
                await turn(api)
            api.touch(DAEMON_SETS, "default", "agent", lambda obj: obj["spec"].update(template=template("web:2")))
            for _ in range(5):
                await turn(api)
            assert images(api) == "111"

    run(work())


def test_a_daemon_that_fails_is_made_again_after_a_pause_that_grows():
    async def work():
        api = cluster(count=1)
        async with running(api, DaemonSets) as (_, recorder):
            made = set()
            for _ in range(600):
                await asyncio.sleep(0.1)
                for pod in api.all(PODS):
                    made.add(pod["metadata"]["uid"])
                    if (pod.get("status") or {}).get("phase") != "Failed":
                        api.touch(PODS, "default", name_of(pod), lambda obj: obj.update(status={"phase": "Failed"}))
            assert 4 <= len(made) <= 9
            assert "FailedDaemonPod" in recorder.reasons()

    run(work())


def test_a_role_has_the_rules_of_those_it_gathers():
    async def work():
        api = FakeApi()
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
        api.put(CLUSTER_ROLES, {"metadata": {"name": "part", "labels": {"to": "view"}}, "rules": [rule]})
        gathering = {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]}
        api.put(CLUSTER_ROLES, {"metadata": {"name": "view"}, "aggregationRule": gathering, "rules": []})
        async with running(api, ClusterRoleAggregation):
            await settle(100)
            assert api.all(CLUSTER_ROLES)[1]["rules"] == [rule]
            asked = len(api.calls)
            api.touch(CLUSTER_ROLES, "", "part", lambda obj: obj["metadata"].update(annotations={"a": "b"}))
            await settle(100)
            assert len(api.calls) == asked
            api.remove(CLUSTER_ROLES, "", "part")
            await settle(100)
            assert api.all(CLUSTER_ROLES)[0]["rules"] == []

    run(work())
