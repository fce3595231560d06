"""What is done to a whole cluster. Each fault is a coroutine that does it and comes back when the cluster has repaired itself; it returns what it
measured, in seconds from the blow."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

from keelson.drills.whole.stage import POLL_S, REPLICAS, Stage
from keelson.launcher import processes

Measures = dict[str, float]
Act = Callable[[Stage], Awaitable[Measures]]

CONTROLLER_LEASE, SCHEDULER_LEASE = "kube-controller-manager", "kube-scheduler"


DONE = {signal.SIGKILL: "killed", signal.SIGTERM: "stopped"}


class Fault(Struct, frozen=True):
    """`may_fail`: whether calls under way may be lost. The loss of one process of the control plane must not be noticed by any caller."""

    name: str
    what: str
    act: Act
    may_fail: bool = False


async def _api_server_kill(stage: Stage) -> Measures:
    before = processes.running(stage.cluster.folder, "apiserver-1")
    stage.tell("apiserver-1 killed")
    stage.kill("apiserver-1")
    began_s = time.monotonic()
    await stage.ready_pods()
    answered_s = time.monotonic() - began_s
    await stage.came_back("apiserver-1", before)
    await stage.healthy()
    return {"API answers again": answered_s, "healthy again": time.monotonic() - began_s}


def _elected(lease: str, kind: str, number: signal.Signals) -> Act:
    async def act(stage: Stage) -> Measures:
        name, holder = await stage.active(lease, kind), await stage.holder(lease)
        stage.tell(f"{name} {DONE[number]}, the active one")
        stage.kill(name, number)
        began_s = time.monotonic()

        async def taken() -> bool:
            return await stage.holder(lease) not in ("", holder)

        await stage.until_async(taken, f"another {kind}")
        taken_s = time.monotonic() - began_s
        stage.tell("another one is active")
        await stage.roll()
        return {"another one is active": taken_s, "a rollout is through": time.monotonic() - began_s}

    return act


async def _node_kill(stage: Stage) -> Measures:
    number = stage.entrance()
    node = f"node{number}"
    stage.tell(f"{node} lost, by which callers reach the service, with {await stage.pods_on(node)} of {REPLICAS} pods")
    await stage.lose(number)
    began_s = time.monotonic()
    try:
        await stage.until(lambda: stage.entrance() != number, "another way to the service")
        way_s = time.monotonic() - began_s
        stage.tell(f"callers are led to node{stage.entrance()}")

        async def elsewhere() -> bool:
            return await stage.ready_pods(besides=node) >= REPLICAS

        await stage.until_async(elsewhere, "all pods on other nodes")
        moved_s = time.monotonic() - began_s
        stage.tell("all pods are ready on other nodes")
    finally:
        await stage.give_back(number)
    stage.tell(f"{node} is back")
    await stage.healthy()
    return {"another way to the service": way_s, "all pods ready elsewhere": moved_s, "healthy again": time.monotonic() - began_s}


async def _node_partition(stage: Stage) -> Measures:
    number = stage.entrance()
    node = f"node{number}"
    stage.tell(f"{node} cut off, by which callers reach the service, with {await stage.pods_on(node)} of {REPLICAS} pods")
    await stage.cut_off(number)
    began_s = time.monotonic()
    try:

        async def elsewhere() -> bool:
            return await stage.ready_pods(besides=node) >= REPLICAS

        await stage.until_async(elsewhere, "all pods on other nodes")
        moved_s = time.monotonic() - began_s
        stage.tell("all pods are ready on other nodes")
        left = await stage.leaving(node)
    finally:
        await stage.give_back(number)
    healed_s = time.monotonic()
    stage.tell(f"{node} is back, with {len(left)} pods that were given up")

    async def gone() -> bool:
        return not left & await stage.leaving(node)

    await stage.until_async(gone, "the pods that were given up to end")
    gone_s = time.monotonic() - healed_s
    await stage.healthy()
    return {"all pods ready elsewhere": moved_s, "old pods gone after the return": gone_s, "healthy again": time.monotonic() - began_s}


async def _store_leader_kill_under_rollout(stage: Stage) -> Measures:
    leader = await stage.store_leader()
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.roll(), name="drill/rollout")
        await asyncio.sleep(1.0)  # so that the rollout is in its midst
        stage.tell(f"{leader} killed, the store's leader, in the midst of a rollout")
        stage.kill(leader)
    rolled_s = time.monotonic() - began_s
    await stage.healthy()
    return {"the rollout is through": rolled_s, "healthy again": time.monotonic() - began_s}


def _rolling(number: signal.Signals) -> Act:
    async def act(stage: Stage) -> Measures:
        began_s = time.monotonic()
        for program in stage.cluster.programs():
            before = processes.running(stage.cluster.folder, program.name)
            stage.tell(f"{program.name} {DONE[number]}")
            stage.kill(program.name, number)
            await stage.came_back(program.name, before)
            await asyncio.sleep(POLL_S)
            await stage.healthy()
        return {"everything restarted": time.monotonic() - began_s}

    return act


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("api-server-kill", "kill -9 of one of two API servers", _api_server_kill),
        Fault("scheduler-kill", "kill -9 of the active scheduler, then a rollout", _elected(SCHEDULER_LEASE, "scheduler", signal.SIGKILL)),
        Fault(
            "controller-kill",
            "kill -9 of the active controller manager, then a rollout",
            _elected(CONTROLLER_LEASE, "controllers", signal.SIGKILL),
        ),
        Fault("scheduler-stop", "SIGTERM to the active scheduler, then a rollout", _elected(SCHEDULER_LEASE, "scheduler", signal.SIGTERM)),
        Fault(
            "controller-stop",
            "SIGTERM to the active controller manager, then a rollout",
            _elected(CONTROLLER_LEASE, "controllers", signal.SIGTERM),
        ),
        Fault("store-leader-kill-under-rollout", "kill -9 of the store's leader while pods are replaced", _store_leader_kill_under_rollout),
        Fault("node-kill", "a node is gone: no link, no processes; it comes back empty-handed", _node_kill, may_fail=True),
        Fault(
            "node-partition",
            "a node that runs on, cut off from everybody, until it has been given up; then it is back",
            _node_partition,
            may_fail=True,
        ),
        Fault("rolling-restart-of-everything", "SIGTERM to every process in turn, each once all is healthy again", _rolling(signal.SIGTERM)),
        Fault(
            "rolling-kill-of-everything", "kill -9 of every process in turn, each once all is healthy again", _rolling(signal.SIGKILL), may_fail=True
        ),
    )
}
