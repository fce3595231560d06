"""The shell against an API in memory: bindings, conditions, events, victims."""

import asyncio
import random
from contextlib import asynccontextmanager

from agents.kit.informer import Informers
from agents.scheduler.binder import condition_patch
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.profiles import profiles
from agents.scheduler.queue import Place
from agents.scheduler.scheduler import Scheduler
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.tasks import Tasks
from tests.support.controllers import EPOCH_S
from tests.support.fake_api import FakeApi
from tests.support.recorder import ListRecorder
from tests.support.virtual_loop import run, settle
from tests.unit.agents.scheduler.cluster import node, pod

PODS, NODES = resource("pods"), resource("nodes")


class BindingApi(FakeApi):
    async def create(self, resource, obj, namespace="", *, subresource="", name="", dry_run=False):
        if subresource != "binding":
            return await super().create(resource, obj, namespace, subresource=subresource, name=name, dry_run=dry_run)
        self._called("create", resource, namespace, name, subresource)
        return self.touch(resource, namespace, name, lambda found: found["spec"].update(nodeName=obj["target"]["name"]))


@asynccontextmanager
async def scheduling(api):
    loop = asyncio.get_running_loop()
    recorder = ListRecorder()
    informers = Informers(api)
    scheduler = Scheduler(
        api,
        profiles({}),
        lambda name: recorder,
        now_s=lambda: EPOCH_S + loop.time(),
        monotonic_s=loop.time,
        chance=random.Random(1).randrange,
    )
    scheduler.follow(informers)
    async with Tasks("test") as tasks:
        informers.start(tasks)
        await informers.synced()
        tasks.serve("scheduler", scheduler.run())
        await settle()
        yield scheduler, recorder
        tasks.cancel()


def placed(api):
    return {each["metadata"]["name"]: each["spec"].get("nodeName") for each in api.all(PODS)}


def test_pods_are_bound_and_told_so():
    async def work():
        api = BindingApi()
        api.put(NODES, node("a", cpu="2"))
        api.put(PODS, pod("p", cpu="1"))
        api.put(PODS, pod("foreign", schedulerName="other"))
        async with scheduling(api) as (scheduler, recorder):
            await settle()
            assert placed(api) == {"p": "a", "foreign": None}
            assert recorder.told == [("p", "Normal", "Scheduled", "Successfully assigned default/p to a")]
            assert scheduler.snapshot.assumed == set()
            assert len(scheduler.queue) == 0

    run(work())


def test_why_a_pod_waits_is_told_once_and_a_new_node_ends_it():
    async def work():
        api = BindingApi()
        api.put(NODES, node("a", cpu="1"))
        api.put(PODS, pod("p", cpu="2"))
        async with scheduling(api) as (scheduler, recorder):
            await settle()
            (found,) = api.all(PODS)[0]["status"]["conditions"]
            assert (found["type"], found["status"], found["reason"]) == ("PodScheduled", "False", "Unschedulable")
            assert found["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
            assert recorder.reasons() == ["FailedScheduling"]
            assert scheduler.queue.size(Place.UNSCHEDULABLE) == 1
            api.put(NODES, node("b", cpu="2"))
            await asyncio.sleep(1.5)
            assert placed(api) == {"p": "b"}

    run(work())


def test_a_binding_that_is_refused_gives_the_room_back_and_is_tried_again():
    async def work():
        api = BindingApi()
        api.fail("create", "pods", ApiError("Conflict", "no"))
        api.fail("create", "pods/binding", ApiError("Conflict", "no"))
        api.put(NODES, node("a", cpu="1"))
        api.put(PODS, pod("p", cpu="1"))
        async with scheduling(api) as (scheduler, recorder):
            await settle()
            assert placed(api) == {"p": None}
            assert scheduler.snapshot.assumed == set()
            assert recorder.told == [("p", "Warning", "FailedScheduling", "binding rejected: no")]
            await asyncio.sleep(3)
            assert placed(api) == {"p": "a"}

    run(work())


def test_victims_are_told_and_deleted_and_the_preemptor_follows():
    async def work():
        api = BindingApi()
        api.put(NODES, node("a", cpu="1"))
        api.put(PODS, pod("low", cpu="1", nodeName="a"))
        api.put(PODS, pod("high", cpu="1", priority=10))
        async with scheduling(api) as (_, recorder):
            await settle()
            assert ("low", "Normal", "Preempted", "Preempted by pod high on node a") in recorder.told
            await asyncio.sleep(3)
            assert placed(api) == {"high": "a"}

    run(work())


def test_a_condition_that_says_it_already_is_not_written_again():
    first = condition_patch(pod("p"), "Unschedulable", "why", EPOCH_S, None)
    (condition,) = first["status"]["conditions"]
    told = pod("p", status={"conditions": [condition]})
    assert condition_patch(told, "Unschedulable", "why", EPOCH_S + 5, None) is None
    other = condition_patch(told, "Unschedulable", "because", EPOCH_S + 5, None)
    assert other["status"]["conditions"][0]["lastTransitionTime"] == condition["lastTransitionTime"]
    assert condition_patch(told, "Unschedulable", "why", EPOCH_S, "n") == {"status": {"nominatedNodeName": "n"}}
    told["status"]["nominatedNodeName"] = "n"
    assert condition_patch(told, "Unschedulable", "why", EPOCH_S, "") == {"status": {"nominatedNodeName": None}}


def test_an_old_view_of_a_pod_that_was_just_bound_is_not_scheduled_again():
    async def work():
        api = BindingApi()
        api.put(NODES, node("a"))
        async with scheduling(api) as (scheduler, _):
            placed_pod = scheduler.snapshot.assume(PodInfo(pod("p")), "a")
            scheduler.pod_updated(pod("p"), pod("p", labels={"late": "yes"}))
            assert len(scheduler.queue) == 0
            scheduler.pod_updated(pod("p"), pod("p", nodeName="a"))
            assert scheduler.snapshot.assumed == set()
            assert scheduler.snapshot.pods[placed_pod.uid].node_name == "a"

    run(work())


def test_a_pod_on_which_a_plugin_breaks_keeps_nobody_waiting():
    async def work():
        api = BindingApi()
        api.put(NODES, node("a"))
        broken = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]}}
        api.put(PODS, pod("bad", priority=5, topologySpreadConstraints=[{"whenUnsatisfiable": "DoNotSchedule"}], affinity=broken))
        api.put(PODS, pod("good"))
        async with scheduling(api) as (_, recorder):
            await settle()
            assert placed(api) == {"bad": None, "good": "a"}
            assert "running the plugins failed: KeyError" in {told[0]: told[3] for told in recorder.told}["bad"]

    run(work())


def test_heartbeats_are_no_events():
    async def work():
        api = BindingApi()
        api.put(NODES, node("a", cpu="1"))
        api.put(PODS, pod("waits", cpu="2"))
        async with scheduling(api) as (scheduler, _):
            moves = scheduler.queue.moves
            api.touch(NODES, "", "a", lambda found: found["status"].update(conditions=[{"type": "Ready", "status": "True"}]))
            await settle()
            assert scheduler.queue.moves == moves
            api.touch(NODES, "", "a", lambda found: found["status"]["allocatable"].update(cpu="2"))
            await asyncio.sleep(2)
            assert placed(api) == {"waits": "a"}

    run(work())
