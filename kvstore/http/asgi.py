"""One request of HTTP/2 for the application as ASGI 3 has it: a task, `receive` and `send`.

`send` returns when what it was given is with the transport, so that an application that waits for it never piles up what a client does not read.
A client that leaves cancels the task, and `send` raises ClientGone from then on.
"""

import asyncio
import logging
from typing import Any

from kvstore.http.frames import INTERNAL_ERROR
from kvstore.http.limits import App, ClientGone
from kvstore.http.stream import Stream

log = logging.getLogger("kvstore.http")

TASK = "http request"
_VERSION = {"version": "3.0", "spec_version": "2.5"}
_DISCONNECT = {"type": "http.disconnect"}


class Request:
    """The listener of a stream."""

    __slots__ = ("_chunks", "_ended", "_reader", "_said_end", "_stream", "_task", "_trailers", "_writer")

    def __init__(self, stream: Stream, app: App) -> None:
        self._stream = stream
        self._chunks: list[bytes] = []
        self._ended = self._said_end = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._trailers = False
        """Whether the answer ends with trailers."""
        self._task = stream.connection.info.spawn(self._run(app), TASK)

    # --- the connection's side ------------------------------------------------------------------------------------------------

    def received(self, data: bytes, ended: bool) -> None:
        if data:
            self._chunks.append(data)
        if ended:
            self._ended = True
        _wake(self._reader)

    def left(self) -> None:
        self._task.cancel()

    def drained(self) -> None:
        _wake(self._writer)

    # --- the application's side -----------------------------------------------------------------------------------------------

    async def _run(self, app: App) -> None:
        stream = self._stream
        try:
            await app(_scope(stream), self.receive, self.send)
        except ClientGone:
            pass
        except Exception:
            log.exception("the application failed")
        finally:
            stream.listener = None
            self._give_back()
            if not stream.answered and not stream.closed:
                stream.connection.reset(stream, INTERNAL_ERROR)

    async def receive(self) -> dict[str, Any]:
        stream = self._stream
        while not self._chunks and (not self._ended or self._said_end) and not stream.closed and not stream.answered:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if stream.closed or stream.answered:
            return _DISCONNECT
        body = self._give_back()
        self._said_end = self._ended
        return {"type": "http.request", "body": body, "more_body": not self._ended}

    def _give_back(self) -> bytes:
        """What has come, which the client may send as much of again."""
        chunks = self._chunks
        if not chunks:
            return b""
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._stream.connection.take(self._stream, len(body))
        return body

    async def send(self, event: dict[str, Any]) -> None:
        stream = self._stream
        if stream.closed:
            raise ClientGone("the client has left")
        kind = event["type"]
        if kind == "http.response.body":
            body, more = event.get("body", b""), event.get("more_body", False)
            last = not more and not self._trailers
            if (body or last) and not stream.send_data(b"" if self._is_head else body, last):
                await self._gone_out()
        elif kind == "http.response.start":
            self._trailers = event.get("trailers", False)
            stream.send_head(event["status"], tuple(event.get("headers", ())))
        elif kind == "http.response.trailers":
            stream.send_trailers(tuple(event["headers"]))
        else:
            raise ValueError(f"an event that is not known here: {kind}")

    @property
    def _is_head(self) -> bool:
        return self._stream.head.method == "HEAD"

    async def _gone_out(self) -> None:
        stream = self._stream
        while stream.queue and not stream.closed:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        if stream.closed:
            raise ClientGone("the client has left")


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _scope(stream: Stream) -> dict[str, Any]:
    head, info = stream.head, stream.connection.info
    extensions: dict[str, Any] = {"http.response.trailers": {}} if head.trailers else {}
    if info.tls is not None:
        extensions["tls"] = info.tls
    return {
        "type": "http",
        "asgi": _VERSION,
        "http_version": "2",
        "method": head.method,
        "scheme": "http" if info.tls is None else "https",
        "path": head.path,
        "raw_path": head.raw_path,
        "query_string": head.query,
        "root_path": "",
        "headers": [*head.headers, (b"host", head.authority)] if head.authority else list(head.headers),
        "client": info.client,
        "server": info.server,
        "extensions": extensions,
    }
