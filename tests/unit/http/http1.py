"""A connection of HTTP/1.1 without a socket: bytes in, what was written out."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from kvstore.http.http1 import Http1Connection
from kvstore.http.limits import ClientGone, Info, Limits

CLIENT = ("192.0.2.1", 40000)


class Transport(asyncio.Transport):
    """Keeps what is written; what else happens to it is told by its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.Protocol | None = None
        self.written = b""
        self.reading = True
        self.eof_written = self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        assert not self.closed and not self.eof_written, data
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            assert self.protocol is not None
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True


class Peer:
    """A client, its connection, and the application behind it; to be used on a running loop."""

    def __init__(self, app: Any, limits: Limits | None = None, tls: dict[str, Any] | None = None) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.lost = False
        self.held = 0
        self.transport = Transport()
        self.connection = Http1Connection(app, Info(CLIENT, ("192.0.2.2", 2379), tls, self._spawn), limits or Limits(hold=self._hold), self._closed)
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.Task(work, name=name)
        self.tasks.append(task)
        return task

    def _hold(self, client: Any, more: int) -> None:
        assert client == CLIENT
        self.held += more

    def _closed(self, _transport: asyncio.BaseTransport) -> None:
        self.lost = True

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    async def said(self, data: bytes = b"") -> bytes:
        """What comes in answer to `data`, once nothing more happens."""
        if data:
            self.send(data)
        await settle()
        written, self.transport.written = self.transport.written, b""
        return written

    async def end(self) -> None:
        """The client's connection breaks."""
        self.transport.close()
        await settle()
        assert self.lost and all(task.done() for task in self.tasks) and self.held == 0


JSON = ((b"content-type", b"application/json"),)


async def settle(turns: int = 12) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with method, path, query and body."""
    body = await body_of(receive)
    said = b"%b %b?%b %b" % (scope["method"].encode(), scope["path"].encode(), scope["query_string"], body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": said})


async def body_of(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        body += event["body"]
        more = event["more_body"]
    return body


def answer(body: bytes, *fields: bytes) -> bytes:
    """What `echo` makes of it."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n%b\r\n%b" % (
        len(body),
        b"".join(field + b"\r\n" for field in fields),
        body,
    )
