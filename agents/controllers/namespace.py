"""A namespace that is being deleted loses everything in it, then itself (pkg/controller/namespace).

Everything: each resource that discovery names, custom ones included. What is left is told in conditions; while pods take their time to end, it is
looked at again. When nothing is left the finalizer `kubernetes` goes, and the API server removes the namespace.
"""

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct

from agents.kit import discovery
from agents.kit.actions import UpdateStatus
from agents.kit.controller import Controller
from agents.kit.times import to_seconds, to_text
from apiserver.machinery.conditions import with_condition
from apiserver.machinery.objects import Object, is_terminating, name_of
from apiserver.machinery.resources import Resource, resource
from apiserver.machinery.status import ApiError

NAMESPACES = resource("namespaces")
FINALIZER = "kubernetes"
AT_ONCE = 10
LOOK_AGAIN_S = 5.0
SETTLE_S = 0.5
"""First look after a deletion: most of it is gone at once."""

DONE = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
    "NamespaceDeletionContentFailure": ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


class Left(Struct, frozen=True):
    """What a round found: how many objects of each resource remain, how many have each finalizer, what could not be deleted or discovered."""

    remaining: Mapping[str, int]
    finalizers: Mapping[str, int]
    failures: Sequence[str] = ()
    undiscovered: str = ""

    @property
    def is_nothing(self) -> bool:
        return not self.remaining and not self.failures and not self.undiscovered


def conditions(before: Sequence[Object], left: Left, now: str) -> list[Object]:
    """The five conditions of a namespace on its way out."""
    told: dict[str, tuple[str, str]] = {}
    if left.undiscovered:
        told["NamespaceDeletionDiscoveryFailure"] = ("DiscoveryFailed", f"Discovery failed for some groups, 1 failing: {left.undiscovered}")
    if left.failures:
        text = "Failed to delete all resource types, {} remaining: {}".format(len(left.failures), ", ".join(left.failures))
        told["NamespaceDeletionContentFailure"] = ("ContentDeletionFailed", text)
    if left.remaining:
        listed = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(left.remaining.items()))
        told["NamespaceContentRemaining"] = ("SomeResourcesRemain", f"Some resources are remaining: {listed}")
    if left.finalizers:
        listed = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(left.finalizers.items()))
        told["NamespaceFinalizersRemaining"] = ("SomeFinalizersRemain", f"Some content in the namespace has finalizers remaining: {listed}")
    found = list(before)
    for type_, good in DONE.items():
        reason, message = told.get(type_, good)
        new = {"type": type_, "status": "True" if type_ in told else "False", "reason": reason, "message": message}
        changed = next((each for each in found if each["type"] == type_), {}).get("message") != message
        if changed:
            found = with_condition([each for each in found if each["type"] != type_], new, now)
    return sorted(found, key=lambda each: list(DONE).index(each["type"]) if each["type"] in DONE else len(DONE))


class Namespaces(Controller):
    name = "namespace-controller"
    component = "namespace-controller"
    workers = 10

    def watch(self) -> None:
        self.namespaces = self.watched(NAMESPACES, self._changed)

    def _changed(self, namespace: Object) -> None:
        if is_terminating(namespace):
            self.enqueue(namespace)

    async def sync(self, key: str) -> float | None:
        if self.namespaces.get(key) is None:
            return None
        # What the cache holds may be older than our own last write to it; the finalizer may go once only.
        namespace = await self.client.get(NAMESPACES, key)
        if not is_terminating(namespace) or not namespace["spec"].get("finalizers"):
            return None
        if (namespace.get("status") or {}).get("phase") != "Terminating":
            namespace = await self.client.update(
                NAMESPACES, {**namespace, "status": {**(namespace.get("status") or {}), "phase": "Terminating"}}, subresource="status"
            )
        left = await self._empty(key)
        status = namespace.get("status") or {}
        found = conditions(status.get("conditions") or (), left, to_text(self.context.now_s()))
        if found != status.get("conditions"):
            await self.performer.perform([UpdateStatus(NAMESPACES, {**namespace, "status": {**status, "conditions": found}})])
        if not left.is_nothing:
            return SETTLE_S if self.queue.failures(key) == 0 and not left.failures and not self._waited(namespace) else LOOK_AGAIN_S
        namespace = await self.client.get(NAMESPACES, key)
        kept = [each for each in namespace["spec"].get("finalizers") or () if each != FINALIZER]
        await self.client.update(NAMESPACES, {**namespace, "spec": {**namespace["spec"], "finalizers": kept}}, subresource="finalize")
        return None

    def _waited(self, namespace: Object) -> bool:
        """Whether this has gone on for a while: then there is no hurry any more."""
        return self.context.now_s() - to_seconds(namespace["metadata"].get("deletionTimestamp")) > LOOK_AGAIN_S

    async def _empty(self, namespace: str) -> Left:
        """Delete everything in it, and tell what is left."""
        try:
            known = await discovery.resources(self.client)
        except ApiError as error:
            return Left({}, {}, undiscovered=str(error))
        wanted = [each for each in known if each.namespaced and discovery.supports(each, "list", "delete")]
        slots = asyncio.Semaphore(AT_ONCE)
        remaining: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        failures: list[str] = []

        async def one(each: Resource) -> None:
            async with slots:
                try:
                    left = await self._delete_all(each, namespace)
                except ApiError as error:
                    failures.append(f"unexpected error when deleting {each.qualified}: {error}")
                    return
            if left:
                remaining[f"{each.plural}.{each.group}"] = len(left)
            for obj in left:
                for finalizer in obj["metadata"].get("finalizers") or ():
                    finalizers[finalizer] = finalizers.get(finalizer, 0) + 1

        async with asyncio.TaskGroup() as group:
            for each in wanted:
                group.create_task(one(each))
        return Left(remaining, finalizers, sorted(failures))

    async def _delete_all(self, of: Resource, namespace: str) -> list[Object]:
        """What is there after everything was asked to go. Nothing new comes: a namespace that is being deleted takes no objects."""
        there = await self.client.list_all(of, namespace)
        if all(is_terminating(obj) for obj in there):
            return there
        if discovery.supports(of, "deletecollection"):
            await self.client.delete_collection(of, namespace)
        else:
            for obj in there:
                try:
                    await self.client.delete(of, name_of(obj), namespace)
                except ApiError as error:
                    if error.reason != "NotFound":
                        raise
        return await self.client.list_all(of, namespace)
