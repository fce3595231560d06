"""The recent events of one resource, kept once for all who watch it: a watcher is a place in the ring and has no queue of its own, so that a thousand
of them that do not read cost no more memory than one. What the ring drops they have missed, and they are told so.

Bounds: events and bytes of one ring, and the bytes of all rings together, where the largest gives way.
"""

from __future__ import annotations

import asyncio
from collections import deque

from apiserver.storage.items import Event

RING_EVENTS_MAX = 10_000
"""Of one resource: what a watch may go back, and how far a watcher may be behind."""
RING_BYTES_MAX = 32 << 20
"""Of one resource, as stored. An object takes two to six times of that in memory: its fields, and its bytes for clients."""
RINGS_BYTES_MAX = 64 << 20
"""Of all resources."""
EVENT_BYTES = 512
"""Of an event itself, whatever its object."""


class Budget:
    """What all rings hold together."""

    def __init__(self, size_bytes_max: int = RINGS_BYTES_MAX) -> None:
        self.size_bytes_max = size_bytes_max
        self.size_bytes = 0
        self._rings: set[Ring] = set()

    def join(self, ring: Ring) -> None:
        self._rings.add(ring)

    def leave(self, ring: Ring) -> None:
        self._rings.discard(ring)
        self.size_bytes -= ring.size_bytes

    def keep(self) -> None:
        while self.size_bytes > self.size_bytes_max:
            max(self._rings, key=lambda ring: ring.size_bytes).drop()


class Ring:
    """Events have numbers that go up by one; `first` is the oldest one's, `end` the next one's."""

    def __init__(self, budget: Budget, complete_after: int = 0) -> None:
        self._budget = budget
        self._events: deque[Event] = deque()
        self.first = 0
        self.size_bytes = 0
        self.complete_after = complete_after
        """Every event after this revision is here."""
        budget.join(self)

    @property
    def end(self) -> int:
        return self.first + len(self._events)

    def append(self, event: Event) -> None:
        self._events.append(event)
        size = event.item.size_bytes + EVENT_BYTES
        self.size_bytes += size
        self._budget.size_bytes += size
        while len(self._events) > RING_EVENTS_MAX or (self.size_bytes > RING_BYTES_MAX and len(self._events) > 1):
            self.drop()
        self._budget.keep()

    def drop(self) -> None:
        """The oldest."""
        event = self._events.popleft()
        self.first += 1
        self.complete_after = event.revision
        size = event.item.size_bytes + EVENT_BYTES
        self.size_bytes -= size
        self._budget.size_bytes -= size

    def after(self, revision: int) -> int:
        """The number of the first event after that revision."""
        number = self.end
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            number -= 1
        return number

    def read(self, number: int, count: int) -> list[Event]:
        """Up to so many events from that number on, which is not to be one that was dropped."""
        start = number - self.first
        assert start >= 0, "who is behind the ring is told so and reads no more"
        return [self._events[index] for index in range(start, min(start + count, len(self._events)))]

    def close(self) -> None:
        """Nobody adds to it any more; who still reads may do so."""
        self._budget.leave(self)


class Subscription:
    """One watcher's place, which is told what comes after one revision. `ended`: no more will come, and the client is to watch again from what it saw
    last."""

    __slots__ = ("_after", "_ended", "_number", "_ring", "_wake")

    def __init__(self, ring: Ring, after: int) -> None:
        """`after`: may be further on than the ring is, for another server may have told the client more."""
        self._ring = ring
        self._after = after
        self._number = ring.after(after)
        self._ended = False
        self._wake = asyncio.Event()

    @property
    def slow(self) -> bool:
        """It was told too late to be told everything."""
        return self._number < self._ring.first

    @property
    def ended(self) -> bool:
        return self._ended or self.slow

    @property
    def pending(self) -> bool:
        """Whether there is something to look at."""
        return self._ring.first <= self._number < self._ring.end

    def take(self, count: int) -> list[Event]:
        """Up to so many of what is to be told; none: there is nothing now, or it has ended."""
        while self.pending:
            read = self._ring.read(self._number, count)
            self._number += len(read)
            if found := [event for event in read if event.revision > self._after]:
                return found
        return []

    def skip(self) -> None:
        """Over all that is there."""
        self._number = max(self._number, self._ring.end)

    def told_up_to(self, revision: int) -> int | None:
        """Up to where the client knows everything, if the state is at `revision`; None if it has missed something, or nobody can say."""
        if self.pending:
            revision = self._ring.read(self._number, 1)[0].revision - 1
        elif self.ended:
            return None
        return max(revision, self._after)

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def wait(self, timeout_s: float) -> None:
        """Until there is something to look at, or for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
