"""The watch cache: all objects of one resource, kept up to date by one watch of the store, for all lists and watches of all clients.

Its guarantee: the state at `revision` is the store's at that revision, and a subscriber is told every change after the revision that it names, once
and in order, or is told that this cannot be (Expired, or its subscription ends). What the cache knows of before each change makes the store's prev_kv
unnecessary. Recent events and the places of watchers among them are in `ring`.
"""

import asyncio
import logging
from typing import Any

from sortedcontainers import SortedDict

from apiserver.machinery.status import ApiError
from apiserver.storage.items import ADDED, DELETED, MODIFIED, Event, Item
from apiserver.storage.objects import Objects
from apiserver.storage.ring import Budget, Ring, Subscription
from apiserver.storage.versions import too_large, too_old
from keelson.cogs.logs import fields
from kvstore.client.client import prefix_end
from kvstore.client.errors import WatchCompacted
from kvstore.errors import StoreError

log = logging.getLogger(__name__)

FRESH_TIMEOUT_S = 3.0
"""How long a reader waits for a revision before it is told 504 (upstream's blockTimeout)."""
PROGRESS_PAUSE_S = 0.005
PROGRESS_TIMEOUT_S = 0.1
STALL_S = 2.0
"""A watch that does not come forward for so long, though the store has, is asked for elsewhere."""
RELIST_PAUSE_S = 0.5
DELETE = 1  # mvccpb.Event.EventType


