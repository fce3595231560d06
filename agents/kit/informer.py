"""A cache of one resource that follows the server, and tells handlers what changed (client-go's tools/cache: reflector and shared informer).

The guarantee. After `synced` is set the cache held, at some moment, all that the server had; from then on it goes through every state of each object
in order, or skips over states when it had to list again, but never goes back in time on one server. Handlers are told of every difference between
what the cache held before and what it holds then, one call at a time, after the cache has it. An object that vanished while nobody watched is
told as deleted in its last state that was seen: its real last state is then unknown (a tombstone), and `informer.tombstones` counts it.

How. A watch with sendInitialEvents streams everything, then a bookmark, then changes; a server that refuses it with a 4xx is listed and watched. A
watch that ends is
taken up again from the last resourceVersion; one that answers 410 begins with everything anew; all else is tried again with growing pauses.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from agents.kit.backoff import Backoff
from agents.kit.indexer import NAMESPACE, STANDARD, Indexer, IndexFunction
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.client.watch import ADDED, BOOKMARK, DELETED, MODIFIED, WatchEvent
from apiserver.machinery.objects import Object, key_of, resource_version_of, uid_of
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields
from keelson.cogs.tasks import Tasks

log = logging.getLogger(__name__)

PAGE = 500
TIMEOUT_S = 300.0
"""A watch lasts this long at least and twice as long at most: spread, so that a thousand informers do not come back at once."""
REFUSES_WATCH_LIST = frozenset({400, 405, 406, 415, 422})
"""Answers of a server that knows no sendInitialEvents."""

OnAdd = Callable[[Object], None]
OnUpdate = Callable[[Object, Object], None]
OnDelete = Callable[[Object], None]


class Handlers:
    """What somebody wants to be told. Called in the event loop, quickly: usually they put a key into a queue."""

    def __init__(self, add: OnAdd | None = None, update: OnUpdate | None = None, delete: OnDelete | None = None) -> None:
        self.add, self.update, self.delete = add, update, delete


class Informer:
    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        resync_s: float = 0.0,
        chance: random.Random | None = None,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.cache = Indexer(STANDARD)
        self.synced = asyncio.Event()
        self.tombstones = 0
        self.lists = 0
        self._client = client
        self._label_selector, self._field_selector = label_selector, field_selector
        self._resync_s = resync_s
        self._chance = chance or random.Random()
        self._handlers: list[Handlers] = []
        self._version = ""
        """The resourceVersion up to which the cache has everything; empty: begin anew."""
        self._watch_list = True

    # --- readers ------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Object | None:
        return self.cache.get(key)

    def all(self, namespace: str = "") -> list[Object]:
        return self.cache.by(NAMESPACE, namespace) if namespace else list(self.cache)

    def by(self, index: str, value: str) -> list[Object]:
        return self.cache.by(index, value)

    def add_index(self, name: str, function: IndexFunction) -> None:
        self.cache.add_index(name, function)

    def handle(self, add: OnAdd | None = None, update: OnUpdate | None = None, delete: OnDelete | None = None) -> None:
        """Be told from now on; what is in the cache already is told as added."""
        handlers = Handlers(add, update, delete)
        self._handlers.append(handlers)
        for obj in self.cache:
            _tell(handlers.add, obj)

    @property
    def resource_version(self) -> str:
        return self._version

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._chance.random, loop.time)
        async with Tasks(f"informer of {self.resource.qualified}") as tasks:
            if self._resync_s:
                tasks.serve("resync", self._resync())
            while True:
                try:
                    await self._follow()
                    backoff.reset()
                    continue
                except ApiError as error:
                    if error.reason in ("Expired", "Gone"):
                        log.info("list again", extra=fields(resource=self.resource.qualified, error=str(error)))
                        self._version = ""
                    elif self._watch_list and not self._version and error.code in REFUSES_WATCH_LIST:
                        # What would refuse a list as well (401, 403, 404, 429) must not cost us the watch-list for good.
                        log.info("no watch-list here: list and watch", extra=fields(resource=self.resource.qualified, error=str(error)))
                        self._watch_list = False
                        continue
                    else:
                        log.warning("watch failed", extra=fields(resource=self.resource.qualified, error=str(error), reason=error.reason))
                except Unreachable as error:
                    log.warning("watch failed", extra=fields(resource=self.resource.qualified, error=str(error)))
                await asyncio.sleep(backoff.next_s())

    async def _follow(self) -> None:
        """One watch from where the cache stands until its end. Raises what the client raises."""
        if not self._version:
            if self._watch_list:
                await self._watch(initial=True)
                return
            await self._list()
        await self._watch(initial=False)

    async def _watch(self, initial: bool) -> None:
        collected: dict[str, Object] = {}
        watching = self._client.watch(
            self.resource,
            self.namespace,
            resource_version="" if initial else self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            initial_events=initial,
            timeout_s=TIMEOUT_S * (1 + self._chance.random()),
        )
        try:
            async for event in watching:
                if not initial:
                    self._apply(event)
                elif event.ends_initial_events:
                    initial = False
                    self._replace(collected.values(), resource_version_of(event.object))
                    collected = {}
                elif event.type == DELETED:
                    collected.pop(key_of(event.object), None)
                elif event.type in (ADDED, MODIFIED):
                    collected[key_of(event.object)] = event.object
        finally:
            await watching.aclose()
        if initial:
            raise Unreachable("the watch ended before all that is there had come")

    async def _list(self) -> None:
        items: list[Object] = []
        version = ""
        async for page in self._pages():
            version = version or resource_version_of(page)
            items += ({"apiVersion": self.resource.api_version, "kind": self.resource.kind, **item} for item in page.get("items") or ())
        self._replace(items, version)

    async def _pages(self) -> AsyncIterator[Object]:
        token = ""
        while True:
            page = await self._client.list(
                self.resource,
                self.namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=PAGE,
                continue_token=token,
            )
            yield page
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._resync_s)
            for obj in self.cache:
                for handlers in self._handlers:
                    _tell(handlers.update, obj, obj)

    # --- changes ------------------------------------------------------------------------------------------------------

    def _apply(self, event: WatchEvent) -> None:
        if event.type in (ADDED, MODIFIED):
            self._put(event.object)
        elif event.type == DELETED:
            before = self.cache.remove(key_of(event.object))
            if before is not None:
                self._deleted(event.object)
        elif event.type != BOOKMARK:
            return
        self._version = resource_version_of(event.object) or self._version

    def _put(self, obj: Object) -> None:
        before = self.cache.put(obj)
        if before is not None and uid_of(before) != uid_of(obj):
            # Deleted and made again between two states that we saw: for handlers these are two objects.
            self.tombstones += 1
            self._deleted(before)
            before = None
        for handlers in self._handlers:
            if before is None:
                _tell(handlers.add, obj)
            else:
                _tell(handlers.update, before, obj)

    def _replace(self, objects: Iterable[Object], version: str) -> None:
        """The cache becomes what the server has; handlers hear the difference."""
        self.lists += 1
        there = {key_of(obj): obj for obj in objects}
        for key in sorted(self.cache.keys() - there.keys()):
            gone = self.cache.remove(key)
            if gone is not None:
                self.tombstones += 1
                self._deleted(gone)
        for key, obj in there.items():
            before = self.cache.get(key)
            if before is None or resource_version_of(before) != resource_version_of(obj) or not resource_version_of(obj):
                self._put(obj)
        self._version = version
        self.synced.set()

    def _deleted(self, obj: Object) -> None:
        for handlers in self._handlers:
            _tell(handlers.delete, obj)


def _tell(handler: Callable[..., None] | None, *objects: Object) -> None:
    """A handler that fails is a bug of its controller, and no reason for the others to see stale objects."""
    if handler is None:
        return
    try:
        handler(*objects)
    except Exception:
        log.exception("a handler failed", extra=fields(object=key_of(objects[-1]), kind=objects[-1].get("kind", "")))


class Informers:
    """The informers of one process: one for each resource (and namespace and selectors), shared by all who ask."""

    def __init__(self, client: Client, resync_s: float = 0.0) -> None:
        self._client, self._resync_s = client, resync_s
        self._informers: dict[tuple[str, ...], Informer] = {}
        self._tasks: Tasks | None = None
        self._running: dict[Informer, asyncio.Task[None]] = {}

    def of(self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = "") -> Informer:
        key = (resource.group, resource.version, resource.plural, namespace, label_selector, field_selector)
        if key not in self._informers:
            made = Informer(self._client, resource, namespace, label_selector=label_selector, field_selector=field_selector, resync_s=self._resync_s)
            self._informers[key] = made
            if self._tasks is not None:
                self._start(made)
        return self._informers[key]

    def __iter__(self) -> Iterator[Informer]:
        return iter(list(self._informers.values()))

    def start(self, tasks: Tasks) -> None:
        """Run all there are, and from now on each as it is asked for; they end with `tasks`."""
        self._tasks = tasks
        for informer in self._informers.values():
            self._start(informer)

    def drop(self, informer: Informer) -> None:
        """Stop following a resource that exists no more; whoever asks for it again gets a new one."""
        self._informers = {key: each for key, each in self._informers.items() if each is not informer}
        task = self._running.pop(informer, None)
        if task is not None:
            task.cancel()

    async def synced(self) -> None:
        """Wait until all there are now have their first whole state."""
        for informer in list(self._informers.values()):
            await informer.synced.wait()

    def _start(self, informer: Informer) -> None:
        assert self._tasks is not None
        self._running[informer] = self._tasks.serve(f"informer of {informer.resource.qualified}", informer.run())
