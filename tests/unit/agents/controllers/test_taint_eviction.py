"""Who leaves a tainted node, and when."""

import asyncio

import pytest

from agents.controllers.taint_eviction import NODES, TaintEviction, eviction_due_s
from tests.support.controllers import EPOCH_S, running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, pod

TAINT = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}


def tolerating(*tolerations, name="p"):
    found = pod(name)
    found["spec"]["tolerations"] = list(tolerations)
    return found


@pytest.mark.parametrize(
    ("tolerations", "due"),
    [
        ([], 100.0),
        ([{"operator": "Exists"}], None),
        ([{"key": TAINT["key"], "operator": "Exists", "tolerationSeconds": 300}], 300.0),
        ([{"key": TAINT["key"], "operator": "Exists", "effect": "NoSchedule"}], 100.0),
        ([{"operator": "Exists", "tolerationSeconds": 300}, {"operator": "Exists", "tolerationSeconds": 30}], 30.0),
        ([{"operator": "Exists", "tolerationSeconds": -5}], 0.0),
        ([{"key": TAINT["key"], "value": "other"}], 100.0),
    ],
)
def test_when_a_pod_has_to_go(tolerations, due):
    assert eviction_due_s(tolerating(*tolerations), [TAINT], EPOCH_S + 100) == (None if due is None else EPOCH_S + due)


def test_a_pod_that_came_after_the_taint_has_its_whole_time():
    late = tolerating({"operator": "Exists", "tolerationSeconds": 10})
    late["metadata"]["creationTimestamp"] = "2026-01-01T00:01:00Z"
    assert eviction_due_s(late, [TAINT], EPOCH_S + 61) == EPOCH_S + 70


def test_pods_go_in_their_time_and_stay_if_the_taint_goes():
    async def work():
        api = FakeApi()
        api.put(NODES, {"metadata": {"name": "n1"}, "spec": {}})
        api.put(PODS, tolerating(name="short"))
        api.put(PODS, tolerating({"operator": "Exists", "tolerationSeconds": 60}, name="long"))
        async with running(api, TaintEviction) as (_, recorder):
            await settle()
            assert len(api.all(PODS)) == 2
            api.touch(NODES, "", "n1", lambda node: node["spec"].update(taints=[TAINT]))
            await settle()
            assert [each["metadata"]["name"] for each in api.all(PODS)] == ["long"]
            assert recorder.told[-1] == ("short", "Normal", "TaintManagerEviction", "Marking for deletion Pod default/short")
            await asyncio.sleep(30)
            api.touch(NODES, "", "n1", lambda node: node["spec"].update(taints=[]))
            await asyncio.sleep(60)
            assert len(api.all(PODS)) == 1
            assert recorder.told[-1] == ("long", "Normal", "TaintManagerEviction", "Cancelling deletion of Pod default/long")
            api.touch(NODES, "", "n1", lambda node: node["spec"].update(taints=[TAINT]))
            await asyncio.sleep(1)
            assert api.all(PODS) == []

    run(work())
