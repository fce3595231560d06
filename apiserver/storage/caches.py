"""The watch caches of all resources: one for each place in the store, begun when a resource is first served, and the `Reader` on top of them."""

import asyncio
import logging
from collections.abc import Iterable

from apiserver.machinery.objects import Object
from apiserver.registry.registry import Registry, Served
from apiserver.storage.cache import Cache
from apiserver.storage.keys import key
from apiserver.storage.newest import Newest
from apiserver.storage.objects import Objects
from apiserver.storage.ring import Budget
from keelson.cogs.logs import fields
from keelson.cogs.tasks import TaskSet
from kvstore.errors import StoreError

log = logging.getLogger(__name__)

KEEP_UP_S = 5.0
"""How far behind the store a quiet resource's watch may be."""


class Caches:
    """A Reader (see `apiserver.request`), and the caches themselves for lists and watches."""

    def __init__(self, registry: Registry, objects: Objects) -> None:
        self._registry = registry
        self._objects = objects
        self.newest = Newest(objects.newest)
        self._caches: dict[str, Cache] = {}
        self._budget = Budget()
        self._tasks = TaskSet("watch caches")
        self._running: dict[str, object] = {}
        registry.listeners.append(self._changed)

    async def newest_revision(self) -> int:
        """The store's now; all caches are expected to come so far. Raises StoreError."""
        revision = await self.newest.revision()
        for cache in self._caches.values():
            cache.expect(revision)
        return revision

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(KEEP_UP_S)
            try:
                await self.newest_revision()
            except StoreError as error:
                log.warning("the store does not tell its revision", extra=fields(error=str(error)))

    def start(self) -> None:
        self._tasks.start("keep up", self._keep_up())
        for served in self._registry.served():
            self._changed(served, True)

    async def close(self) -> None:
        for cache in self._caches.values():
            cache.end_subscriptions()
        await self._tasks.close()

    def end_watches(self) -> None:
        for cache in self._caches.values():
            cache.end_subscriptions()

    def all(self) -> Iterable[Cache]:
        return self._caches.values()

    def of(self, served: Served) -> Cache:
        return self._caches[served.prefix]

    def find(self, served: Served) -> Cache | None:
        """None for what is not kept: reviews."""
        return self._caches.get(served.prefix)

    def _changed(self, served: Served, added: bool) -> None:
        if not served.prefix or not {"list", "get"} & set(served.resource.verbs):
            return  # kept elsewhere, or, as reviews, not at all
        if added and served.prefix not in self._caches:
            cache = self._caches[served.prefix] = Cache(served.prefix, self._objects, self._budget)
            self._running[served.prefix] = self._tasks.start(served.prefix, cache.run())
        elif not added and not any(each.prefix == served.prefix for each in self._registry.served()):
            gone = self._caches.pop(served.prefix, None)
            task = self._running.pop(served.prefix, None)
            if gone is not None:
                gone.end_subscriptions()
            if task is not None:
                task.cancel()  # type: ignore[attr-defined]

    # --- Reader -------------------------------------------------------------------------------------------------------

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        served = self._registry.by_qualified(resource)
        cache = None if served is None else self._caches.get(served.prefix)
        item = None if cache is None or served is None else cache.get(key(served.prefix, namespace, name))
        return None if item is None else item.obj

    def list(self, resource: str, namespace: str = "") -> Iterable[Object]:
        served = self._registry.by_qualified(resource)
        cache = None if served is None else self._caches.get(served.prefix)
        if cache is None or served is None:
            return []
        return [item.obj for item in cache.items(f"{served.prefix}{namespace}/" if namespace else "")]

    def version(self, resource: str) -> int:
        served = self._registry.by_qualified(resource)
        cache = None if served is None else self._caches.get(served.prefix)
        return -1 if cache is None else cache.changes

    async def fresh(self, resource: str, namespace: str, name: str) -> Object | None:
        """Raises StoreError."""
        served = self._registry.by_qualified(resource)
        if served is None:
            return None
        row = await self._objects.get(served.prefix, key(served.prefix, namespace, name))
        return None if row is None else row.obj
