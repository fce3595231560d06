"""Custom resources in a running server: it follows the definitions in its watch cache and brings two things in line with them, level-triggered: the
conditions of each definition in the store (whichever server is first writes them), and this server's own registry.

A definition that is being deleted is served on without `create`; its objects are deleted, and when none is left its finalizer goes
(apiextensions-apiserver/pkg/controller/finalizer).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from apiserver.handlers.deleting import TIME
from apiserver.machinery.objects import Object, is_terminating, metadata, name_of
from apiserver.machinery.status import ApiError
from apiserver.registry import crd
from apiserver.registry.registry import Served
from apiserver.storage.keys import key
from apiserver.storage.objects import Removed
from keelson.cogs.logs import fields

if TYPE_CHECKING:
    from apiserver.app import App
    from apiserver.storage.ring import Subscription

log = logging.getLogger(__name__)

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
RESYNC_S = 30.0
RETRY_S = 0.5
"""While something is not done yet: objects with finalizers, a store that does not answer."""
PAGE = 500

Version = tuple[str, str, str]


class CustomResources:
    def __init__(self, app: App) -> None:
        self._app = app
        self._serving: dict[str, tuple[bytes, tuple[Version, ...]]] = {}
        """By a definition's name: what it was made from, and what it made."""

    def _definitions(self) -> list[Object]:
        return list(self._app.caches.list(DEFINITIONS))

    async def run(self) -> None:
        """Until it is cancelled. Raises nothing of its own: what fails is tried again."""
        served = self._app.registry.by_qualified(DEFINITIONS)
        assert served is not None
        cache = self._app.caches.of(served)
        await cache.ready.wait()
        while True:
            try:
                subscription = cache.subscribe(cache.revision)
            except ApiError:
                # The cache lists anew; what it says now is looked at in any case.
                await asyncio.sleep(RETRY_S)
                continue
            try:
                while not subscription.ended:
                    subscription.skip()
                    is_done = await self.reconcile()
                    await _change(subscription, RESYNC_S if is_done else RETRY_S)
            finally:
                cache.unsubscribe(subscription)
            await asyncio.sleep(RETRY_S)

    async def reconcile(self) -> bool:
        """One look at all definitions; whether nothing is left to do."""
        is_done = True
        definitions = self._definitions()
        for each in definitions:
            try:
                self._serve(each)
                await self._judge(each, definitions)
                if is_terminating(each) and not await self._clean(each):
                    is_done = False
            except ApiError as failed:
                # It went, or was changed, under our eyes: the next look sees it as it is.
                is_done = is_done and failed.reason == "NotFound"
            except Exception as failed:
                # Whatever is wrong with one definition, or with the store at this moment, must keep no other from being served.
                log.warning("a custom resource definition waits", extra=fields(name=name_of(each), error=str(failed) or type(failed).__name__))
                is_done = False
        present = {name_of(each) for each in definitions}
        for gone in [name for name in self._serving if name not in present]:
            self._stop(gone)
        return is_done

    # --- conditions ---------------------------------------------------------------------------------------------------

    async def _judge(self, definition: Object, all_of_them: list[Object]) -> None:
        now = self._app.now()
        if crd.judged(definition, all_of_them, now) is definition.get("status"):
            return
        served = self._app.registry.by_qualified(DEFINITIONS)
        assert served is not None

        async def step(current: Object | None) -> Object | Removed:
            if current is None:
                raise ApiError("NotFound", "the definition is gone")
            status = crd.judged(current, all_of_them, now)
            return current if status is current.get("status") else {**current, "status": status}

        await self._app.objects.update(served.prefix, key(served.prefix, "", name_of(definition)), step)

    # --- the registry -------------------------------------------------------------------------------------------------

    def _serve(self, definition: Object) -> None:
        name = name_of(definition)
        if not crd.is_established(definition):
            return
        # Names that were accepted are the ones that are served.
        accepted = {**definition["spec"], "names": (definition["status"].get("acceptedNames") or definition["spec"]["names"])}
        source = msgspec.json.encode([accepted, is_terminating(definition)])
        before = self._serving.get(name)
        if before is not None and before[0] == source:
            return
        made = crd.served_of({**definition, "spec": accepted})
        if is_terminating(definition):
            made = [_without_create(each) for each in made]
        versions = tuple((each.resource.group, each.resource.version, each.resource.plural) for each in made)
        for each in made:
            self._app.registry.add(each)
        for old in before[1] if before is not None else ():
            if old not in versions:
                self._app.registry.remove(*old)
        self._serving[name] = (source, versions)
        log.info("serving a custom resource", extra=fields(name=name, versions=[each[1] for each in versions]))

    def _stop(self, name: str) -> None:
        _, versions = self._serving.pop(name)
        for each in versions:
            self._app.registry.remove(*each)
        log.info("a custom resource is served no more", extra=fields(name=name))

    # --- the end of a definition --------------------------------------------------------------------------------------

    async def _clean(self, definition: Object) -> bool:
        """Whether the definition is free to go. Raises StoreError."""
        if crd.FINALIZER not in (metadata(dict(definition)).get("finalizers") or ()):
            return True
        made = crd.served_of(definition) or []
        prefix = made[0].prefix if made else ""
        if prefix:
            page = await self._app.objects.page(prefix, prefix, limit=PAGE)
            for row in page.rows:
                await self._app.objects.update(prefix, row.key, self._ended)
            if (await self._app.objects.page(prefix, prefix, limit=1)).rows:
                return False
        served = self._app.registry.by_qualified(DEFINITIONS)
        assert served is not None

        async def release(current: Object | None) -> Object | Removed:
            if current is None:
                raise ApiError("NotFound", "the definition is gone")
            left = [each for each in current["metadata"].get("finalizers") or () if each != crd.FINALIZER]
            new = {**current, "metadata": {**current["metadata"], "finalizers": left}}
            if left:
                return new
            del new["metadata"]["finalizers"]
            return Removed(new)

        await self._app.objects.update(served.prefix, key(served.prefix, "", name_of(definition)), release)
        return True

    async def _ended(self, current: Object | None) -> Object | Removed:
        """An object whose definition goes: removed, or marked for whoever holds it."""
        if current is None:
            raise ApiError("NotFound", "the object is gone")
        meta = current["metadata"]
        if not meta.get("finalizers"):
            return Removed(current)
        if meta.get("deletionTimestamp"):
            return current
        marked = {**meta, "deletionTimestamp": self._app.clock().strftime(TIME), "deletionGracePeriodSeconds": 0}
        return {**current, "metadata": marked}


def _without_create(served: Served) -> Served:
    verbs = tuple(each for each in served.resource.verbs if each != "create")
    resource = msgspec.structs.replace(served.resource, verbs=verbs)
    return msgspec.structs.replace(served, resource=resource)


async def _change(subscription: Subscription, timeout_s: float) -> None:
    if not subscription.pending and not subscription.ended:
        await subscription.wait(timeout_s)
