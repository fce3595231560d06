"""A closed loop over protocols whose answers come in the order of their requests: Redis' and ZooKeeper's."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from bench.load.dial import Link, dial
from bench.load.generator import shares
from bench.load.tally import Loop, Measured, Meter


class Client(Link):
    """One connection, `slots` requests in flight. A protocol says how it greets, what it sends, and what it makes of the bytes that come."""

    def __init__(self, run: Loop, slots: int) -> None:
        super().__init__()
        self._run = run
        self._slots = slots
        self._began: deque[float] = deque()
        self._received = b""

    def request(self) -> bytes:
        """The next one."""
        raise NotImplementedError

    def take(self, data: bytes) -> tuple[int, int, int]:
        """Of the bytes that came and were not taken yet: requests answered, how many of them with an error, bytes taken."""
        raise NotImplementedError

    def greeting(self) -> bytes:
        """What is sent first; if there is anything, `greeted` says what came back."""
        return b""

    def greeted(self, data: bytes) -> int:
        """Bytes taken; 0 if the answer to the greeting is not whole yet."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports do not derive from asyncio's
        greeting = self.greeting()
        if greeting:
            self._transport.write(greeting)  # type: ignore[union-attr]
        else:
            self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if self._closed:
            return
        lost = ConnectionResetError(f"connection lost: {error}")
        if self.ready.done():
            self._run.fail(lost)
        else:
            self.ready.set_exception(lost)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        received = self._received + data if self._received else data
        if not self.ready.done():
            taken = self.greeted(received)
            self._received = received[taken:]
            if taken:
                self.ready.set_result(None)
            return
        done, errors, taken = self.take(received)
        self._received = received[taken:]
        run, began = self._run, self._began
        for _ in range(done):
            run.latencies.append(now - began.popleft())
        if errors:
            run.errors[-1] += errors
        run.in_flight -= done
        if run.sending and done:
            self.send(done)
        else:
            run.check_over()

    def start(self) -> None:
        self.send(self._slots)

    def send(self, wanted: int) -> None:
        assert self._transport is not None
        data = b"".join([self.request() for _ in range(wanted)])
        self._began.extend([time.perf_counter()] * wanted)
        self._run.in_flight += wanted
        self._transport.write(data)


async def load(
    endpoints: Sequence[str],
    client: Callable[[Loop, int], Client],
    *,
    in_flight: int,
    connections: int,
    seconds: float,
    warm_up_s: float,
    meter: Meter = list,
) -> Measured:
    """Connections go to the endpoints in turn. Raises OSError or TimeoutError."""
    run = Loop()
    clients: list[Client] = []
    try:
        for at, slots in enumerate(shares(in_flight, connections)):
            clients.append(await dial(endpoints[at % len(endpoints)], lambda slots=slots: client(run, slots)))
        for each in clients:
            each.start()
        measured = await run.measure(seconds, warm_up_s, meter)
        await run.finish()
        return measured
    finally:
        for each in clients:
            each.close()
