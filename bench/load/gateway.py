"""Puts through the JSON gateway: HTTP/1.1, one request at a time on each connection, as programs without a gRPC library send them."""

import asyncio
import base64
import ssl
import time
from collections.abc import Sequence
from functools import partial

from bench.load.dial import Link, dial
from bench.load.generator import Run
from bench.load.http2 import ConnectionBroken
from bench.load.requests import Requests, value
from bench.load.tally import Measured, Meter

PUT_PATH = "/v3/kv/put"
HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"\r\n0\r\n\r\n"


def json_puts(seed: int) -> Requests:
    """A new key each time."""
    text = base64.b64encode(value()).decode()
    number = 0

    def request() -> tuple[str, bytes]:
        nonlocal number
        number += 1
        key = base64.b64encode(b"bench/gateway/%06d/%012d" % (seed, number)).decode()
        return PUT_PATH, b'{"key":"%s","value":"%s"}' % (key.encode(), text.encode())

    return request


class Client(Link):
    """One connection, one request in flight."""

    def __init__(self, run: Run, host: str) -> None:
        super().__init__()
        self._run = run
        self._head = f"Host: {host}\r\nContent-Type: application/json\r\nContent-Length: ".encode()
        self._began = 0.0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports do not derive from asyncio's
        self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed:
            self._run.fail(ConnectionBroken(f"connection lost: {error}"))

    def send(self) -> None:
        path, body = self._run.requests()
        assert self._transport is not None
        self._run.in_flight += 1
        self._began = time.perf_counter()
        self._transport.write(b"POST %s HTTP/1.1\r\n%s%d\r\n\r\n%s" % (path.encode(), self._head, len(body), body))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not _is_whole(self._received):
            return
        run = self._run
        run.latencies.append(time.perf_counter() - self._began)
        status = int(self._received[9:12])
        if status != 200:
            run.errors[status] += 1
        run.in_flight -= 1
        self._received = b""
        if run.sending:
            self.send()
        else:
            run.check_over()


def _is_whole(answer: bytes) -> bool:
    """Is this a whole answer? Its length is in its head, or it comes in chunks."""
    at = answer.find(HEAD_END)
    if at < 0:
        return False
    head = answer[:at].lower()
    found = head.find(b"content-length:")
    if found < 0:
        return answer.endswith(LAST_CHUNK)
    length = int(head[found + 15 :].split(b"\r\n", 1)[0])
    return len(answer) >= at + len(HEAD_END) + length


async def gateway_puts(
    endpoints: Sequence[str],
    *,
    connections: int,
    seconds: float,
    warm_up_s: float,
    seed: int,
    tls: ssl.SSLContext | None = None,
    meter: Meter = list,
) -> Measured:
    """Connections go to the endpoints in turn. Raises ConnectionBroken or TimeoutError."""
    run = Run(json_puts(seed), None, closed_loop=True)
    clients: list[Client] = []
    try:
        for at in range(connections):
            endpoint = endpoints[at % len(endpoints)]
            clients.append(await dial(endpoint, partial(Client, run, endpoint), tls))
        for client in clients:
            client.send()
        measured = await run.measure(seconds, warm_up_s, meter)
        await run.finish()
        return measured
    finally:
        for client in clients:
            client.close()
