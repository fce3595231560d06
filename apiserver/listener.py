"""HTTP on one connection: aiohttp's, with the bounds of Go's server (a request line and headers of 1 MiB in all, net/http DefaultMaxHeaderBytes) and
with answers that Kubernetes' clients can read to what is no request at all.

The parser bounds each line; what a connection has sent since its last whole head is bounded here, since nobody is known yet who sends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from apiserver.handlers import respond
from apiserver.machinery.status import ApiError, bad_request
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

KEEPALIVE_S = 180.0
"""Longer than clients keep idle connections (client-go 90 s), so that it is they who close them."""
HEAD_BYTES_MAX = 1 << 20
HEADERS_MAX = 1000


def too_large() -> ApiError:
    return ApiError("BadRequest", f"the request line and the headers have more than {HEAD_BYTES_MAX} bytes", code=431)


class Connection(RequestHandler):
    __slots__ = ("_head_bytes",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._head_bytes = 0
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        asked = self._request_count
        is_head = self._is_between_requests()
        super().data_received(data)
        if self._request_count != asked or not is_head:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and self.transport is not None:
            self._refuse()

    def _is_between_requests(self) -> bool:
        """Whether what comes is a head: not a body's, nor a stream's. A head may come while the request before it is still being answered."""
        if self._payload_parser is not None or self._upgraded:
            return False
        if self._messages:
            return self._messages[-1][1].is_eof()
        return self._current_request is None or self._current_request.content.is_eof()

    def _refuse(self) -> None:
        """Half a head is no request that could be answered in the usual way."""
        if self._waiter is None:
            # The answer to another request is on its way.
            if self.transport is not None:
                self.transport.abort()
            return
        body = respond.encode(too_large().status())
        headers = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        assert self.transport is not None
        self.transport.write(f"HTTP/1.1 431 Request Header Fields Too Large\r\n{headers}\r\n".encode() + body)
        self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What the parser did not take, and our own faults. Raises ConnectionError if the answer has begun."""
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer is followed by no other")
        if isinstance(exc, LineTooLong):
            error = too_large()
        elif status < 500:
            error = bad_request(message or "the request is no HTTP/1.1")
        else:
            log.error("a request failed", exc_info=exc, extra=fields(status=status))
            error = ApiError("InternalError", f"Internal error occurred: {type(exc).__name__}")
        answer = respond.failure(error)
        answer.force_close()
        return answer


class HttpServer(web.Server):
    """Makes a `Connection` for each client."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)
