"""Disruption budgets: how many pods may go at the moment."""

import asyncio

import pytest

from agents.controllers.disruption import BUDGETS, SCALED, CannotCount, Counts, Disruptions, counts, disrupted_pods, status_of
from tests.support.controllers import EPOCH_S, running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, pod

NOW = "2026-01-01T00:00:00Z"


def budget(**spec):
    metadata = {"name": "b", "namespace": "default", "generation": 1}
    return {"metadata": metadata, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}


def ten(found):
    return ("owner", 10)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"minAvailable": 2}, Counts(3, 2)),
        ({"minAvailable": "25%"}, Counts(10, 3)),
        ({"maxUnavailable": 3}, Counts(10, 7)),
        ({"maxUnavailable": "25%"}, Counts(10, 7)),
        ({"maxUnavailable": 11}, Counts(10, 0)),
        ({}, Counts(0, 0)),
    ],
)
def test_how_many_have_to_be_healthy(spec, wanted):
    assert counts(budget(**spec), [pod("a"), pod("b"), pod("c")], ten) == wanted


def test_controllers_are_counted_once_and_must_be_there():
    assert counts(budget(maxUnavailable=1), [pod("a"), pod("b")], lambda found: (found["metadata"]["name"], 2)) == Counts(4, 3)
    with pytest.raises(CannotCount, match='found no controllers for pod "a"'):
        counts(budget(maxUnavailable=1), [pod("a")], lambda found: None)
    with pytest.raises(CannotCount, match="neither a number nor a percentage"):
        counts(budget(minAvailable="many"), [pod("a")], ten)


def test_disruptions_allowed():
    pods = [pod("a"), pod("b"), pod("c", ready=False), pod("d", deletionTimestamp=NOW)]
    found = status_of(budget(minAvailable=1), pods, Counts(4, 1), {}, NOW)
    assert (found["currentHealthy"], found["disruptionsAllowed"], found["expectedPods"]) == (2, 1, 4)
    assert found["conditions"][0]["reason"] == "SufficientPods"
    found = status_of(budget(minAvailable=1), pods, Counts(4, 1), {"a": NOW}, NOW)
    assert (found["currentHealthy"], found["disruptionsAllowed"], found["conditions"][0]["reason"]) == (1, 0, "InsufficientPods")
    assert status_of(budget(), [pod("a")], Counts(0, 0), {}, NOW)["disruptionsAllowed"] == 0


def test_evictions_that_were_granted_and_not_carried_out():
    given = budget()
    given["status"] = {"disruptedPods": {"a": NOW, "b": NOW, "gone": NOW}}
    found = disrupted_pods(given, [pod("a"), pod("b", deletionTimestamp=NOW)], EPOCH_S + 20)
    assert (dict(found.pods), found.late, found.next_s) == ({"a": NOW}, [], 100.0)
    late = disrupted_pods(given, [pod("a")], EPOCH_S + 120)
    assert ([each["metadata"]["name"] for each in late.late], late.next_s) == (["a"], None)


def test_the_status_follows_pods_and_the_deployments_size():
    async def work():
        api = FakeApi()
        api.put(SCALED["Deployment"], {"metadata": {"name": "web", "namespace": "default", "uid": "d"}, "spec": {"replicas": 3}})
        owner = {"kind": "Deployment", "apiVersion": "apps/v1", "name": "web", "uid": "d", "controller": True}
        metadata = {"name": "web-1", "namespace": "default", "uid": "r", "ownerReferences": [owner]}
        api.put(SCALED["ReplicaSet"], {"metadata": metadata, "spec": {"replicas": 1}})
        owner = {"kind": "ReplicaSet", "apiVersion": "apps/v1", "name": "web-1", "uid": "r", "controller": True}
        for name in "abc":
            api.put(PODS, pod(name, labels={"app": "web"}, ownerReferences=[owner]))
        api.put(BUDGETS, budget(maxUnavailable=1))
        async with running(api, Disruptions) as (_, recorder):
            await settle()
            assert api.all(BUDGETS)[0]["status"]["disruptionsAllowed"] == 1
            api.remove(PODS, "default", "a")
            await settle()
            assert api.all(BUDGETS)[0]["status"]["disruptionsAllowed"] == 0
            api.touch(SCALED["Deployment"], "default", "web", lambda found: found["spec"].update(replicas=2))
            await settle()
            assert api.all(BUDGETS)[0]["status"]["disruptionsAllowed"] == 1
            api.put(PODS, pod("stray", labels={"app": "web"}))
            await settle()
            found = api.all(BUDGETS)[0]["status"]
            assert (found["disruptionsAllowed"], found["conditions"][0]["reason"]) == (0, "SyncFailed")
            assert recorder.reasons()[-1] == "CalculateExpectedPodCountFailed"
            await asyncio.sleep(0)

    run(work())
