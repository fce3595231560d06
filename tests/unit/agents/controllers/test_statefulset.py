"""Stateful sets: in order, by name, with their claims; replaced from the last to the first."""

import asyncio

import pytest

from agents.controllers.history import HASH_LABEL, REVISIONS
from agents.controllers.statefulset import CLAIMS, STATEFUL_SETS, StatefulSets
from apiserver.machinery.objects import labels_of, name_of
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, run_pods, template


def stateful(replicas=3, **spec):
    given = {
        "replicas": replicas,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(),
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        **spec,
    }
    return {"metadata": {"name": "db", "namespace": "default"}, "spec": given}


def names(api, kind=PODS):
    return [name_of(each) for each in api.all(kind)]


def images(api):
    return {name_of(each): each["spec"]["containers"][0]["image"] for each in api.all(PODS)}


def change(api, **spec):
    api.touch(STATEFUL_SETS, "default", "db", lambda obj: obj["spec"].update(**spec))


async def steps(api, count):
    """The pods there were after each time that all became ready."""
    seen = []
    for _ in range(count):
        await asyncio.sleep(1)
        seen.append(names(api))
        run_pods(api)
        await settle()
    return seen


def status(api):
    return api.all(STATEFUL_SETS)[0]["status"]


def test_one_after_the_other_each_with_its_name_and_claim():
    async def work():
        api = FakeApi()
        api.put(STATEFUL_SETS, stateful(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]))
        async with running(api, StatefulSets) as (_, recorder):
            assert await steps(api, 4) == [["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"], ["db-0", "db-1", "db-2"]]
            assert names(api, CLAIMS) == ["data-db-0", "data-db-1", "data-db-2"]
            first = api.all(PODS)[0]
            assert (first["spec"]["hostname"], first["spec"]["subdomain"]) == ("db-0", "db")
            assert first["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]
            assert labels_of(first)["statefulset.kubernetes.io/pod-name"] == "db-0" and labels_of(first)["apps.kubernetes.io/pod-index"] == "0"
            (revision,) = api.all(REVISIONS)
            assert revision["data"]["spec"]["template"]["$patch"] == "replace" and revision["revision"] == 1
            found = status(api)
            assert (found["replicas"], found["readyReplicas"], found["currentReplicas"], found["updatedReplicas"]) == (3, 3, 3, 3)
            assert found["currentRevision"] == found["updateRevision"] == labels_of(first)[HASH_LABEL] == name_of(revision)
            assert ("db", "Normal", "SuccessfulCreate", "create Pod db-0 in StatefulSet db successful") in recorder.told
            assert ("db", "Normal", "SuccessfulCreate", "create Claim data-db-0 Pod db-0 in StatefulSet db success") in recorder.told
            change(api, replicas=1)
            assert await steps(api, 3) == [["db-0"], ["db-0"], ["db-0"]] or names(api) == ["db-0"]
            assert names(api, CLAIMS) == ["data-db-0", "data-db-1", "data-db-2"], "claims stay"
            asked = len(api.calls)
            await asyncio.sleep(100)
            assert len(api.calls) == asked

    run(work())


def test_nobody_above_comes_while_one_below_is_not_ready():
    async def work():
        api = FakeApi()
        api.put(STATEFUL_SETS, stateful())
        async with running(api, StatefulSets):
            await asyncio.sleep(100)
            assert names(api) == ["db-0"]

    run(work())


def test_in_parallel_all_at_once():
    async def work():
        api = FakeApi()
        api.put(STATEFUL_SETS, stateful(podManagementPolicy="Parallel", ordinals={"start": 5}))
        async with running(api, StatefulSets):
            await asyncio.sleep(1)
            assert names(api) == ["db-5", "db-6", "db-7"]
            change(api, replicas=0)
            await asyncio.sleep(1)
            assert names(api) == []

    run(work())


def test_an_update_goes_from_the_last_to_the_first_one_at_a_time():
    async def work():
        api = FakeApi()
        api.put(STATEFUL_SETS, stateful())
        async with running(api, StatefulSets):
            await steps(api, 5)
            change(api, template=template("web:2"))
            seen = []
            for _ in range(4):
                await asyncio.sleep(1)
                seen.append("".join(image[-1] for image in images(api).values()))
                run_pods(api)
                await settle()
            assert seen == ["112", "122", "222", "222"]
            await asyncio.sleep(1)
            found = status(api)
            assert found["currentRevision"] == found["updateRevision"] and found["updatedReplicas"] == 3
            assert [each["revision"] for each in api.all(REVISIONS)] in ([1, 2], [2, 1])
            change(api, template=template("web:1"))
            await steps(api, 6)
            assert sorted(each["revision"] for each in api.all(REVISIONS)) == [2, 3], "what was before is the newest again"

    run(work())


def test_below_the_partition_everything_stays_old_even_when_it_is_made_anew():
    async def work():
        api = FakeApi()
        api.put(STATEFUL_SETS, stateful())
        async with running(api, StatefulSets):
            await steps(api, 5)
            change(api, template=template("web:2"), updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
            await steps(api, 5)
            assert images(api) == {"db-0": "web:1", "db-1": "web:1", "db-2": "web:2"}
            await api.delete(PODS, "db-0", "default")
            await steps(api, 3)
            assert images(api)["db-0"] == "web:1"
            found = status(api)
            assert found["currentRevision"] != found["updateRevision"] and (found["currentReplicas"], found["updatedReplicas"]) == (2, 1)

    run(work())


def test_on_delete_waits_for_somebody_to_delete():
    async def work():
        api = FakeApi()
        api.put(STATEFUL_SETS, stateful(updateStrategy={"type": "OnDelete"}))
        async with running(api, StatefulSets):
            await steps(api, 5)
            change(api, template=template("web:2"))
            await steps(api, 3)
            assert set(images(api).values()) == {"web:1"}
            await api.delete(PODS, "db-1", "default")
            await steps(api, 3)
            assert images(api)["db-1"] == "web:2"

    run(work())


@pytest.mark.parametrize("ended", ["Failed", "Succeeded"])
def test_a_pod_that_ended_is_made_again(ended):
    async def work():
        api = FakeApi()
        api.put(STATEFUL_SETS, stateful(replicas=1))
        async with running(api, StatefulSets) as (_, recorder):
            await steps(api, 2)
            before = api.all(PODS)[0]["metadata"]["uid"]
            api.touch(PODS, "default", "db-0", lambda obj: obj.update(status={"phase": ended}))
            await steps(api, 2)
            assert names(api) == ["db-0"] and api.all(PODS)[0]["metadata"]["uid"] != before
            assert "RecreatingFailedPod" in recorder.reasons()

    run(work())


def test_claims_go_when_the_policy_says_so():
    async def work():
        api = FakeApi()
        policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
        claims = [{"metadata": {"name": "data"}, "spec": {}}]
        api.put(STATEFUL_SETS, stateful(replicas=2, volumeClaimTemplates=claims, persistentVolumeClaimRetentionPolicy=policy))
        async with running(api, StatefulSets):
            await steps(api, 4)
            assert {each["metadata"]["ownerReferences"][0]["kind"] for each in api.all(CLAIMS)} == {"StatefulSet"}
            change(api, replicas=1)
            await steps(api, 2)
            assert [each["metadata"]["ownerReferences"][0]["kind"] for each in api.all(CLAIMS)] == ["StatefulSet", "Pod"]

    run(work())
