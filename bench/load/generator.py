"""A load generator. Closed loop: so many requests in flight over so many connections, the next one sent when an answer came. Open loop
(`rate`): so many a second whatever the answers do, each latency counted from when its request was due, so that a server which stands still is
charged for all that would have come meanwhile (no coordinated omission).

    python -m bench.load.generator --endpoint 127.0.0.1:2379 --operation put --in-flight 200 --connections 20 --seconds 5

It stands in for many clients, so what it costs is kept out of what it measures: one process of it gets more requests out of a server than
h2load does (`bench.load.calibrate` shows that), at several microseconds a request. Latency is from the write of a request to the
reading of its answer, and holds the wait for the processor that servers and generator share.
"""

import argparse
import asyncio
import gc
import json
import ssl
import time
from collections import deque
from collections.abc import Iterable, Sequence

import uvloop
from msgspec import to_builtins

from bench.load.dial import Link, dial, scheme
from bench.load.http2 import (
    FRAME_BYTES_MAX,
    GRPC_PREFIX_BYTES,
    INITIAL_WINDOW,
    OK,
    WINDOW_MAX,
    ConnectionBroken,
    RequestEncoder,
    ResponseReader,
    data_frames,
    opening,
    prefixed,
)
from bench.load.requests import OPERATIONS, Operation, Requests
from bench.load.tally import Loop, Measured, Meter
from keelson.cogs import descriptors

PACE_S = 0.001
UNANSWERED_MAX = 20_000
"""An open loop with more requests than this unanswered asks for more than the server can do, and ends."""


class Run(Loop):
    """What the connections of one run share: what is sent, when it is over."""

    def __init__(self, requests: Requests, requests_max: int | None, *, closed_loop: bool) -> None:
        super().__init__()
        self.requests = requests
        self.closed_loop = closed_loop
        self.left = requests_max


class Connection(Link):
    """One connection with `slots` requests in flight; in an open loop with as many as come, and as the server allows streams."""

    def __init__(self, run: Run, slots: int, paths: Sequence[str], authority: str, scheme: str) -> None:
        super().__init__()
        self._run = run
        self._slots = slots
        self._encoder = RequestEncoder(paths, authority, scheme)
        self._reader = ResponseReader(self._settings)
        self._started: dict[int, float] = {}
        self._unsent: deque[tuple[int, bytes]] = deque()
        """Requests that wait for the connection's window, or for a stream: bytes under flow control, frames."""
        self._large: dict[int, bytes] = {}
        """Messages of requests that are larger than a frame and whose beginning has not been sent."""
        self._rests: dict[int, tuple[bytes, int]] = {}
        """The same once it has: what is still to be sent on the stream, and how much of it the server has allowed."""
        self._stream_window = INITIAL_WINDOW
        self._streams_max = WINDOW_MAX

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports do not derive from asyncio's
        self._transport.write(opening())  # type: ignore[union-attr]

    def connection_lost(self, error: Exception | None) -> None:
        lost = ConnectionBroken(f"connection lost: {error}")
        if not self.ready.done():
            self.ready.set_exception(lost)
        if self._started and not self._closed:
            self._run.fail(lost)

    def start(self) -> None:
        self._send(time.perf_counter(), self._slots)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        reader = self._reader
        try:
            reader.feed(data)
        except ConnectionBroken as error:
            self._run.fail(error)
            return
        if reader.ended:
            done = self._take_ended(now)
            self._send(now, done if self._run.closed_loop else 0)
        elif reader.to_send or self._unsent or self._rests:
            self._send(now, 0)

    def _take_ended(self, now: float) -> int:
        run, started, ended = self._run, self._started, self._reader.ended
        latencies, done = run.latencies, 0
        for stream, outcome in ended:
            began = started.pop(stream, None)
            if began is None:
                continue  # a server may reset a stream that it has ended (RFC 9113, 8.1)
            done += 1
            latencies.append(now - began)
            if outcome != OK:
                run.errors[outcome] += 1
        ended.clear()
        run.in_flight -= done
        return done

    def send_due(self, dues: Iterable[float]) -> None:
        """Open loop: requests that were to be sent at these times."""
        for due in dues:
            self._queue(due, 1)
        self._flush()

    def _settings(self, settings: dict[int, int]) -> None:
        if 0x1 in settings:
            self._encoder.limit_table(settings[0x1])
        self._stream_window = settings.get(0x4, self._stream_window)
        self._streams_max = settings.get(0x3, self._streams_max)
        if self._run.closed_loop and self._streams_max < self._slots:
            self._run.fail(ConnectionBroken(f"the server allows {self._streams_max} streams a connection, {self._slots} are wanted"))
        if not self.ready.done():
            self.ready.set_result(None)

    def _send(self, began: float, wanted: int) -> None:
        """`wanted` new requests whose time counts from `began`, with all that waits: one write."""
        if wanted:
            self._queue(began, wanted)
        self._flush()

    def _queue(self, began: float, wanted: int) -> None:
        run = self._run
        if not run.sending:
            return
        if run.left is not None:
            wanted = min(wanted, run.left)
            run.left -= wanted
            if run.left == 0:
                run.sending = False
        request, started, requests, unsent = self._encoder.request, self._started, run.requests, self._unsent
        for _ in range(wanted):
            path, message = requests()
            size = len(message) + GRPC_PREFIX_BYTES
            if size > FRAME_BYTES_MAX:
                size, (stream, frames) = 0, self._encoder.call(path)
                self._large[stream] = prefixed(message)
                self._reader.follows_streams = True
            else:
                stream, frames = request(path, message)
            started[stream] = began
            unsent.append((size, frames))
        run.in_flight += wanted

    def _flush(self) -> None:
        """Send what the protocol owes, and what waits, as far as the windows allow."""
        reader = self._reader
        out = reader.to_send
        unsent = self._unsent
        while unsent and reader.send_window >= unsent[0][0] and len(self._started) - len(unsent) < self._streams_max:
            size, frames = unsent.popleft()
            reader.send_window -= size
            out.append(frames)
            if not size:
                stream = int.from_bytes(frames[5:9])  # in the frame's header
                self._rests[stream] = self._large.pop(stream), self._stream_window
        if self._rests:
            self._send_rests(out)
        if out:
            assert self._transport is not None
            self._transport.write(b"".join(out))
            out.clear()
        if not self._run.sending:
            self._run.check_over()

    def _send_rests(self, out: list[bytes]) -> None:
        """As much of the rests as the windows allow, piece by piece: a server need not fill up a window of which little is used."""
        reader, rests = self._reader, self._rests
        for stream, (rest, allowed) in list(rests.items()):
            allowed += reader.stream_credit.pop(stream, 0)
            size = min(len(rest), allowed, reader.send_window)
            if size:
                reader.send_window -= size
                out.append(data_frames(stream, rest[:size], end=size == len(rest)))
            if size == len(rest):
                del rests[stream]
            else:
                rests[stream] = rest[size:], allowed - size
        reader.stream_credit.clear()


