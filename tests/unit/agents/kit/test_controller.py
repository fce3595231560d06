"""The frame: one key at a time, failures come back, owners are woken and expectations met."""

import asyncio

from agents.kit.actions import Create, Requeue
from agents.kit.controller import Controller
from agents.kit.owners import owner_reference
from apiserver.machinery.objects import name_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle

PODS = resource("pods")
SETS = resource("replicasets.apps")


class OnePod(Controller):
    name = "one-pod"

    def watch(self):
        self.sets = self.watched(SETS, self.enqueue)
        self.pods = self.dependents(PODS, SETS)
        self.synced_keys = []

    def reconcile(self, key):
        self.synced_keys.append(key)
        owner = self.sets.get(key)
        if owner is None or not self.expectations.satisfied(key):
            return []
        if self.pods.by("controller", owner["metadata"]["uid"]):
            return []
        metadata = {"generateName": f"{name_of(owner)}-", "namespace": "default", "ownerReferences": [owner_reference(owner, SETS)]}
        return [Create(PODS, {"metadata": metadata}, key, owner)]


def test_a_pod_that_goes_is_made_again_and_never_two():
    async def work():
        api = FakeApi()
        api.put(SETS, {"metadata": {"name": "web", "namespace": "default"}})
        async with running(api, OnePod) as ((controller,), recorder):
            await settle()
            assert len(api.all(PODS)) == 1
            api.remove(PODS, "default", name_of(api.all(PODS)[0]))
            await settle()
            assert len(api.all(PODS)) == 1
            assert recorder.reasons() == ["SuccessfulCreate"] * 2
            assert controller.expectations.satisfied("default/web")

    run(work())


def test_failures_come_back_later_each_time():
    async def work():
        api = FakeApi()
        api.fail("create", "pods", *[ApiError("Conflict", "x")] * 5)
        api.put(SETS, {"metadata": {"name": "web", "namespace": "default"}})
        async with running(api, OnePod) as ((controller,), _):
            await asyncio.sleep(1)
            assert len(api.all(PODS)) == 1
            assert len(controller.synced_keys) >= 6
            assert controller.queue.failures("default/web") == 0, "what has gone well begins anew"

    run(work())


class Ticking(Controller):
    name = "ticking"

    def watch(self):
        self.times = []
        self.watched(SETS, self.enqueue)

    def reconcile(self, key):
        self.times.append(asyncio.get_running_loop().time())
        return [Requeue(10)]


def test_requeue_looks_again_without_having_failed():
    async def work():
        api = FakeApi()
        api.put(SETS, {"metadata": {"name": "web", "namespace": "default"}})
        async with running(api, Ticking) as ((controller,), _):
            await asyncio.sleep(25)
            assert [round(each) for each in controller.times] == [0, 10, 20]

    run(work())


class Slow(Controller):
    name = "slow"
    workers = 4

    def watch(self):
        self.active, self.most, self.done = set(), 0, 0
        self.watched(SETS, self.enqueue)

    async def sync(self, key):
        assert key not in self.active, "one key is never with two workers"
        self.active.add(key)
        self.most = max(self.most, len(self.active))
        await asyncio.sleep(1)
        self.active.discard(key)
        self.done += 1


def test_workers_share_the_keys():
    async def work():
        api = FakeApi()
        for number in range(8):
            api.put(SETS, {"metadata": {"name": f"web-{number}", "namespace": "default"}})
        async with running(api, Slow) as ((controller,), _):
            await asyncio.sleep(0.5)
            api.touch(SETS, "default", "web-0", lambda obj: obj["metadata"].update(labels={"a": "b"}))
            await asyncio.sleep(10)
            assert controller.most == 4
            assert controller.done == 9

    run(work())
