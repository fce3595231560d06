"""Keys that wait for a worker (client-go's util/workqueue).

Three laws: an item is never with two workers at once; an item added while it is worked on is worked on once more afterwards; many adds of a
waiting item are one. So a reconcile never races itself, and never misses the last change.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from agents.kit.backoff import ItemBackoff

Item = TypeVar("Item", bound=Hashable)


class ShutDown(Exception):
    """The queue is closed and empty: its workers end."""


class WorkQueue(Generic[Item]):
    """Belongs to one event loop. `adds` and `retries` count for /metrics."""

    def __init__(self, backoff: ItemBackoff | None = None) -> None:
        self._backoff = backoff or ItemBackoff()
        self._queue: deque[Item] = deque()
        self._dirty: set[Item] = set()
        """Waits to be worked on: in the queue, or in `_processing` and to be queued when done."""
        self._processing: set[Item] = set()
        self._delayed: dict[Item, tuple[float, asyncio.TimerHandle]] = {}
        """Adds of later, the earliest for each item."""
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self.adds = 0
        self.retries = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, item: Item) -> None:
        if self._closed or item in self._dirty:
            return
        self.adds += 1
        self._dirty.add(item)
        if item not in self._processing:
            self._queue.append(item)
            self._wake()

    def add_after(self, item: Item, delay_s: float) -> None:
        """Add in `delay_s`; an earlier add of the same item that waits already stands."""
        if self._closed:
            return
        if delay_s <= 0:
            self.add(item)
            return
        loop = asyncio.get_running_loop()
        due_s = loop.time() + delay_s
        waiting = self._delayed.get(item)
        if waiting is not None:
            if waiting[0] <= due_s:
                return
            waiting[1].cancel()
        self._delayed[item] = (due_s, loop.call_at(due_s, self._due, item))

    def add_rate_limited(self, item: Item) -> None:
        """Add when the item's back-off says so: after a failure."""
        self.retries += 1
        self.add_after(item, self._backoff.next_s(item))

    def forget(self, item: Item) -> None:
        """What failed has gone well: its back-off begins anew."""
        self._backoff.forget(item)

    def failures(self, item: Item) -> int:
        return self._backoff.failures(item)

    async def get(self) -> Item:
        """The next item, which stays with the caller until `done`. Raises ShutDown."""
        while not self._queue:
            if self._closed:
                raise ShutDown
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # the wake-up was for one of us: somebody else must have it
                raise
        item = self._queue.popleft()
        self._processing.add(item)
        self._dirty.discard(item)
        return item

    def done(self, item: Item) -> None:
        self._processing.discard(item)
        if item in self._dirty and not self._closed:
            self._queue.append(item)
            self._wake()

    def shut_down(self) -> None:
        """Nothing is taken any more; what is queued is still given out."""
        self._closed = True
        for _, timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _due(self, item: Item) -> None:
        del self._delayed[item]
        self.add(item)

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
