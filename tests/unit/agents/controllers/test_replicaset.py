"""ReplicaSets and ReplicationControllers: how many pods, which go, what the status says."""

import asyncio

import pytest

from agents.controllers.pods import rank_for_deletion
from agents.controllers.replicaset import (
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    Observed,
    ReplicaSets,
    ReplicationControllers,
    manage,
    settle_status,
    status_of,
)
from agents.kit.actions import Requeue, SlowStart, Together
from apiserver.machinery import status
from tests.support.controllers import EPOCH_S, running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, pod, replica_set, run_pods, template


def observed(replicas, pods, **spec):
    owner = replica_set(replicas=replicas, **spec)
    owner["metadata"] |= {"uid": "u", "generation": 2}
    return Observed(owner, REPLICA_SETS, pods, {})


def test_missing_pods_are_made_from_the_template():
    (start,) = manage(observed(3, [pod("a")]), EPOCH_S)
    assert isinstance(start, SlowStart) and len(start.actions) == 2
    made = start.actions[0].object
    assert made["metadata"]["generateName"] == "web-" and made["metadata"]["labels"] == {"app": "web"}
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == ("ReplicaSet", "u", True, True)
    assert len(manage(observed(2000, []), EPOCH_S)[0].actions) == 500


def test_no_replicas_in_the_spec_is_one():
    found = observed(3, [])
    del found.owner["spec"]["replicas"]
    assert len(manage(found, EPOCH_S)[0].actions) == 1


@pytest.mark.parametrize(
    ("kept", "goes"),
    [
        (pod("assigned", "Pending", ready=False), pod("unassigned", "Pending", ready=False, node="")),
        (pod("running", ready=False), pod("pending", "Pending", ready=False)),
        (pod("ready"), pod("unready", ready=False)),
        (pod("dear", annotations={"controller.kubernetes.io/pod-deletion-cost": "10"}), pod("cheap")),
        (pod("old", since="2025-01-01T00:00:00Z"), pod("young", since="2025-12-31T23:59:00Z")),
        (pod("alone", node="n2"), pod("crowded", node="n1")),
    ],
    ids=lambda each: each["metadata"]["name"],
)
def test_those_go_first_that_are_missed_least(kept, goes):
    assert next(each["metadata"]["name"] for each in rank_for_deletion([kept, goes], {"n1": 2, "n2": 1}, EPOCH_S)) == goes["metadata"]["name"]
    (together,) = manage(Observed(replica_set(replicas=1), REPLICA_SETS, [kept, goes], {"n1": 2, "n2": 1}), EPOCH_S)
    assert isinstance(together, Together) and [each.name for each in together.actions] == [goes["metadata"]["name"]]


def test_the_status_counts_and_waits_for_min_ready_seconds():
    found = observed(2, [pod("a", labels={"app": "web"}), pod("b", since="2025-12-01T00:00:00Z")], minReadySeconds=30)
    assert status_of(found, "", EPOCH_S) == {
        "replicas": 2,
        "fullyLabeledReplicas": 1,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "observedGeneration": 2,
    }
    assert Requeue(30.0) in settle_status(found, "", EPOCH_S)
    assert status_of(found, "", EPOCH_S + 30)["availableReplicas"] == 2


def test_a_failure_is_a_condition_until_it_is_over():
    found = observed(2, [])
    failing = status_of(found, "quota", EPOCH_S)
    (told,) = failing["conditions"]
    assert (told["type"], told["status"], told["reason"], told["message"]) == ("ReplicaFailure", "True", "FailedCreate", "quota")
    found.owner["status"] = failing
    assert status_of(found, "another quota", EPOCH_S + 9) == failing
    assert "conditions" not in status_of(found, "", EPOCH_S)


def test_a_set_gets_its_pods_scales_adopts_and_stands_still():
    async def work():
        api = FakeApi()
        api.put(PODS, {"metadata": {"name": "free", "namespace": "default", "labels": {"app": "web"}}, "spec": {}})
        api.put(REPLICA_SETS, replica_set(replicas=3))
        async with running(api, ReplicaSets) as (_, recorder):
            await settle(200)
            assert len(api.all(PODS)) == 3
            assert all(each["metadata"]["ownerReferences"] for each in api.all(PODS))
            assert recorder.reasons() == ["SuccessfulCreate"] * 2
            run_pods(api)
            await settle(200)
            assert api.all(REPLICA_SETS)[0]["status"] == {
                "replicas": 3,
                "readyReplicas": 3,
                "availableReplicas": 3,
                "fullyLabeledReplicas": 3,
                "observedGeneration": 1,
            }
            api.touch(REPLICA_SETS, "default", "web", lambda obj: obj["spec"].update(replicas=1))
            await settle(200)
            assert len(api.all(PODS)) == 1
            asked = len(api.calls)
            await asyncio.sleep(100)
            assert len(api.calls) == asked, "what is right is left alone"

    run(work())


def test_a_pod_that_no_longer_matches_is_released_and_replaced():
    async def work():
        api = FakeApi()
        api.put(REPLICA_SETS, replica_set(replicas=1))
        async with running(api, ReplicaSets):
            await settle(200)
            (first,) = api.all(PODS)
            api.touch(PODS, "default", first["metadata"]["name"], lambda obj: obj["metadata"].update(labels={"app": "debug"}))
            await settle(200)
            pods = {each["metadata"]["name"]: each for each in api.all(PODS)}
            assert len(pods) == 2
            assert not pods[first["metadata"]["name"]]["metadata"]["ownerReferences"]

    run(work())


def test_a_refused_pod_shows_in_the_status_and_is_tried_again():
    async def work():
        api = FakeApi()
        api.fail("create", "pods", *[status.forbidden("", "pods", "web-x", "exceeded quota: q")] * 3)
        api.put(REPLICA_SETS, replica_set(replicas=2))
        async with running(api, ReplicaSets) as (_, recorder):
            await settle(200)
            assert api.all(REPLICA_SETS)[0]["status"]["conditions"][0]["type"] == "ReplicaFailure"
            await asyncio.sleep(5)
            assert len(api.all(PODS)) == 2
            assert "conditions" not in api.all(REPLICA_SETS)[0]["status"]
            assert "FailedCreate" in recorder.reasons()

    run(work())


def test_replication_controllers_select_by_a_plain_map():
    async def work():
        api = FakeApi()
        spec = {"replicas": 2, "selector": {"app": "web"}, "template": template()}
        api.put(REPLICATION_CONTROLLERS, {"metadata": {"name": "rc", "namespace": "default"}, "spec": spec})
        async with running(api, ReplicationControllers, ReplicaSets):
            await settle(200)
            assert [each["metadata"]["ownerReferences"][0]["kind"] for each in api.all(PODS)] == ["ReplicationController"] * 2

    run(work())
