"""Deployments: the arithmetic of a rollout, and whole rollouts with real ReplicaSets against the API in memory."""

import asyncio

import pytest

from agents.controllers import rollout
from agents.controllers.deployment import DEPLOYMENTS, Deployments, reconcile
from agents.controllers.replicaset import REPLICA_SETS, ReplicaSets
from agents.kit.actions import Create
from apiserver.machinery.conditions import condition
from apiserver.machinery.objects import annotations_of, name_of
from tests.support.controllers import EPOCH_S, running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, deployment, replica_set, run_pods, template


def rs(name, replicas, available=None, **annotations):
    made = replica_set(name, replicas)
    made["metadata"]["annotations"] = annotations
    available = replicas if available is None else available
    made["status"] = {"replicas": replicas, "readyReplicas": available, "availableReplicas": available}
    return made


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [("25%", "25%", 3, (1, 0)), ("25%", "25%", 10, (3, 2)), (0, 0, 3, (0, 1)), ("0%", "1%", 3, (0, 1)), (2, 1, 3, (2, 1)), ("25%", "25%", 0, (0, 0))],
)
def test_surge_rounds_up_and_unavailable_down_and_one_of_them_is_not_zero(surge, unavailable, replicas, expected):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    found = rollout.bounds(deployment(replicas=replicas, strategy=strategy))
    assert (found.surge, found.unavailable) == expected


@pytest.mark.parametrize(
    ("wanted", "old", "new", "expected"),
    [(10, 10, 0, 3), (10, 10, 3, 3), (10, 5, 5, 8), (10, 0, 8, 10), (10, 0, 10, 10)],
)
def test_the_new_set_grows_into_the_room_that_surge_leaves(wanted, old, new, expected):
    found = rs("new", new)
    assert rollout.new_replicas(deployment(replicas=wanted), [rs("old", old), found], found) == expected


def test_old_sets_shrink_by_what_is_not_healthy_first():
    spec = deployment(replicas=10)
    assert rollout.scale_down_old(spec, rs("new", 3, 0), [rs("old", 10)]) == {"old": 8}
    assert rollout.scale_down_old(spec, rs("new", 3, 0), [rs("old", 10, 7)]) == {"old": 8}, "the sick ones count against what may be missing"
    assert rollout.scale_down_old(spec, rs("new", 3, 3), [rs("old", 10)]) == {"old": 5}
    assert rollout.scale_down_old(spec, rs("new", 0, 0), [rs("old", 8)]) == {}


def test_scaled_in_the_middle_of_a_rollout_every_set_gets_its_share():
    marks = {rollout.DESIRED: "10", rollout.MAX: "13"}
    sets = [rs("old", 8, **marks), rs("new", 5, **marks)]
    assert rollout.needs_scale_event(deployment(replicas=20), sets)
    sizes = rollout.scale_proportionally(deployment(replicas=20), sets)
    assert sum(sizes.values()) == 25 and sizes["old"] > sizes["new"] > 5


def test_a_revision_that_comes_back_remembers_what_it_was():
    found = rollout.new_set_annotations(deployment(), rs("old", 0, **{rollout.REVISION: "1"}), 3)
    assert (found[rollout.REVISION], found[rollout.REVISION_HISTORY]) == ("3", "1")


def test_templates_are_equal_but_for_our_label():
    other = template()
    other["metadata"]["labels"][rollout.HASH_LABEL] = "abc"
    assert rollout.same_template(template(), other)
    assert not rollout.same_template(template("web:2"), other)
    assert rollout.template_hash(template(), None) != rollout.template_hash(template(), 1)


def test_the_first_round_makes_the_set_and_says_so():
    spec = deployment()
    spec["metadata"] |= {"uid": "u", "generation": 1}
    actions = reconcile(spec, [], False, EPOCH_S)
    assert isinstance(actions[0], Create) and actions[0].object["spec"]["replicas"] == 3
    made = actions[0].object
    label = made["metadata"]["labels"][rollout.HASH_LABEL]
    assert made["metadata"]["name"] == f"web-{label}"
    assert made["spec"]["selector"]["matchLabels"] == made["spec"]["template"]["metadata"]["labels"] == {"app": "web", rollout.HASH_LABEL: label}
    assert actions[1].message == f"Scaled up replica set web-{label} from 0 to 3"


def status(api, name="web"):
    return next(each for each in api.all(DEPLOYMENTS) if name_of(each) == name)["status"]


def reason(api, type_="Progressing"):
    return condition(status(api), type_)["reason"]


def set_template(api, image):
    api.touch(DEPLOYMENTS, "default", "web", lambda obj: obj["spec"].update(template=template(image)))


async def rolled(api, images=None, rounds=40):
    """Let it get on, with pods becoming ready (those of `images`), for turns of 0.1 s. The fewest available, the most pods on the way."""
    fewest, most = 10**6, 0
    for _ in range(rounds):
        await asyncio.sleep(0.1)
        run_pods(api, images=images)
        await settle()
        fewest = min(fewest, status(api).get("availableReplicas", 0) if api.all(DEPLOYMENTS) else 0)
        most = max(most, len(api.all(PODS)))
    return fewest, most