def shares(whole: int, parts: int) -> list[int]:
    """`whole` things over `parts` as evenly as it goes, none empty."""
    parts = min(whole, parts)
    return [whole // parts + (at < whole % parts) for at in range(parts)]


async def connect(run: Run, endpoint: str, slots: int, paths: Sequence[str], tls: ssl.SSLContext | None) -> Connection:
    return await dial(endpoint, lambda: Connection(run, slots, paths, endpoint, scheme(tls)), tls)


async def generate(
    endpoints: Sequence[str],
    operation: Operation,
    *,
    in_flight: int,
    connections: int,
    seconds: float = 0,
    warm_up_s: float = 0,
    requests: int | None = None,
    rate: float | None = None,
    seed: int = 0,
    tls: ssl.SSLContext | None = None,
    meter: Meter = list,
) -> Measured:
    """Load `endpoints` (connections go to them in turn) for `seconds` after `warm_up_s`, or with exactly `requests` requests.

    `rate`: an open loop of so many requests a second in place of `in_flight` at a time.
    Raises ConnectionBroken or TimeoutError if the servers cannot be loaded; refused requests are counted instead.
    """
    run = Run(operation.requests(seed), requests, closed_loop=rate is None)
    links: list[Connection] = []
    # The collector's pauses would be counted as the servers'; nothing here is cyclic.
    gc.collect()
    gc.disable()
    try:
        for at, slots in enumerate(shares(in_flight, connections)):
            links.append(await connect(run, endpoints[at % len(endpoints)], slots, operation.paths, tls))
        if rate is None:
            for link in links:
                link.start()
        else:
            _Pace(run, links, rate).send()
        measured = await run.measure(seconds if requests is None else float("inf"), 0 if requests else warm_up_s, meter)
        await run.finish()
        return measured
    finally:
        gc.enable()
        for link in links:
            link.close()


class _Pace:
    """Sends what is due, every millisecond, over the connections in turn."""

    def __init__(self, run: Run, links: Sequence[Connection], rate: float) -> None:
        self._run, self._links = run, links
        self._each_s = 1 / rate
        self._due = time.perf_counter()
        self._turn = 0

    def send(self) -> None:
        run = self._run
        if not run.sending or run.over.done():
            run.check_over()
            return
        if run.in_flight > UNANSWERED_MAX:
            run.fail(TimeoutError(f"{run.in_flight} requests are unanswered: the rate is more than the server can do"))
            return
        now = time.perf_counter()
        dues: list[list[float]] = [[] for _ in self._links]
        while self._due <= now:
            dues[self._turn].append(self._due)
            self._turn = (self._turn + 1) % len(dues)
            self._due += self._each_s
        for link, its in zip(self._links, dues, strict=True):
            if its:
                link.send_due(its)
        asyncio.get_running_loop().call_later(PACE_S, self.send)


def run_load(endpoints: Sequence[str], operation: Operation, **options: object) -> Measured:
    """`generate` in an event loop of its own."""
    descriptors.raise_limit()
    return uvloop.run(generate(endpoints, operation, **options))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", action="append", required=True, help="HOST:PORT; repeat to spread the connections")
    parser.add_argument("--operation", choices=[operation.name for operation in OPERATIONS], default="put")
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--rate", type=float, help="open loop: so many requests a second")
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
        rate=options.rate,
        seed=options.seed,
    )
    print(json.dumps(to_builtins(measured), indent=2))


if __name__ == "__main__":
    main()
