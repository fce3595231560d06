"""Pods that nobody else will end."""

import asyncio

from agents.controllers.pod_gc import NODES, PodGarbageCollector, beyond_threshold, never_scheduled, orphans, out_of_service
from agents.kit.actions import Delete, Patch
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run
from tests.support.workloads import PODS, pod

NOW = "2026-01-01T00:00:00Z"


def names(actions):
    return [action.name for action in actions if isinstance(action, Delete)]


def test_the_oldest_finished_pods_beyond_the_threshold():
    pods = [
        pod("new", "Failed", since="2026-01-03T00:00:00Z"),
        pod("old", "Succeeded"),
        pod("older", "Failed", since="2025-01-01T00:00:00Z"),
        pod("runs"),
    ]
    assert names(beyond_threshold(pods, 1)) == ["older", "old"]
    assert names(beyond_threshold(pods, 3)) == names(beyond_threshold(pods, 0)) == []


def test_orphans_fail_before_they_go():
    found = orphans(
        [pod("lost", node="gone"), pod("done", "Succeeded", node="gone"), pod("here", node="n1"), pod("waits", "Pending", node="")], {"gone"}, NOW
    )
    assert names(found) == ["lost", "done"]
    (patch,) = [each for each in found if isinstance(each, Patch)]
    assert patch.patch["status"]["phase"] == "Failed"
    assert patch.patch["status"]["conditions"][0]["reason"] == "DeletionByPodGC"
    assert all(each.grace_s == 0 for each in found if isinstance(each, Delete))


def test_terminating_without_a_node():
    assert names(
        never_scheduled([pod("a", "Pending", node="", deletionTimestamp=NOW), pod("b", node="n1", deletionTimestamp=NOW), pod("c", node="")])
    ) == ["a"]


def test_nodes_out_of_service():
    dead = {
        "spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
    }
    leaving = pod("a", deletionTimestamp=NOW)
    assert names(out_of_service([leaving, pod("b")], {"n1": dead}, NOW)) == ["a"]
    dead["status"]["conditions"][0]["status"] = "True"
    assert names(out_of_service([leaving], {"n1": dead}, NOW)) == []


def test_a_node_has_to_be_missing_for_a_while():
    async def work():
        api = FakeApi()
        api.put(NODES, {"metadata": {"name": "n1"}})
        api.put(PODS, pod("a", node="n1"))
        api.put(PODS, pod("b", node="never-there"))
        async with running(api, PodGarbageCollector):
            await asyncio.sleep(39)
            assert len(api.all(PODS)) == 2
            await asyncio.sleep(2)
            assert [each["metadata"]["name"] for each in api.all(PODS)] == ["a"]
            api.remove(NODES, "", "n1")
            await asyncio.sleep(30)
            assert len(api.all(PODS)) == 1
            await asyncio.sleep(40)
            assert api.all(PODS) == []

    run(work())
