"""Puts through the JSON gateway: HTTP/1.1, one request at a time on each connection, as programs without a gRPC library send them."""

import asyncio
import base64
import ssl
import time
from binascii import b2a_base64
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count

from bench.load.dial import Link, dial
from bench.load.http2 import ConnectionBroken
from bench.load.requests import value
from bench.load.tally import Loop, Measured, Meter

PUT_PATH = "/v3/kv/put"
HEAD_END = b"\r\n\r\n"
LENGTH = b"ength: "
"""The end of "Content-Length: ", however its letters are written."""
LAST_CHUNK = b"\r\n0\r\n\r\n"


DIGITS = 12
PREFIX = b"bench/gateway/%06d/"
"""Its length is a multiple of three, and so is the number's: they can be encoded apart."""


def json_put(seed: int, number: int = 0) -> tuple[bytes, bytes, bytes]:
    """A put of a new key in three parts: only the middle one differs from number to number."""
    head = b'{"key":"' + base64.b64encode(PREFIX % seed)
    tail = b'","value":"' + base64.b64encode(value()) + b'"}'
    return head, encoded(number), tail


def encoded(number: int) -> bytes:
    return b2a_base64(b"%0*d" % (DIGITS, number), newline=False)


class Client(Link):
    """One connection, one request in flight."""

    def __init__(self, run: Loop, host: str, seed: int, numbers: Iterator[int]) -> None:
        super().__init__()
        self._run = run
        self._numbers = numbers
        body = json_put(seed)
        head = f"POST {PUT_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {sum(map(len, body))}\r\n\r\n"
        self._head, self._tail = head.encode() + body[0], body[2]
        self._began = 0.0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports do not derive from asyncio's
        self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed:
            self._run.fail(ConnectionBroken(f"connection lost: {error}"))

    def send(self) -> None:
        assert self._transport is not None
        self._run.in_flight += 1
        self._began = time.perf_counter()
        self._transport.write(self._head + encoded(next(self._numbers)) + self._tail)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        if not _is_whole(received):
            self._received = received
            return
        run = self._run
        run.latencies.append(time.perf_counter() - self._began)
        status = int(received[9:12])
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
    found = answer.find(LENGTH, 0, at)
    if found < 0:
        return answer.endswith(LAST_CHUNK)
    return len(answer) >= at + len(HEAD_END) + int(answer[found + len(LENGTH) : answer.index(b"\r", found)])


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
    run, numbers = Loop(), count()
    clients: list[Client] = []
    try:
        for at in range(connections):
            endpoint = endpoints[at % len(endpoints)]
            clients.append(await dial(endpoint, partial(Client, run, endpoint, seed, numbers), tls))
        for client in clients:
            client.send()
        measured = await run.measure(seconds, warm_up_s, meter)
        await run.finish()
        return measured
    finally:
        for client in clients:
            client.close()
