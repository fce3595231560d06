"""Leases kept alive: many leases over some streams, so many renewals in flight on each, the next sent when one was answered."""

import ssl
import time
from collections import deque
from collections.abc import Sequence

from bench.load.generator import generate, shares
from bench.load.requests import Operation, varint
from bench.load.streams import Call, open_call
from bench.load.tally import Measured, Meter, Tally

GRANT_PATH = "/etcdserverpb.Lease/LeaseGrant"
KEEP_ALIVE_PATH = "/etcdserverpb.Lease/LeaseKeepAlive"
STREAMS = 20
TTL_S = 600
FIRST_ID = 1 << 40
RENEWED = b"\x18" + varint(TTL_S)
"""How an answer ends that gives the lease its whole time again."""
NOT_FOUND = 5


def _granting(leases: int) -> Operation:
    numbers = iter(range(leases))
    return Operation("grant", (GRANT_PATH,), lambda _: lambda: (GRANT_PATH, b"\x08" + varint(TTL_S) + b"\x10" + varint(FIRST_ID + next(numbers))))


class _Stream:
    """One client's stream: its leases in turn; answers come in the order of the questions, each with the lease's new TTL."""

    def __init__(self, leases: Sequence[int], tally: Tally) -> None:
        self._questions = [b"\x08" + varint(FIRST_ID + lease) for lease in leases]
        self._tally = tally
        self._turn = 0
        self._asked_at: deque[float] = deque()
        self._call: Call | None = None

    async def open(self, endpoint: str, tls: ssl.SSLContext | None) -> None:
        self._call = await open_call(endpoint, KEEP_ALIVE_PATH, self._answer, self._tally.fail, tls)

    def ask(self) -> None:
        assert self._call is not None
        self._asked_at.append(time.perf_counter())
        self._call.send(self._questions[self._turn % len(self._questions)])
        self._turn += 1

    def _answer(self, message: bytes) -> None:
        self._tally.latencies.append(time.perf_counter() - self._asked_at.popleft())
        if not message.endswith(RENEWED):
            self._tally.errors[NOT_FOUND] += 1
        self.ask()

    def close(self) -> None:
        if self._call is not None:
            self._call.close()


async def keep_alive(
    endpoints: Sequence[str],
    *,
    leases: int,
    in_flight: int,
    seconds: float,
    warm_up_s: float,
    tls: ssl.SSLContext | None = None,
    meter: Meter = list,
) -> Measured:
    """Grant the leases, then renew them over streams to the endpoints in turn. Raises ConnectionBroken or TimeoutError."""
    granted = await generate(endpoints[:1], _granting(leases), in_flight=100, connections=5, requests=leases, tls=tls)
    assert not granted.errors, f"leases were refused: {granted.errors}"
    tally = Tally()
    streams = [_Stream(range(at, leases, STREAMS), tally) for at in range(STREAMS)]
    try:
        for at, stream in enumerate(streams):
            await stream.open(endpoints[at % len(endpoints)], tls)
        for stream, each in zip(streams, shares(in_flight, STREAMS), strict=False):
            for _ in range(each):
                stream.ask()
        return await tally.measure(seconds, warm_up_s, meter)
    finally:
        for stream in streams:
            stream.close()
