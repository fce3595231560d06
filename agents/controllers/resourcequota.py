"""status.used of quotas (pkg/controller/resourcequota). Admission holds writes to it; what is counted, and how, is `apiserver.machinery.quota`.

Every resource that a quota names is watched from when the first quota names it; a resource that does not exist counts nothing.
"""

import argparse
import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from agents.kit.actions import Action, UpdateStatus
from agents.kit.controller import Context, Controller
from agents.kit.flags import Flags
from agents.kit.informer import Informer
from apiserver.machinery import quota as rules
from apiserver.machinery.objects import Object, is_terminating, namespace_of
from apiserver.machinery.resources import resource

QUOTAS = resource("resourcequotas")
RESYNC_S = 300.0


def flags(given: Flags) -> None:
    given.duration("--resource-quota-sync-period", RESYNC_S, "how often the usage of all quotas is counted anew")


def status_of(quota: Object, objects: Sequence[tuple[str, Object]]) -> Object:
    hard = (quota.get("spec") or {}).get("hard") or {}
    return {"hard": dict(hard), "used": rules.used(quota, objects)}


class ResourceQuotas(Controller):
    name = "resourcequota-controller"
    component = "resourcequota-controller"
    workers = 5

    def __init__(self, context: Context, resync_s: float = RESYNC_S) -> None:
        self.resync_s = resync_s
        self.counted: dict[str, Informer | None] = {}
        super().__init__(context)

    @classmethod
    def made(cls, context: Context, arguments: argparse.Namespace) -> "ResourceQuotas":
        made = cls(context, arguments.resource_quota_sync_period)
        made.workers = arguments.concurrent_resource_quota_syncs
        return made

    def watch(self) -> None:
        self.quotas = self.watched(QUOTAS, self._quota)

    def _quota(self, quota: Object) -> None:
        for name in rules.resources_of((quota.get("spec") or {}).get("hard") or {}):
            self._count(name)
        self.enqueue(quota)

    def _count(self, name: str) -> None:
        """Watch a resource, if it is one that we know and has namespaces."""
        if name in self.counted:
            return
        try:
            found = resource(name)
        except KeyError:
            self.counted[name] = None
            return
        self.counted[name] = None
        if found.namespaced:
            informer = self.counted[name] = self.context.informers.of(found)
            informer.handle(add=self._wake, update=lambda old, new: self._changed(name, old, new), delete=self._wake)

    def _changed(self, name: str, old: Object, new: Object) -> None:
        # Most updates of a pod change nothing that a quota counts.
        if rules.usage(name, old) != rules.usage(name, new):
            self._wake(new)

    def _wake(self, obj: Object) -> None:
        for quota in self.quotas.all(namespace_of(obj)):
            self.enqueue(quota)

    def background(self) -> Sequence[tuple[str, Coroutine[Any, Any, None]]]:
        return (("resync", self._resync()),)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self.resync_s)
            for quota in self.quotas.all():
                self.enqueue(quota)

    async def sync(self, key: str) -> float | None:
        quota = self.quotas.get(key)
        if quota is not None:
            for name in rules.resources_of((quota.get("spec") or {}).get("hard") or {}):
                informer = self.counted.get(name)
                if informer is not None:
                    await informer.synced.wait()
        return await super().sync(key)

    def reconcile(self, key: str) -> Sequence[Action]:
        quota = self.quotas.get(key)
        if quota is None or is_terminating(quota):
            return []
        objects: list[tuple[str, Object]] = []
        for name in rules.resources_of((quota.get("spec") or {}).get("hard") or {}):
            informer = self.counted.get(name)
            if informer is not None:
                objects += [(name, obj) for obj in informer.all(namespace_of(quota))]
        status = status_of(quota, objects)
        if status == (quota.get("status") or {}):
            return []
        return [UpdateStatus(QUOTAS, {**quota, "status": status})]
