"""Virtual time: one heap of events, one seed, one digest of everything that happened.

Nothing in a run may look at a real clock, at `hash()` of a string or at the order of a set: then the same seed gives the same run, and the
digest (a CRC over every noted fact) proves that it did.
"""

import heapq
from collections.abc import Callable
from random import Random
from typing import Any
from zlib import crc32


class Timeline:
    def __init__(self, seed: int, trace: bool = False) -> None:
        self.seed = seed
        self.now_s = 0.0
        self.digest = 0
        self.events = 0
        self.trace = trace
        self.after_event: Callable[[], None] | None = None
        """Called after each event: where the invariants are checked."""
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def random(self, name: str) -> Random:
        """A stream of chance of its own for each part of the world, so that switching one part off leaves the others as they were."""
        return Random(f"{self.seed}/{name}")

    def after(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        """Call `call(*args)` in `delay_s` virtual seconds; equal times happen in the order they were asked for."""
        assert delay_s >= 0
        self._sequence += 1
        heapq.heappush(self._heap, (self.now_s + delay_s, self._sequence, call, args))

    def every(self, mean_s: float, rng: Random, call: Callable[[], None]) -> None:
        """Call `call()` again and again at random intervals of `mean_s` on average (a Poisson process). 0: never."""
        if mean_s <= 0:
            return

        def happen() -> None:
            call()
            self.after(rng.expovariate(1 / mean_s), happen)

        self.after(rng.expovariate(1 / mean_s), happen)

    def stamp(self) -> int:
        """A number larger than every one before: what happened before what."""
        self._sequence += 1
        return self._sequence

    def note(self, fact: bytes) -> None:
        """Make `fact` part of the digest."""
        self.digest = crc32(fact, self.digest)

    def say(self, text: str) -> None:
        """One line of the trace; also part of the digest. For what is rare; what is frequent asks `trace` first."""
        self.digest = crc32(text.encode(), self.digest)
        if self.trace:
            print(f"{self.now_s:11.6f} {text}")

    def run(self, until_s: float) -> None:
        """Let everything happen up to `until_s`."""
        heap, after_event = self._heap, self.after_event
        while heap and heap[0][0] <= until_s:
            self.now_s, _, call, args = heapq.heappop(heap)
            self.events += 1
            call(*args)
            if after_event is not None:
                after_event()
        self.now_s = until_s
