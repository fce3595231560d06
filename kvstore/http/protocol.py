"""HTTP on the transports of an event loop: who speaks which version, back-pressure, and the ends of connections.

The first bytes say it: HTTP/2 begins with its preface, everything else is HTTP/1.1 (as etcd's cmux has it, with TLS as without). What requests
of one turn of the loop have to say goes out in one write.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, cast

from kvstore.http.asgi import Request
from kvstore.http.connection import Connection
from kvstore.http.frames import PREFACE
from kvstore.http.http1 import Http1Connection
from kvstore.http.limits import App, Info, Limits
from kvstore.http.stream import Stream

WRITE_BUFFER_BYTES = 256 << 10
"""What the transport may keep of one connection; beyond it, streams wait."""
CONTROLS_MAX = 64
"""Answers to pings and settings that a client may leave unread; beyond it, nothing more is read from him (grpc-go has 50)."""
SWEEP_S = 1.0

Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]


class Server:
    """The connections of one application. To be swept while it serves (`sweep_forever`)."""

    def __init__(self, app: App, limits: Limits, spawn: Spawn) -> None:
        self.app = app
        self.limits = limits
        self.lane = getattr(app, "lane", None)
        self.lane_paths = getattr(app, "lane_paths", None)
        self._spawn = spawn
        self.connections: dict[asyncio.BaseTransport, Opening | Http1Connection | Http2] = {}

    def welcome(self, client: tuple[str, int], server: tuple[str, int], tls: dict[str, Any] | None) -> asyncio.Protocol:
        """A protocol for a new connection."""
        return Opening(self, Info(client, server, tls, self._spawn))

    def forget(self, transport: asyncio.BaseTransport) -> None:
        """That connection is gone."""
        self.connections.pop(transport, None)

    async def sweep_forever(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for connection in list(self.connections.values()):
                if isinstance(connection, Http2):
                    connection.sweep(loop.time())

    def drain(self) -> None:
        """Have clients take their next requests elsewhere; what is under way goes on."""
        for connection in list(self.connections.values()):
            connection.drain()

    @property
    def is_settled(self) -> bool:
        """After `drain`: every client knows that it is to go elsewhere, and has the answers to what it asked before."""
        return all(connection.is_settled for connection in self.connections.values())

    def close(self) -> None:
        """Say good-bye for good; what has been answered goes out."""
        for connection in list(self.connections.values()):
            if isinstance(connection, Http2):
                connection.close()

    def hang_up(self, client: tuple[str, int] | None = None) -> None:
        """Break a client's connections, or all."""
        for transport, connection in list(self.connections.items()):
            if client is None or connection.info.client == client:
                cast(asyncio.Transport, transport).abort()

    def hang_up_idle(self, count_max: int) -> int:
        """Break connections on which nothing is under way, the oldest first; how many."""
        idle = [transport for transport, connection in self.connections.items() if not connection.is_busy][:count_max]
        for transport in idle:
            cast(asyncio.Transport, transport).abort()
        return len(idle)

    def open_requests(self) -> Counter[tuple[str, int]]:
        """How many each client has under way."""
        found: Counter[tuple[str, int]] = Counter()
        for connection in self.connections.values():
            count = len(connection.connection.streams) if isinstance(connection, Http2) else int(connection.is_busy)
            if count:
                found[connection.info.client] += count
        return found


TLS_RECORD = b"\x16"
"""What a TLS handshake begins with."""


class Opening(asyncio.Protocol):
    """A connection until its first bytes say what it speaks."""

    def __init__(self, server: Server, info: Info) -> None:
        self._server = server
        self.info = info
        self._transport: asyncio.Transport
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections[transport] = self

    is_busy = False
    is_settled = True

    def drain(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        if len(data) < len(PREFACE) and PREFACE.startswith(data):
            self._held = data
            return
        server, transport = self._server, self._transport
        if data.startswith(TLS_RECORD):
            transport.abort()  # as etcd does: whatever was answered, to that client it would be broken TLS
            return
        protocol: Http2 | Http1Connection
        if data.startswith(PREFACE):
            protocol = Http2(server, self.info)
        else:
            protocol = Http1Connection(server.app, self.info, server.limits, server.forget)
        server.connections[transport] = protocol
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.forget(self._transport)


class Http2(asyncio.Protocol):
    """A `Connection` on a transport."""

    def __init__(self, server: Server, info: Info) -> None:
        self._server = server
        self.info = info
        self._loop = asyncio.get_running_loop()
        self._paused = self._reading_paused = False
        self._heard = True
        self._heard_s = self._loop.time()
        self._transport: asyncio.Transport
        self.connection = Connection(server.limits, info, self._serve, self._wake, self._write, server.lane, server.lane_paths)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        connection = self.connection
        connection.receive(data)
        if connection.out or connection.waiting or connection.closing:
            self._flush()

    def eof_received(self) -> bool:
        return False  # nobody is there who could read an answer

    def pause_writing(self) -> None:
        self._paused = True
        self.connection.pause()

    def resume_writing(self) -> None:
        self._paused = False
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()
        self.connection.resume()

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.forget(self._transport)
        self.connection.lost()

    def sweep(self, now_s: float) -> None:
        connection = self.connection
        limits = connection.limits
        if self._transport.is_closing():
            self._transport.abort()  # it does not take the last that it is told
            return
        if self._heard:
            self._heard, self._heard_s = False, now_s
        elif connection.pinged_s is not None:
            if now_s - connection.pinged_s >= limits.ping_timeout_s:
                self._transport.abort()
        elif limits.ping_interval_s and now_s - self._heard_s >= limits.ping_interval_s:
            connection.ping(now_s)
        connection.sweep(now_s)
        connection.finish()
        self._flush()

    @property
    def is_busy(self) -> bool:
        return bool(self.connection.streams)

    @property
    def is_settled(self) -> bool:
        return self._transport.is_closing() or self.connection.is_settled

    def drain(self) -> None:
        self.connection.drain()

    def close(self) -> None:
        """Whatever is under way."""
        self.connection.drain()
        self.connection.finish()
        self._flush()

    def _serve(self, stream: Stream) -> Request:
        return Request(stream, self._server.app)

    def _wake(self) -> None:
        self.connection.scheduled = True
        self._loop.call_soon(self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self.connection.scheduled = False
        self._flush()

    def _flush(self) -> None:
        connection = self.connection
        while True:
            if connection.waiting:
                connection.pump()
            if not connection.out:
                break
            self._write()
        if connection.controls > CONTROLS_MAX and self._paused and not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()
        if connection.closing or (connection.finished and not connection.streams):
            self._transport.close()

    def _write(self) -> None:
        out = self.connection.out
        data = b"".join(out) if len(out) > 1 else out[0]
        out.clear()
        if not self._transport.is_closing():  # what was answered in the turn in which the client left finds nobody
            self._transport.write(data)
