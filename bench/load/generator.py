"""A closed-loop load generator: so many requests in flight over so many connections, the next one sent when an answer came.

    python -m bench.load.generator --endpoint 127.0.0.1:2379 --operation put --in-flight 200 --connections 20 --seconds 5

It stands in for many clients, so what it costs is kept out of what it measures: one process of it gets more requests out of a server than
h2load does (`bench.load.calibrate` shows that), at several microseconds a request. Latency is from the write of a request to the
reading of its answer, and holds the wait for the processor that servers and generator share.
"""

import argparse
import asyncio
import gc
import json
import resource
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import uvloop
from msgspec import Struct, to_builtins

from bench.load.http2 import GRPC_PREFIX_BYTES, OK, ConnectionBroken, RequestEncoder, ResponseReader, opening
from bench.load.requests import OPERATIONS, Bodies, Operation

CONNECT_TIMEOUT_S = 10.0
STUCK_TIMEOUT_S = 30.0
"""A run in which no answer came for this long has failed."""


class Measured(Struct, frozen=True):
    """One run. Latencies in milliseconds; `errors` counts answers by grpc-status (-1: none) other than 0; `generator_cpu_s` is ours;
    `servers_cpu_s` is by how much what the run's `meter` reads went up."""

    requests: int
    seconds: float
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    errors: dict[str, int]
    generator_cpu_s: float
    servers_cpu_s: list[float] = []


class Run:
    """What the connections of one run share: when it counts, what is counted, when it is over."""

    def __init__(self, bodies: Bodies, requests_max: int | None) -> None:
        self.bodies = bodies
        self.latencies: list[float] = []
        self.errors: Counter[int] = Counter()
        self.counting = False
        self.sending = True
        self.left = requests_max
        self.in_flight = 0
        self.answered = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)

    def check_over(self) -> None:
        if not self.sending and self.in_flight == 0 and not self.over.done():
            self.over.set_result(None)


class Connection(asyncio.Protocol):
    """One connection with `slots` requests in flight."""

    def __init__(self, run: Run, slots: int, path: str, authority: str, scheme: str) -> None:
        self._run = run
        self._slots = slots
        self._encoder = RequestEncoder(path, authority, scheme)
        self._reader = ResponseReader(self._settings)
        self._started: dict[int, float] = {}
        self._unsent: deque[tuple[int, bytes]] = deque()
        """Requests that wait for the connection's window: bytes under flow control, frames."""
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports do not derive from asyncio's
        self._transport.write(opening())  # type: ignore[union-attr]

    def connection_lost(self, error: Exception | None) -> None:
        lost = ConnectionBroken(f"connection lost: {error}")
        if not self.ready.done():
            self.ready.set_exception(lost)
        if self._started:
            self._run.fail(lost)

    def start(self) -> None:
        self._answer_and_send(0, time.perf_counter(), self._slots)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        reader = self._reader
        try:
            reader.feed(data)
        except ConnectionBroken as error:
            self._run.fail(error)
            return
        ended = reader.ended
        if ended:
            run, started = self._run, self._started
            if run.counting:
                latencies = run.latencies
                for stream, outcome in ended:
                    latencies.append(now - started.pop(stream))
                    if outcome != OK:
                        run.errors[outcome] += 1
            else:
                for stream, outcome in ended:
                    del started[stream]
                    if outcome != OK:
                        run.errors[outcome] += 1
            done = len(ended)
            ended.clear()
            run.answered += done
            run.in_flight -= done
            self._answer_and_send(done, now, done)
        elif reader.to_send or self._unsent:
            self._answer_and_send(0, now, 0)

    def _settings(self, settings: dict[int, int]) -> None:
        if 0x1 in settings:
            self._encoder.limit_table(settings[0x1])
        if settings.get(0x3, self._slots) < self._slots:
            self._run.fail(ConnectionBroken(f"the server allows {settings[0x3]} streams a connection, {self._slots} are wanted"))
        if not self.ready.done():
            self.ready.set_result(None)

    def _answer_and_send(self, done: int, now: float, wanted: int) -> None:
        """Send what the protocol owes, what waited for the window, and `wanted` new requests: one write."""
        run, reader = self._run, self._reader
        out = reader.to_send
        if wanted and run.sending:
            if run.left is not None:
                wanted = min(wanted, run.left)
                run.left -= wanted
                if run.left == 0:
                    run.sending = False
            request, started, bodies = self._encoder.request, self._started, run.bodies
            for _ in range(wanted):
                message = bodies()
                stream, frames = request(message)
                started[stream] = now
                self._unsent.append((len(message) + GRPC_PREFIX_BYTES, frames))
            run.in_flight += wanted
        unsent = self._unsent
        while unsent and reader.send_window >= unsent[0][0]:
            size, frames = unsent.popleft()
            reader.send_window -= size
            out.append(frames)
        if out:
            assert self._transport is not None
            self._transport.write(b"".join(out))
            out.clear()
        if not run.sending:
            run.check_over()