def test_a_rollout_keeps_enough_pods_and_not_too_many_and_an_undo_goes_back():
    async def work():
        api = FakeApi()
        api.put(DEPLOYMENTS, deployment(replicas=4))
        async with running(api, Deployments, ReplicaSets) as (_, recorder):
            await rolled(api)
            assert status(api) | {"conditions": 0} == {
                "replicas": 4,
                "updatedReplicas": 4,
                "readyReplicas": 4,
                "availableReplicas": 4,
                "observedGeneration": 1,
                "conditions": 0,
            }
            assert reason(api) == "NewReplicaSetAvailable" and reason(api, "Available") == "MinimumReplicasAvailable"
            assert annotations_of(api.all(DEPLOYMENTS)[0])[rollout.REVISION] == "1"
            set_template(api, "web:2")
            fewest, most = await rolled(api)
            assert (fewest, most) == (3, 5)
            assert {each["spec"]["containers"][0]["image"] for each in api.all(PODS)} == {"web:2"}
            assert reason(api) == "NewReplicaSetAvailable"
            assert annotations_of(api.all(DEPLOYMENTS)[0])[rollout.REVISION] == "2"
            set_template(api, "web:1")
            await rolled(api)
            assert {each["spec"]["containers"][0]["image"] for each in api.all(PODS)} == {"web:1"}
            revisions = {annotations_of(each)[rollout.REVISION]: each for each in api.all(REPLICA_SETS)}
            assert set(revisions) == {"2", "3"}
            assert annotations_of(revisions["3"])[rollout.REVISION_HISTORY] == "1"
            assert set(recorder.reasons()) == {"ScalingReplicaSet", "SuccessfulCreate", "SuccessfulDelete"}
            asked = len(api.calls)
            await asyncio.sleep(1000)
            assert len(api.calls) == asked, "what is right is left alone"

    run(work())


def test_a_template_that_never_becomes_ready_times_out_and_the_old_pods_stay():
    async def work():
        api = FakeApi()
        api.put(DEPLOYMENTS, deployment(replicas=4, progressDeadlineSeconds=60))
        async with running(api, Deployments, ReplicaSets):
            await rolled(api)
            set_template(api, "broken")
            await rolled(api, {"web:1"})
            assert reason(api) == "ReplicaSetUpdated"
            await asyncio.sleep(70)
            await settle()
            found = condition(status(api), "Progressing")
            assert (found["status"], found["reason"]) == ("False", "ProgressDeadlineExceeded")
            assert found["message"].endswith('" has timed out progressing.')
            assert status(api)["availableReplicas"] == 3
            set_template(api, "web:1")
            await rolled(api, {"web:1"})
            assert reason(api) == "NewReplicaSetAvailable"

    run(work())


def test_recreate_waits_until_the_last_old_pod_has_gone():
    async def work():
        api = FakeApi()
        api.graceful_pods = True
        api.put(DEPLOYMENTS, deployment(replicas=2, strategy={"type": "Recreate"}))
        async with running(api, Deployments, ReplicaSets):
            await settle(300)
            for each in api.all(PODS):
                api.touch(PODS, "default", name_of(each), lambda obj: obj["spec"].update(nodeName="n1"))
            await rolled(api)
            set_template(api, "web:2")
            await rolled(api)
            assert {each["spec"]["containers"][0]["image"] for each in api.all(PODS)} == {"web:1"}
            assert all(each["metadata"].get("deletionTimestamp") for each in api.all(PODS))
            for each in list(api.all(PODS)):
                api.remove(PODS, "default", name_of(each))
            await rolled(api)
            assert [each["spec"]["containers"][0]["image"] for each in api.all(PODS)] == ["web:2"] * 2

    run(work())


def test_a_paused_deployment_scales_but_does_not_roll():
    async def work():
        api = FakeApi()
        api.put(DEPLOYMENTS, deployment(replicas=2))
        async with running(api, Deployments, ReplicaSets):
            await rolled(api)
            api.touch(DEPLOYMENTS, "default", "web", lambda obj: obj["spec"].update(paused=True))
            await rolled(api)
            assert reason(api) == "DeploymentPaused"
            api.touch(DEPLOYMENTS, "default", "web", lambda obj: obj["spec"].update(template=template("web:2"), replicas=3))
            await rolled(api)
            assert [each["spec"]["containers"][0]["image"] for each in api.all(PODS)] == ["web:1"] * 3
            api.touch(DEPLOYMENTS, "default", "web", lambda obj: obj["spec"].update(paused=False))
            await rolled(api)
            assert [each["spec"]["containers"][0]["image"] for each in api.all(PODS)] == ["web:2"] * 3

    run(work())


def test_the_history_is_kept_to_its_limit():
    async def work():
        api = FakeApi()
        api.put(DEPLOYMENTS, deployment(replicas=1, revisionHistoryLimit=2))
        async with running(api, Deployments, ReplicaSets):
            for number in range(1, 6):
                set_template(api, f"web:{number}")
                await rolled(api)
            assert sorted(annotations_of(each)[rollout.REVISION] for each in api.all(REPLICA_SETS)) == ["3", "4", "5"]

    run(work())


def test_a_name_that_is_taken_gets_another_hash():
    async def work():
        api = FakeApi()
        api.put(DEPLOYMENTS, deployment(replicas=1))
        taken = replica_set(f"web-{rollout.template_hash(template(), None)}", 0)
        taken["spec"]["selector"] = {"matchLabels": {"app": "another"}}
        api.put(REPLICA_SETS, taken)
        async with running(api, Deployments, ReplicaSets):
            await rolled(api)
            assert status(api)["collisionCount"] == 1
            assert len(api.all(REPLICA_SETS)) == 2 and len(api.all(PODS)) == 1

    run(work())
