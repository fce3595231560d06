"""Pauses after failures: per item for queues, per connection for watches (client-go's util/workqueue and util/wait)."""

from collections.abc import Callable, Hashable

ITEM_BASE_S = 0.005
ITEM_MAX_S = 1000.0


class ItemBackoff:
    """5 ms, 10 ms, 20 ms, ... 1000 s for each item apart (ItemExponentialFailureRateLimiter)."""

    def __init__(self, base_s: float = ITEM_BASE_S, max_s: float = ITEM_MAX_S) -> None:
        self._base_s, self._max_s = base_s, max_s
        self._failures: dict[Hashable, int] = {}

    def next_s(self, item: Hashable) -> float:
        """Counts one more failure of `item`, and tells how long it has to wait now."""
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        # 2**64 is beyond every maximum, and a float; larger exponents would raise.
        return float(min(self._base_s * 2 ** min(failures, 64), self._max_s))

    def failures(self, item: Hashable) -> int:
        return self._failures.get(item, 0)

    def forget(self, item: Hashable) -> None:
        self._failures.pop(item, None)


class Backoff:
    """Growing pauses with jitter; what went well for `reset_s` starts anew (the reflector's: 0.8 s to 30 s, doubled, jitter 1.0, reset after 2 min).

    `chance` gives numbers in [0, 1), `now_s` is a monotonic clock.
    """

    def __init__(
        self,
        chance: Callable[[], float],
        now_s: Callable[[], float],
        *,
        base_s: float = 0.8,
        max_s: float = 30.0,
        factor: float = 2.0,
        jitter: float = 1.0,
        reset_s: float = 120.0,
    ) -> None:
        self._chance, self._now_s = chance, now_s
        self._base_s, self._max_s, self._factor, self._jitter, self._reset_s = base_s, max_s, factor, jitter, reset_s
        self._next_s = base_s
        self._last_s = now_s()

    def next_s(self) -> float:
        now_s = self._now_s()
        if now_s - self._last_s > self._reset_s:
            self._next_s = self._base_s
        self._last_s = now_s
        pause_s = self._next_s
        self._next_s = min(self._next_s * self._factor, self._max_s)
        return pause_s * (1 + self._jitter * self._chance())

    def reset(self) -> None:
        self._next_s = self._base_s
