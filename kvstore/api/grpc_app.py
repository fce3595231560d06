"""gRPC requests of the ASGI application: frames in, service, frames and trailers out.

Hot path, so: the answer goes out as soon as the whole message is there, without waiting for the end of the request's stream (on this server
worth a third of the throughput); the constant parts of an answer are shared objects; a deadline costs a timer only when the client sent one.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from kvstore.api.rpc import Context, Settings, Stats, Stream, Unary
from kvstore.wire.grpc import PREFIX_BYTES, MessageReader, decompress, prefixed, timeout_s, too_large, trailers
from kvstore.wire.messages import METHODS
from kvstore.wire.status import Code, RpcError, describe

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
AsgiSend = Callable[[dict[str, Any]], Awaitable[None]]

_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/grpc")], "trailers": True}
_END = {"type": "http.response.body", "body": b"", "more_body": False}
_OK = {"type": "http.response.trailers", "headers": trailers(Code.OK)}


class Disconnected(Exception):
    """The client went away; there is nobody to answer."""


class GrpcApp:
    def __init__(self, unary: dict[str, Unary], streams: dict[str, Stream], settings: Settings, stats: Stats) -> None:
        self._unary = unary
        self._streams = streams
        self._settings = settings
        self._stats = stats
        self._services = {path.split("/")[1] for path in METHODS}

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        path = scope["path"]
        call = self._unary.get(path)
        self._stats.started[path] += 1
        try:
            if call is not None:
                answer = await self._call_unary(call, scope, receive)
                await send(_START)
                await send({"type": "http.response.body", "body": b"\x00" + len(answer).to_bytes(4, "big") + answer})
                self._stats.sent_bytes += len(answer)
            else:
                await self._call_stream(path, scope, receive, send)
            await send(_OK)
            code = Code.OK
        except Disconnected:
            code = Code.CANCELED
        except _Failed as failed:
            code = failed.code
            await send(_END)
            await send({"type": "http.response.trailers", "headers": trailers(failed.code, failed.text)})
        except Exception as error:
            code, text = describe(error)
            await send(_START)
            await send(_END)
            await send({"type": "http.response.trailers", "headers": trailers(code, text)})
            if code is Code.INTERNAL and not isinstance(error, RpcError):
                raise
        self._stats.handled[path, code.words] += 1

    async def _call_unary(self, call: Unary, scope: Scope, receive: Receive) -> bytes:
        event = await receive()
        body: bytes = event.get("body", b"")
        while len(body) < PREFIX_BYTES or len(body) < PREFIX_BYTES + int.from_bytes(body[1:PREFIX_BYTES], "big"):
            if len(body) >= PREFIX_BYTES and int.from_bytes(body[1:PREFIX_BYTES], "big") > self._settings.message_bytes_max:
                raise too_large(int.from_bytes(body[1:PREFIX_BYTES], "big"), self._settings.message_bytes_max)
            if event["type"] == "http.disconnect":
                raise Disconnected
            if not event.get("more_body"):
                raise RpcError(Code.INTERNAL, "grpc: the request ended before its message did")
            event = await receive()
            body += event.get("body", b"")
        size = int.from_bytes(body[1:PREFIX_BYTES], "big")
        if size > self._settings.message_bytes_max:
            raise too_large(size, self._settings.message_bytes_max)
        message = body[PREFIX_BYTES : PREFIX_BYTES + size]
        self._stats.received_bytes += len(body)
        context, deadline_s, encoding = _metadata(scope["headers"])
        if body[0]:
            message = decompress(encoding, message, self._settings.message_bytes_max)
        if deadline_s is None:
            return await call(context, message)
        async with asyncio.timeout(deadline_s):
            return await call(context, message)

    async def _call_stream(self, path: str, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        stream = self._streams.get(path)
        if stream is None:
            raise _unknown(path, self._services)
        context, deadline_s, encoding = _metadata(scope["headers"])
        stats = self._stats
        started = False

        async def send_message(message: bytes) -> None:
            nonlocal started
            if not started:
                started = True
                await send(_START)
            stats.messages_sent[path] += 1
            stats.sent_bytes += len(message)
            await send({"type": "http.response.body", "body": prefixed(message), "more_body": True})

        stays_open = METHODS[path].client_streams and path == "/etcdserverpb.Watch/Watch"
        requests = _requests(receive, MessageReader(self._settings.message_bytes_max, encoding), stats, path, stays_open)
        try:
            async with asyncio.timeout(deadline_s):
                await stream(context, requests, send_message)
        except Disconnected:
            raise
        except BaseExceptionGroup as group:
            raise _flattened(group, started) from None
        except Exception as error:
            if started:
                raise _Failed(*describe(error)) from error
            raise
        finally:
            with contextlib.suppress(RuntimeError):
                await requests.aclose()
        if not started:
            await send(_START)
        await send(_END)


class _Failed(Exception):
    """A stream failed after its answer had begun."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def _flattened(group: BaseExceptionGroup[BaseException], started: bool) -> BaseException:
    """The one failure that matters of a stream's tasks."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Disconnected) or not started:
        return error
    return _Failed(*describe(error))


async def _requests(receive: Receive, reader: MessageReader, stats: Stats, path: str, stays_open: bool) -> AsyncGenerator[bytes, None]:
    """The client's messages. `stays_open`: its end of stream is not the end, it only has nothing more to say (W-10)."""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Disconnected
        body = event.get("body", b"")
        if body:
            stats.received_bytes += len(body)
            for message in reader.feed(body):
                stats.messages_received[path] += 1
                yield message
        if not event.get("more_body"):
            if reader.incomplete:
                raise RpcError(Code.INTERNAL, "grpc: the request ended in the middle of a message")
            if not stays_open:
                return


_PLAIN = Context()
_LEADER_REQUIRED = Context(require_leader=True)


def _metadata(headers: list[tuple[bytes, bytes]]) -> tuple[Context, float | None, bytes | None]:
    """What of the request's headers concerns us: context, time left, encoding."""
    context, deadline_s, encoding = _PLAIN, None, None
    for name, value in headers:
        if name == b"grpc-timeout":
            deadline_s = timeout_s(value)
        elif name == b"hasleader" and value == b"true":
            context = _LEADER_REQUIRED
        elif name == b"grpc-encoding":
            encoding = value
    return context, deadline_s, encoding


def _unknown(path: str, services: set[str]) -> RpcError:
    parts = path.split("/")
    if len(parts) != 3:
        return RpcError(Code.UNIMPLEMENTED, f"malformed method name: {path!r}")
    if parts[1] in services:
        return RpcError(Code.UNIMPLEMENTED, f"unknown method {parts[2]} for service {parts[1]}")
    return RpcError(Code.UNIMPLEMENTED, f"unknown service {parts[1]}")
