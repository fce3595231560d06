"""One request of HTTP/1.1 for the application as ASGI 3 has it: a task, `receive` and `send`.

The answer is written as it comes: with its length if it comes in one piece, else in chunks, for a client of HTTP/1.0 until the connection ends.
`send` returns when the client has taken enough for more. A client that leaves cancels the task, and `send` raises ClientGone from then on.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from kvstore.http.http1_answer import CHUNKED, CLOSE, KEEP_ALIVE, beginning, field, sized
from kvstore.http.http1_body import ChunkedBody, NoBody, SizedBody
from kvstore.http.http1_head import Head, Header
from kvstore.http.limits import App, ClientGone

if TYPE_CHECKING:
    from kvstore.http.http1 import Http1Connection

log = logging.getLogger("kvstore.http")

BODY_AHEAD_BYTES = 64 << 10
"""What may wait for the application of a body; then no more of it is taken."""

Body = NoBody | SizedBody | ChunkedBody

_VERSION = {"version": "3.0", "spec_version": "2.5"}
_DISCONNECT = {"type": "http.disconnect"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_WITHOUT_BODY = frozenset({204, 304})
_FAILED: tuple[int, list[Header], bytes] = (500, [(b"content-type", b"text/plain; charset=utf-8")], b"500 Internal Server Error\n")


class Exchange:
    """A request and its answer."""

    def __init__(self, connection: "Http1Connection", head: Head, body: Body) -> None:
        self.head = head
        self.body = body
        self.is_started = False
        """Something of the answer is on its way."""
        self.is_unary = head.path.startswith(connection.limits.unary_prefixes)
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._content = bytearray()
        self._said_end = self._answered = self._left = self._keeps = self._in_chunks = False
        self._owes_continue = head.expects_continue and not body.done
        self._reader: asyncio.Future[None] | None = None
        self._begin: tuple[int, list[Header]] | None = None

    # --- the connection's side ------------------------------------------------------------------------------------------------

    @property
    def waiting_bytes(self) -> int:
        """Of the body, for the application."""
        return len(self._content)

    def feed(self, buffer: bytearray) -> bool:
        """Take what is the body's from the buffer; whether there may be more to take at once. Raises Refusal."""
        if self.body.done or len(self._content) > BODY_AHEAD_BYTES:
            return False
        content = self.body.take(buffer)
        self._content += content
        return bool(content) and not self.body.done

    def fed(self) -> None:
        """There may be something to receive."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def left(self) -> None:
        """The client is gone."""
        self._left = True
        if self.task is not None:
            self.task.cancel()

    # --- the application's side -----------------------------------------------------------------------------------------------

    async def run(self, app: App) -> None:
        try:
            await app(self._scope(), self.receive, self.send)
        except ClientGone:
            pass
        except Exception:
            log.exception("the application failed")
            self._fail()
        else:
            self._fail()
        finally:
            # An answer that has no end is cut off where the client can see it.
            self._connection.finished(self, self._answered, self._keeps)

    def _fail(self) -> None:
        """Answer for an application that has not begun to."""
        if not self.is_started and not self._left and not self._connection.is_gone:
            status, headers, body = _FAILED
            self._begin = status, headers
            self._write(body, False)

    async def receive(self) -> dict[str, Any]:
        connection = self._connection
        while not self._left and not self._answered and not connection.is_lost:
            if self._content or (self.body.done and not self._said_end):
                body = bytes(self._content)
                self._content.clear()
                self._said_end = self.body.done
                connection.wants_body()
                return {"type": "http.request", "body": body, "more_body": not self._said_end}
            if connection.is_gone:
                break
            if self._owes_continue:
                self._owes_continue = False
                connection.write(_CONTINUE)
            self._reader = connection.loop.create_future()
            await self._reader
        return _DISCONNECT

    async def send(self, event: dict[str, Any]) -> None:
        connection = self._connection
        if self._left or connection.is_lost:
            raise ClientGone("the client has left")
        kind = event["type"]
        if kind == "http.response.start":
            if self._begin is not None:
                raise ValueError("an answer begins once")
            self._begin = event["status"], list(event.get("headers", ()))
        elif kind == "http.response.body":
            if self._begin is None or self._answered:
                raise ValueError("a piece of an answer that has not begun, or has ended")
            self._write(event.get("body", b""), event.get("more_body", False))
            if connection.is_paused:
                await connection.drained(connection.limits.answer_stall_s if self.is_unary else None)
        else:
            raise ValueError(f"an event that is not known here: {kind}")

    def _write(self, body: bytes, more: bool) -> None:
        begin = b"" if self.is_started else self._head_of(body, more)
        self.is_started = True
        self._answered = not more
        if self._is_without_body:
            body = b""
        elif self._in_chunks:
            body = b"".join((b"%x\r\n%b\r\n" % (len(body), body) if body else b"", b"" if more else b"0\r\n\r\n"))
        if begin or body:
            self._connection.write(begin + body)

    @property
    def _is_without_body(self) -> bool:
        assert self._begin is not None
        return self.head.method == "HEAD" or self._begin[0] in _WITHOUT_BODY

    def _head_of(self, body: bytes, more: bool) -> bytes:
        """The answer's head, now that its first piece is there. Decides how it is framed and whether another request may follow."""
        assert self._begin is not None
        status, headers = self._begin
        parts = [beginning(status, headers)]
        if self.head.method == "HEAD":
            # Nothing at all says less than it could, but nothing wrong (RFC 9110, 8.6).
            parts.append(sized(len(body)) if body and not more else b"")
        elif status in _WITHOUT_BODY:
            pass
        elif not more:
            parts.append(sized(len(body)))
        elif self.head.version == "1.1":
            self._in_chunks = True
            parts.append(field(CHUNKED))
        # What is to come of the body would have to be read, whatever its length, before the next request.
        until_close = more and not self._in_chunks and not self._is_without_body
        self._keeps = self.head.keep_alive and self.body.done and not until_close and not self._connection.is_last
        if not self._keeps:
            parts.append(field(CLOSE))
        elif self.head.version == "1.0":
            parts.append(field(KEEP_ALIVE))
        parts.append(b"\r\n")
        return b"".join(parts)

    def _scope(self) -> dict[str, Any]:
        head, info = self.head, self._connection.info
        return {
            "type": "http",
            "asgi": _VERSION,
            "http_version": head.version,
            "method": head.method,
            "scheme": "http" if info.tls is None else "https",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "root_path": "",
            "headers": list(head.headers),
            "client": info.client,
            "server": info.server,
            "extensions": {} if info.tls is None else {"tls": info.tls},
        }