def shares(whole: int, parts: int) -> list[int]:
    """`whole` things over `parts` as evenly as it goes, none empty."""
    parts = min(whole, parts)
    return [whole // parts + (at < whole % parts) for at in range(parts)]


async def _connect(run: Run, endpoint: str, slots: int, path: str, tls: ssl.SSLContext | None) -> Connection:
    host, port = endpoint.rsplit(":", 1)
    _, protocol = await asyncio.get_running_loop().create_connection(
        lambda: Connection(run, slots, path, endpoint, "http" if tls is None else "https"), host, int(port), ssl=tls
    )
    await asyncio.wait_for(protocol.ready, CONNECT_TIMEOUT_S)
    return protocol


async def generate(
    endpoints: Sequence[str],
    operation: Operation,
    *,
    in_flight: int,
    connections: int,
    seconds: float = 0,
    warm_up_s: float = 0,
    requests: int | None = None,
    seed: int = 0,
    tls: ssl.SSLContext | None = None,
    meter: Callable[[], list[float]] = list,
) -> Measured:
    """Load `endpoints` (connections go to them in turn) for `seconds` after `warm_up_s`, or with exactly `requests` requests.

    Raises ConnectionBroken or TimeoutError if the servers cannot be loaded; refused requests are counted instead.
    """
    run = Run(operation.bodies(seed), requests)
    links = [
        await _connect(run, endpoints[at % len(endpoints)], slots, operation.path, tls) for at, slots in enumerate(shares(in_flight, connections))
    ]
    # The collector's pauses would be counted as the servers'; nothing here is cyclic.
    gc.collect()
    gc.disable()
    try:
        for link in links:
            link.start()
        if requests is None:
            await _watched(run, warm_up_s)
        run.counting, run.errors, run.latencies = True, Counter(), []
        servers, cpu, began = meter(), _cpu_s(), time.perf_counter()
        await _watched(run, seconds if requests is None else float("inf"))
        took, cpu = time.perf_counter() - began, _cpu_s() - cpu
        servers = [after - before for before, after in zip(servers, meter(), strict=True)]
        latencies, errors = run.latencies, run.errors
        run.counting = run.sending = False
        run.check_over()
        await asyncio.wait_for(run.over, STUCK_TIMEOUT_S)
    finally:
        gc.enable()
        for link in links:
            link.close()
    return _summary(latencies, took, errors, cpu, servers)


async def _watched(run: Run, seconds: float) -> None:
    """Sleep while the run goes on; ends early if it is over, fails if nothing moves."""
    deadline = time.perf_counter() + seconds
    answered, since = run.answered, time.perf_counter()
    while not run.over.done():
        now = time.perf_counter()
        if now >= deadline:
            return
        if run.answered != answered:
            answered, since = run.answered, now
        elif now - since > STUCK_TIMEOUT_S:
            raise TimeoutError(f"no answer for {STUCK_TIMEOUT_S} s with {run.in_flight} requests in flight")
        await asyncio.wait([run.over], timeout=min(deadline - now, 1.0))
    run.over.result()


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _summary(latencies: list[float], seconds: float, errors: Counter[int], cpu_s: float, servers: list[float]) -> Measured:
    ranked = sorted(latencies)
    count = len(ranked)

    def at(share: float) -> float:
        return round(ranked[min(count - 1, int(share * count))] * 1000, 4) if ranked else 0.0

    told = {str(status): times for status, times in sorted(errors.items())}
    return Measured(count, seconds, count / seconds, at(0.5), at(0.9), at(0.99), at(1.0), told, cpu_s, servers)


def run_load(endpoints: Sequence[str], operation: Operation, **options: object) -> Measured:
    """`generate` in an event loop of its own."""
    return uvloop.run(generate(endpoints, operation, **options))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", action="append", required=True, help="HOST:PORT; repeat to spread the connections")
    parser.add_argument("--operation", choices=[operation.name for operation in OPERATIONS], default="put")
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000, help="puts with another seed write other keys")
    options = parser.parse_args()
    operation = next(operation for operation in OPERATIONS if operation.name == options.operation)
    measured = run_load(
        options.endpoint,
        operation,
        in_flight=options.in_flight,
        connections=options.connections,
        seconds=options.seconds,
        warm_up_s=options.warm_up,
        seed=options.seed,
    )
    print(json.dumps(to_builtins(measured), indent=2))


if __name__ == "__main__":
    main()
