"""What the scheduler writes to the API: bindings, the condition PodScheduled, nominations, and the end of victims (backend/api_calls in upstream)."""

import asyncio
from collections.abc import Callable
from typing import Any

from agents.kit.times import to_text
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.preemption import BY_SCHEDULER
from apiserver.client.rest import MERGE, STRATEGIC, Client
from apiserver.machinery.conditions import condition
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError

PODS = resource("pods")
TRUNCATED_AT = 1024
"""Longer messages are cut in events and conditions."""


def binding(pod: PodInfo, node: str) -> Object:
    """The body of pods/binding."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.pod["metadata"].get("uid", "")},
        "target": {"kind": "Node", "name": node},
    }


def condition_patch(pod: Object, reason: str, message: str, now_s: float, nominated: str | None) -> Object | None:
    """The strategic merge patch of the pod's status that says why it is not scheduled; None if it says so already. `nominated` None leaves the
    nomination as it is, empty clears it."""
    status = pod.get("status") or {}
    patch: dict[str, Any] = {}
    before = condition(status, "PodScheduled")
    wanted = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message[:TRUNCATED_AT]}
    if before is None or any(before.get(key) != value for key, value in wanted.items()):
        turned = before is None or before.get("status") != "False"
        since = to_text(now_s) if turned else (before or {}).get("lastTransitionTime")
        patch["conditions"] = [{**wanted, "lastProbeTime": None, "lastTransitionTime": since}]
    if nominated is not None and nominated != (status.get("nominatedNodeName") or ""):
        patch["nominatedNodeName"] = nominated or None
    return {"status": patch} if patch else None


def victim_patch(scheduler_name: str, now_s: float) -> Object:
    """The condition DisruptionTarget of a pod that has to go."""
    target = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": BY_SCHEDULER,
        "message": f"{scheduler_name}: preempting to accommodate a higher priority pod",
        "lastTransitionTime": to_text(now_s),
    }
    return {"status": {"conditions": [target]}}


class Binder:
    """The shell's hands (`framework.Hands`). `changed` is told whenever a volume or a claim changes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._changed = asyncio.Event()

    def changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def bind(self, pod: PodInfo, node: str) -> None:
        await self._client.create(PODS, binding(pod, node), pod.namespace, name=pod.name, subresource="binding")

    async def patch(self, resource_name: str, namespace: str, name: str, patch: Object) -> Object:
        return await self._client.patch(resource(resource_name), name, patch, namespace, kind=MERGE)

    async def wait_until(self, settled: Callable[[], bool | None], timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while (answer := settled()) is None:
                    await self._changed.wait()
                return answer
        except TimeoutError:
            return False

    async def write_status(self, pod: PodInfo, patch: Object) -> None:
        await _unless_gone(self._client.patch(PODS, pod.name, patch, pod.namespace, kind=STRATEGIC, subresource="status"))

    async def evict(self, victim: PodInfo, scheduler_name: str, now_s: float) -> bool:
        """Says why, then deletes. False if it was gone already."""
        said = await _unless_gone(
            self._client.patch(PODS, victim.name, victim_patch(scheduler_name, now_s), victim.namespace, kind=STRATEGIC, subresource="status")
        )
        if said is None:
            return False
        uid = str(victim.pod["metadata"].get("uid") or "")
        return await _unless_gone(self._client.delete(PODS, victim.name, victim.namespace, uid=uid)) is not None


async def _unless_gone(work: Any) -> Object | None:
    try:
        done: Object = await work
    except ApiError as error:
        if error.reason in ("NotFound", "Conflict"):
            return None
        raise
    return done