class Cache:
    """`run` keeps it up to date; until its first list is done, everybody waits."""

    def __init__(self, prefix: str, objects: Objects, budget: Budget | None = None) -> None:
        """`budget`: of all caches' recent events together."""
        self.prefix = prefix
        self._budget = budget or Budget()
        self._objects = objects
        self._items: SortedDict = SortedDict()
        self.revision = 0
        """The state here is the store's at this revision."""
        self.changes = 0
        """Grows with each change of what `items` gives."""
        self._ring = Ring(self._budget)
        self._subscriptions: set[Subscription] = set()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._advanced = asyncio.Event()
        self._wanted = asyncio.Event()
        self._expected = 0
        """The store is known to be at this revision at least."""
        self._watcher: Any = None
        self._patience: asyncio.Timeout | None = None
        self._asked = 0
        self.ready = asyncio.Event()

    # --- reading ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: str) -> Item | None:
        """`key`: as in the store."""
        found: Item | None = self._items.get(key)
        return found

    def items(self, below: str = "") -> list[Item]:
        """In the order of their keys, of those whose keys begin with `below`."""
        if not below or below == self.prefix:
            return list(self._items.values())
        return [self._items[key] for key in self._items.irange(below, prefix_end(below.encode()).decode(), inclusive=(True, False))]

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    async def reach(self, revision: int, timeout_s: float = FRESH_TIMEOUT_S) -> None:
        """Wait until the state is at least that of `revision`. Raises ApiError (504) if it does not come in time."""
        if self.ready.is_set() and self.revision >= revision:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (revision, reached)
        self._waiting.append(entry)
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout_s):
                await reached
        except TimeoutError:
            raise too_large(revision, self.revision) from None
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    # --- watching -----------------------------------------------------------------------------------------------------

    def subscribe(self, after: int) -> Subscription:
        """Every event after that revision. Raises ApiError (410) if that is further back than the ring reaches."""
        if after < self._ring.complete_after:
            raise too_old(after, self._ring.complete_after)
        subscription = Subscription(self._ring, after)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def end_subscriptions(self) -> None:
        for subscription in self._subscriptions:
            subscription.end()

    # --- following the store ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """List, watch, and list again whenever the store cannot tell what happened in between; until cancelled."""
        try:
            await self._run()
        finally:
            self._ring.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask_for_progress(), name=f"progress {self.prefix}")
            listed = False
            while True:
                try:
                    if not listed:
                        await self._list()
                    listed = False
                    await self._follow()
                except TimeoutError:
                    # The member at the other end is paused, cut off or far behind: another one goes on from here.
                    log.warning("the store's watch does not come forward: asking elsewhere", extra=fields(prefix=self.prefix, revision=self.revision))
                    self._objects.leave(self._asked)
                    listed = True
                except WatchCompacted as error:
                    log.warning("watch cache lists again: history was compacted", extra=fields(prefix=self.prefix, revision=error.revision))
                except (StoreError, ApiError, ValueError) as error:
                    log.warning("watch cache lists again", extra=fields(prefix=self.prefix, error=str(error)))
                    await asyncio.sleep(RELIST_PAUSE_S)

    async def _list(self) -> None:
        found: dict[str, Item] = {}
        start, revision = "", 0
        while True:
            page = await self._objects.page(self.prefix, self.prefix, start=start, revision=revision)
            revision = page.revision
            found.update((row.key, Item(row.key, row.obj, row.revision, row.size_bytes)) for row in page.rows)
            if not page.remaining:
                break
            start = page.last + "\0"
        # Nobody can be told what happened between the old state and this one: watchers go when they have read the old ring's end, and come back from
        # what they saw last, or list.
        self.end_subscriptions()
        self._subscriptions.clear()
        self._items = SortedDict(found)
        self.changes += 1
        self._ring.close()
        self._ring = Ring(self._budget, complete_after=revision)
        self.ready.set()
        self._advance(revision)

    async def _follow(self) -> None:
        prefix = self.prefix.encode()
        self._asked = self._objects.asked()
        self._watcher = self._objects.client.watch(prefix, prefix_end(prefix), start_revision=self.revision + 1, progress_notify=True)
        try:
            async with asyncio.timeout(None) as self._patience:
                async for response in self._watcher:
                    for event in response.events:
                        self._apply(event)
                    # All events up to the header's revision have been told only if this is a progress report; else up to the last one's.
                    self._advance(response.events[-1].kv.mod_revision if response.events else response.header.revision)
        finally:
            self._watcher = self._patience = None

    def _apply(self, change: Any) -> None:
        kv = change.kv
        key = kv.key.decode()
        before: Item | None = self._items.get(key)
        if change.type == DELETE:
            if before is None:
                return
            del self._items[key]
            event = Event(DELETED, before.at(kv.mod_revision), before)
        else:
            try:
                row = self._objects.decode(self.prefix, kv)
                item = Item(key, row.obj, row.revision, row.size_bytes)
            except (ValueError, KeyError, TypeError) as error:
                log.error("an object in the store cannot be read and is not shown", extra=fields(key=key, error=str(error)))
                return
            self._items[key] = item
            event = Event(ADDED if before is None else MODIFIED, item, before)
        self.changes += 1
        self._ring.append(event)
        for subscription in self._subscriptions:
            subscription.wake()

    def _advance(self, revision: int) -> None:
        if revision > self.revision:
            self.revision = revision
        self._advanced.set()
        if not self._waiting:
            return
        still = []
        for entry in self._waiting:
            if entry[0] > self.revision:
                still.append(entry)
            elif not entry[1].done():
                entry[1].set_result(None)
        self._waiting = still

    def expect(self, revision: int) -> None:
        """The store is known to be there: the watch is to come so far, too, even if nothing of this resource has changed. Otherwise it would begin
        again from far behind after a broken connection, where history may be compacted, and bookmarks would be old."""
        if revision > self._expected:
            self._expected = revision
        if self.revision < self._expected:
            self._wanted.set()

    async def _ask_for_progress(self) -> None:
        """A quiet resource's watch does not learn of the revisions that others make, unless it asks."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            moved_s, revision = loop.time(), self.revision
            while self._waiting or self.revision < self._expected:
                if self._watcher is not None:
                    self._advanced.clear()
                    await self._watcher.request_progress()
                    try:
                        async with asyncio.timeout(PROGRESS_TIMEOUT_S):
                            await self._advanced.wait()
                    except TimeoutError:
                        pass
                if self.revision > revision or self.revision >= self._expected or self._watcher is None:
                    moved_s, revision = loop.time(), self.revision
                elif loop.time() - moved_s > STALL_S and self._patience is not None:
                    self._patience.reschedule(loop.time())
                    moved_s = loop.time()
                # A revision that only a client believes in is waited for, but not hurried after.
                await asyncio.sleep(PROGRESS_PAUSE_S if self.revision < self._expected else PROGRESS_TIMEOUT_S)
