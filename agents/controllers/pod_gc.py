"""Pods that nobody will end any more (pkg/controller/podgc): of nodes that are gone, terminating without ever having had a node, and finished ones
when there are too many.

Orphans: a node that the cache does not know is asked for at the API server twice, some time apart, before its pods are taken for orphans.
"""

import argparse
import asyncio
from collections.abc import Iterable, Mapping, Sequence

from agents.controllers.pods import PODS, is_finished
from agents.kit.actions import STRATEGIC_STATUS, Action, Delete, Patch
from agents.kit.controller import Context
from agents.kit.flags import Flags
from agents.kit.performer import Performer
from agents.kit.times import created_s, to_text
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.conditions import is_true
from apiserver.machinery.objects import Object, is_terminating, key_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError

NODES = resource("nodes")
PERIOD_S = 20.0
QUARANTINE_S = 40.0
"""So long a node has to be missing."""
THRESHOLD = 12500
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def flags(given: Flags) -> None:
    given.number("--terminated-pod-gc-threshold", THRESHOLD, "finished pods beyond this number are deleted, the oldest first; 0 keeps all")


def deleted_now(pod: Object) -> Delete:
    return Delete(PODS, namespace_of(pod), name_of(pod), uid_of(pod), grace_s=0)


def failed(pod: Object, message: str, now: str) -> list[Action]:
    """Before an orphan is deleted it is said to have failed: a Job counts it."""
    if is_finished(pod):
        return []
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message, "lastTransitionTime": now}
    patch = {"status": {"phase": "Failed", "conditions": [condition]}}
    return [Patch(PODS, namespace_of(pod), name_of(pod), patch, *STRATEGIC_STATUS)]


def beyond_threshold(pods: Iterable[Object], threshold: int) -> list[Action]:
    """The oldest finished pods, so many that `threshold` stay."""
    finished = [pod for pod in pods if is_finished(pod) and not is_terminating(pod)]
    if threshold <= 0 or len(finished) <= threshold:
        return []
    finished.sort(key=lambda pod: (created_s(pod), key_of(pod)))
    return [deleted_now(pod) for pod in finished[: len(finished) - threshold]]


def orphans(pods: Iterable[Object], gone: set[str], now: str) -> list[Action]:
    """Pods of nodes that are known to be gone."""
    actions: list[Action] = []
    for pod in pods:
        if (pod.get("spec") or {}).get("nodeName") in gone:
            actions += [*failed(pod, "PodGC: node no longer exists", now), deleted_now(pod)]
    return actions


def never_scheduled(pods: Iterable[Object]) -> list[Action]:
    return [deleted_now(pod) for pod in pods if is_terminating(pod) and not (pod.get("spec") or {}).get("nodeName")]


def out_of_service(pods: Iterable[Object], nodes: Mapping[str, Object], now: str) -> list[Action]:
    """Terminating pods of nodes that an operator declared dead."""
    actions: list[Action] = []
    for pod in pods:
        node = nodes.get((pod.get("spec") or {}).get("nodeName") or "")
        if node is None or not is_terminating(pod):
            continue
        tainted = any(each.get("key") == OUT_OF_SERVICE for each in (node.get("spec") or {}).get("taints") or ())
        if tainted and not is_true(node, "Ready"):
            actions += [*failed(pod, "PodGC: node is out of service", now), deleted_now(pod)]
    return actions


class PodGarbageCollector:
    """A round every twenty seconds."""

    name = "pod-garbage-collector-controller"

    def __init__(self, context: Context, threshold: int = THRESHOLD) -> None:
        self.context, self.threshold = context, threshold
        self.client: Client = context.client
        self.pods = context.informers.of(PODS)
        self.nodes = context.informers.of(NODES)
        self.performer = Performer(context.client, context.recorder(self.name))
        self.missing_since_s: dict[str, float] = {}

    @classmethod
    def made(cls, context: Context, arguments: argparse.Namespace) -> "PodGarbageCollector":
        return cls(context, arguments.terminated_pod_gc_threshold)

    async def run(self) -> None:
        await self.pods.synced.wait()
        await self.nodes.synced.wait()
        while True:
            await self.round()
            await asyncio.sleep(PERIOD_S)

    async def round(self) -> None:
        now = to_text(self.context.now_s())
        pods = self.pods.all()
        gone = await self._gone({(pod.get("spec") or {}).get("nodeName") or "" for pod in pods} - {""})
        known = {name_of(node): node for node in self.nodes.all()}
        for actions in (
            beyond_threshold(pods, self.threshold),
            orphans(pods, gone, now),
            never_scheduled(pods),
            out_of_service(pods, known, now),
        ):
            await self._perform(actions)

    async def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            try:
                await self.performer.perform([action])
            except (ApiError, Unreachable):
                # The next round sees it again.
                continue

    async def _gone(self, named: set[str]) -> set[str]:
        now_s = self.context.monotonic_s()
        missing = {name for name in named if self.nodes.get(name) is None}
        self.missing_since_s = {name: self.missing_since_s.get(name, now_s) for name in missing}
        due = [name for name, since_s in self.missing_since_s.items() if now_s - since_s >= QUARANTINE_S]
        return {name for name in due if not await self._exists(name)}

    async def _exists(self, name: str) -> bool:
        try:
            await self.client.get(NODES, name)
        except ApiError as error:
            return error.reason != "NotFound"
        except Unreachable:
            return True
        return True
