"""How fast changes reach those who watch: one key that many watch, and many keys with a watcher each.

Every watcher is a watch of its own, many to a stream as in clients that share a connection. Latency is from the write of the put to the
reading of the event, so it holds the put itself.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence

from bench.load.generator import Connection, Run, connect
from bench.load.requests import PUT_PATH, field, value
from bench.load.streams import Call, open_call
from bench.load.tally import STUCK_TIMEOUT_S, Measured, Meter, Tally

WATCH_PATH = "/etcdserverpb.Watch/Watch"
STREAMS = 20
PREFIX = b"bench/watch/"
NUMBER_DIGITS = 12


def key(number: int) -> bytes:
    return PREFIX + b"%0*d" % (NUMBER_DIGITS, number)


class _Watchers:
    """So many watches over `STREAMS` streams, key by key. `told` is called with the key's number for each event."""

    def __init__(self, keys: Sequence[int], told: Callable[[int], None], broken: Callable[[Exception], None]) -> None:
        self._keys, self._told, self._broken = keys, told, broken
        self._calls: list[Call] = []
        self._created = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, endpoints: Sequence[str], tls: ssl.SSLContext | None) -> None:
        for at in range(STREAMS):
            call = await open_call(endpoints[at % len(endpoints)], WATCH_PATH, self._message, self._broken, tls)
            self._calls.append(call)
            call.send(*(field(1, field(1, key(number))) for number in self._keys[at::STREAMS]))
        await asyncio.wait_for(self.ready, STUCK_TIMEOUT_S)

    def _message(self, message: bytes) -> None:
        if self._created < len(self._keys):
            # Nothing is written before all watchers stand, so what comes until then says "created".
            self._created += 1
            if self._created == len(self._keys):
                self.ready.set_result(None)
            return
        at = message.find(PREFIX)
        while at >= 0:  # a key stands once in an event: values are random bytes, and nobody asked for the previous pair
            start = at + len(PREFIX)
            self._told(int(message[start : start + NUMBER_DIGITS]))
            at = message.find(PREFIX, start)

    def close(self) -> None:
        for call in self._calls:
            call.close()


class _Puts:
    """Puts sent one by one over one connection; their answers are only counted."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self.run = Run(lambda: (PUT_PATH, self._messages.popleft()), None, closed_loop=False)
        self._tail = field(2, value())
        self._connection: Connection | None = None

    async def open(self, endpoint: str, tls: ssl.SSLContext | None) -> None:
        self._connection = await connect(self.run, endpoint, 1, (PUT_PATH,), tls)

    def put(self, number: int) -> None:
        assert self._connection is not None
        self._messages.append(field(1, key(number)) + self._tail)
        self._connection.send_due((time.perf_counter(),))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _FanOut:
    """A put's next one is sent when all its watchers were told."""

    def __init__(self, watchers: int, *, one_key: bool) -> None:
        self.tally = Tally()
        self._keys = [0] * watchers if one_key else list(range(watchers))
        self._watchers_of_a_key = watchers if one_key else 1
        self._put_at: dict[int, float] = {}
        self._untold: dict[int, int] = {}
        self._puts = _Puts()
        self._watchers = _Watchers(self._keys, self._told, self.tally.fail)

    async def start(self, endpoints: Sequence[str], tls: ssl.SSLContext | None) -> None:
        await self._watchers.open(endpoints, tls)
        await self._puts.open(endpoints[0], tls)
        for number in dict.fromkeys(self._keys):
            self._put(number)

    def _put(self, number: int) -> None:
        self._untold[number] = self._watchers_of_a_key
        self._put_at[number] = time.perf_counter()
        self._puts.put(number)

    def _told(self, number: int) -> None:
        self.tally.latencies.append(time.perf_counter() - self._put_at[number])
        self._untold[number] -= 1
        if not self._untold[number]:
            self._put(number)

    def close(self) -> None:
        self._watchers.close()
        self._puts.close()


async def fan_out(
    endpoints: Sequence[str],
    *,
    watchers: int,
    one_key: bool,
    seconds: float,
    warm_up_s: float,
    tls: ssl.SSLContext | None = None,
    meter: Meter = list,
) -> Measured:
    """One key that all watch, or as many keys as watchers. Puts go to the first endpoint, watchers to all. Measured are events.

    Raises ConnectionBroken or TimeoutError.
    """
    running = _FanOut(watchers, one_key=one_key)
    try:
        await running.start(endpoints, tls)
        return await running.tally.measure(seconds, warm_up_s, meter)
    finally:
        running.close()
