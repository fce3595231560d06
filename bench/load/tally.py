"""What a run counts, and how a piece of it is measured: the same for every kind of load."""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from bench.load.histogram import Histogram, of_seconds

CONNECT_TIMEOUT_S = 10.0
STUCK_TIMEOUT_S = 30.0
"""A run in which nothing was answered for this long has failed."""

Meter = Callable[[], list[float]]
"""Processor seconds that each of the measured processes has used so far."""


class Measured(Struct, frozen=True):
    """One run. Latencies in milliseconds; `errors` counts answers by grpc-status (-1: none) other than 0, or by HTTP status;
    `generator_cpu_s` is ours; `servers_cpu_s` is by how much what the run's `meter` reads went up. Percentiles are those of `histogram`."""

    requests: int
    seconds: float
    per_second: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    errors: dict[str, int]
    generator_cpu_s: float
    servers_cpu_s: list[float] = []
    histogram: Histogram = Histogram()


class Tally:
    """Latencies and errors since the last `clear`; `over` is done when the run is, or has failed."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors: Counter[int] = Counter()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)

    def clear(self) -> tuple[list[float], Counter[int]]:
        """What was counted, and a new page."""
        counted = self.latencies, self.errors
        self.latencies, self.errors = [], Counter()
        return counted

    async def measure(self, seconds: float, warm_up_s: float, meter: Meter) -> Measured:
        """Of a run under way: let it warm up, then count for so long, or until it is over. Raises what the run failed with, or TimeoutError."""
        if warm_up_s:
            await self.go_on(warm_up_s)
            self.clear()
        servers, cpu, began = meter(), cpu_s(), time.perf_counter()
        await self.go_on(seconds)
        took, cpu = time.perf_counter() - began, cpu_s() - cpu
        servers = [after - before for before, after in zip(servers, meter(), strict=True)]
        return summary(*self.clear(), took, cpu, servers)

    async def go_on(self, seconds: float) -> None:
        """Wait while the run goes on; ends early if it is over, fails if nothing moves."""
        deadline = time.perf_counter() + seconds
        answered, since = len(self.latencies), time.perf_counter()
        while not self.over.done():
            now = time.perf_counter()
            if now >= deadline:
                return
            if len(self.latencies) != answered:
                answered, since = len(self.latencies), now
            elif now - since > STUCK_TIMEOUT_S:
                raise TimeoutError(f"no answer for {STUCK_TIMEOUT_S} s")
            await asyncio.wait([self.over], timeout=min(deadline - now, 1.0))
        self.over.result()


class Loop(Tally):
    """A run whose requests wait for answers: it is over when nothing is to be sent any more and nothing is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.sending = True
        self.in_flight = 0

    def check_over(self) -> None:
        if not self.sending and self.in_flight == 0 and not self.over.done():
            self.over.set_result(None)

    async def finish(self) -> None:
        """Send no more, and wait for what is on its way."""
        self.sending = False
        self.check_over()
        await asyncio.wait_for(self.over, STUCK_TIMEOUT_S)


def cpu_s() -> float:
    """Processor seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def summary(latencies: list[float], errors: Counter[int], seconds: float, generator_cpu_s: float, servers_cpu_s: list[float]) -> Measured:
    histogram = of_seconds(latencies)
    count = len(latencies)
    return Measured(
        count,
        round(seconds, 4),
        round(count / seconds, 2),
        round(1000 * sum(latencies) / count, 4) if count else 0.0,
        *(histogram.percentile_ms(share) for share in (0.5, 0.9, 0.99, 0.999)),
        round(1000 * max(latencies, default=0.0), 4),
        {str(status): times for status, times in sorted(errors.items())},
        round(generator_cpu_s, 4),
        [round(spent, 4) for spent in servers_cpu_s],
        histogram,
    )
