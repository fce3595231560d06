"""gRPC requests of the ASGI application: frames in, service, frames and trailers out.

Hot path, so: the answer goes out as soon as the whole message is there, without waiting for the end of the request's stream (on this server
worth a third of the throughput); the constant parts of an answer are shared objects; a deadline costs a timer only when the client sent one.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import perf_counter
from typing import Any

from kvstore.accounts import Credentials
from kvstore.api.admission import Admission
from kvstore.api.calls import Calls, outcome_of
from kvstore.api.held import FREE_ANSWER_BYTES, Held, Share
from kvstore.api.identity import AUTHORIZATION, TOKEN, common_name, credentials_of
from kvstore.api.rpc import Context, Send, Settings, Stats, Stream, Unary
from kvstore.errors import InvalidClientApiVersion
from kvstore.wire.grpc import PREFIX_BYTES, Headers, MessageReader, decompressed, prefixed, timeout_s, too_large, trailers
from kvstore.wire.status import Code, RpcError, describe

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
AsgiSend = Callable[[dict[str, Any]], Awaitable[None]]

_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/grpc")], "trailers": True}
_END = {"type": "http.response.body", "body": b"", "more_body": False}
_OK = {"type": "http.response.trailers", "headers": trailers(Code.OK)}


class Disconnected(Exception):
    """The client went away; there is nobody to answer."""


def while_connected(send: AsgiSend) -> AsgiSend:
    """`send` that raises Disconnected where the server says, as an OSError, that the client is gone."""

    async def send_or_disconnect(event: dict[str, Any]) -> None:
        try:
            await send(event)
        except OSError:
            raise Disconnected from None

    return send_or_disconnect


class GrpcApp:
    def __init__(
        self, unary: dict[str, Unary], streams: dict[str, Stream], admission: Admission, settings: Settings, stats: Stats, calls: Calls, held: Held
    ) -> None:
        self._held = held
        self._unary = unary
        self._streams = streams
        self._admission = admission
        self._bytes_max = settings.message_bytes_max
        self._stats = stats
        self._calls = calls
        self._observed_from_s = calls.observed_from_s
        self._names_are_users = settings.client_cert_auth
        self._services = {path.split("/")[1] for path in [*unary, *streams]}

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        path = scope["path"]
        call = self._unary.get(path)
        if call is not None:
            await self._serve_unary(path, call, scope, receive, send)
        elif path in self._streams:
            await self._serve_stream(path, scope, receive, send)
        else:
            await _fail(send, _unknown(path, self._services))

    # --- unary --------------------------------------------------------------------------------------------------------------

    async def _serve_unary(self, path: str, call: Unary, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        stats = self._stats
        stats.started[path] += 1
        began_s = perf_counter()
        body = message = answer = b""
        context = _PLAIN
        code = Code.CANCELED.words  # of a call that its client ended, whichever way that shows here
        try:
            event = await receive()
            body = event.get("body", b"")
            if len(body) < PREFIX_BYTES or len(body) - PREFIX_BYTES < int.from_bytes(body[1:PREFIX_BYTES], "big"):
                body = await self._rest_of(body, event, receive, scope)
            stats.received_bytes += len(body)
            end = PREFIX_BYTES + int.from_bytes(body[1:PREFIX_BYTES], "big")
            if end - PREFIX_BYTES > self._bytes_max:
                raise too_large(end - PREFIX_BYTES, self._bytes_max)
            context, deadline_s, encoding = metadata(scope["headers"], stats, False)
            message = decompressed(body[0], encoding, body[PREFIX_BYTES:end], self._bytes_max) if body[0] else body[PREFIX_BYTES:end]
            self._admission.check(path, context)
            if self._admission.guarded():
                context = await self._authorize(path, context, scope)
            if deadline_s is None:
                answer = await call(context, message)
            else:
                async with asyncio.timeout(deadline_s):
                    answer = await call(context, message)
        except Disconnected:
            pass
        except Exception as error:
            code = describe(error)[0].words
            await _fail(send, error)
        else:
            code = "OK"
            stats.sent_bytes += len(answer)
            if len(answer) > FREE_ANSWER_BYTES:
                await self._send_large(answer, scope, send)
            else:
                await send(_START)
                await send({"type": "http.response.body", "body": b"\x00" + len(answer).to_bytes(4, "big") + answer})
                await send(_OK)
        finally:
            stats.handled[path, code] += 1
            took_s = perf_counter() - began_s
            if took_s > self._observed_from_s:
                self._calls.ended(scope, path, code, took_s, message, answer, (len(body), len(answer)), context.credentials)

    async def _authorize(self, path: str, context: Context, scope: Scope) -> Context:
        return await self._admission.authorize(path, context, common_name(scope) if self._names_are_users else "")

    async def _send_large(self, answer: bytes, scope: Scope, send: AsgiSend) -> None:
        """As any other, but counted as long as the client does not take it."""
        with Share(self._held, scope["client"]) as share:
            share.set(len(answer))
            await send(_START)
            # In two pieces: joined, there would be two of it.
            await send({"type": "http.response.body", "body": b"\x00" + len(answer).to_bytes(4, "big"), "more_body": True})
            await send({"type": "http.response.body", "body": answer})
            await send(_OK)

    async def _rest_of(self, begin: bytes, event: dict[str, Any], receive: Receive, scope: Scope) -> bytes:
        """At least one whole message; what comes after it does not matter. Refuses one that is too large before its bytes are collected."""
        with Share(self._held, scope["client"]) as share:
            return await self._collected(bytearray(begin), event, receive, share)

    async def _collected(self, body: bytearray, event: dict[str, Any], receive: Receive, share: Share) -> bytes:
        while True:
            if event["type"] == "http.disconnect":
                raise Disconnected
            if len(body) >= PREFIX_BYTES:
                size = int.from_bytes(body[1:PREFIX_BYTES], "big")
                if size > self._bytes_max:
                    raise too_large(size, self._bytes_max)
                if len(body) >= PREFIX_BYTES + size:
                    return bytes(body)
            if not event.get("more_body"):
                raise RpcError(Code.INTERNAL, "grpc: the request ended before its message did")
            share.set(len(body))
            event = await receive()
            body += event.get("body", b"")

    # --- streams ------------------------------------------------------------------------------------------------------------

    async def _serve_stream(self, path: str, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        stats = self._stats
        send = while_connected(send)
        stats.started[path] += 1
        code = Code.CANCELED.words
        started = False
        began_s = perf_counter()
        traffic = _Traffic()
        untaken, incomplete = Share(self._held, scope["client"]), Share(self._held, scope["client"])

        async def send_messages(*messages: bytes) -> None:
            nonlocal started
            if not started:
                started = True
                await send(_START)
            body = prefixed(messages[0]) if len(messages) == 1 else b"".join(map(prefixed, messages))
            stats.stream_messages_sent[path] += len(messages)
            stats.sent_bytes += len(body)
            traffic.sent_bytes += len(body)
            untaken.set(len(body))
            await send({"type": "http.response.body", "body": body, "more_body": True})
            untaken.set(0)

        try:
            await self._call_stream(path, scope, receive, send_messages, traffic, incomplete)
            code = "OK"
            await _finish(send, started, _OK)
        except* Disconnected:
            pass
        except* Exception as group:
            error = innermost(group)
            code = describe(error)[0].words
            await _fail(send, error, started)
        finally:
            untaken.set(0)
            incomplete.set(0)
            stats.handled[path, code] += 1
            took_s = perf_counter() - began_s
            if took_s > self._observed_from_s:
                self._calls.ended(scope, path, code, took_s, None, b"", (traffic.received_bytes, traffic.sent_bytes), traffic.credentials)

    async def _call_stream(self, path: str, scope: Scope, receive: Receive, send_messages: Send, traffic: "_Traffic", incomplete: Share) -> None:
        context, deadline_s, encoding = metadata(scope["headers"], self._stats, True)
        self._admission.check(path, context)
        if self._admission.guarded():
            context = await self._authorize(path, context, scope)
        traffic.credentials = context.credentials
        requests = _requests(receive, MessageReader(self._bytes_max, encoding), self._stats, path, traffic, incomplete)
        async with asyncio.timeout(deadline_s), contextlib.aclosing(requests):
            await self._admission.run_stream(context, self._streams[path](context, requests, send_messages))


class _Traffic:
    """Bytes of one stream, and who has it."""

    __slots__ = ("credentials", "received_bytes", "sent_bytes")

    def __init__(self) -> None:
        self.credentials: Credentials | None = None
        self.received_bytes = self.sent_bytes = 0


async def _finish(send: AsgiSend, started: bool, last: dict[str, Any]) -> None:
    if not started:
        await send(_START)
    await send(_END)
    await send(last)


async def _fail(send: AsgiSend, error: BaseException, started: bool = False) -> None:
    code, text = outcome_of(error)
    with contextlib.suppress(Disconnected, OSError):
        await _finish(send, started, {"type": "http.response.trailers", "headers": trailers(code, text)})


def innermost(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first failure of a stream's tasks: the others followed from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


STAYS_OPEN = frozenset({"/etcdserverpb.Watch/Watch", "/grpc.health.v1.Health/Watch"})
"""Here the client's end of stream is not the end: it only has nothing more to say (W-10)."""


async def _requests(
    receive: Receive, reader: MessageReader, stats: Stats, path: str, traffic: _Traffic, incomplete: Share
) -> AsyncGenerator[bytes, None]:
    """The client's messages."""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Disconnected
        body = event.get("body", b"")
        if body:
            stats.received_bytes += len(body)
            traffic.received_bytes += len(body)
            for message in reader.feed(body):
                stats.stream_messages_received[path] += 1
                yield message
            incomplete.set(reader.held_bytes)
        if not event.get("more_body"):
            if reader.incomplete:
                raise RpcError(Code.INTERNAL, "grpc: the request ended in the middle of a message")
            if path not in STAYS_OPEN:
                return


_CONCERNING = frozenset({b"grpc-timeout", b"hasleader", b"grpc-encoding", b"client-api-version", TOKEN, AUTHORIZATION})
_PLAIN = Context()
_LEADER_REQUIRED = Context(require_leader=True)


def metadata(headers: Headers, stats: Stats, stream: bool) -> tuple[Context, float | None, bytes | None]:
    """What of the request's headers concerns us: context, time left, encoding."""
    context, deadline_s, encoding = _PLAIN, None, None
    token = authorization = None
    for name, value in headers:
        if name not in _CONCERNING:
            continue
        if name == b"grpc-timeout":
            deadline_s = timeout_s(value)
        elif name == b"hasleader":
            context = _LEADER_REQUIRED if value == b"true" else context
        elif name == b"grpc-encoding":
            encoding = value
        elif name == TOKEN:
            token = value if token is None else token
        elif name == AUTHORIZATION:
            authorization = value if authorization is None else authorization
        else:
            stats.note_client_version(stream, client_version(value))
    if token is not None or authorization is not None:
        context = Context(context.require_leader, credentials_of(token, authorization))
    return context, deadline_s, encoding


def client_version(value: bytes) -> str:
    """Any text will do."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidClientApiVersion from None


def _unknown(path: str, services: set[str]) -> RpcError:
    parts = path.split("/")
    if len(parts) != 3:
        return RpcError(Code.UNIMPLEMENTED, f"malformed method name: {path!r}")
    if parts[1] in services:
        return RpcError(Code.UNIMPLEMENTED, f"unknown method {parts[2]} for service {parts[1]}")
    return RpcError(Code.UNIMPLEMENTED, f"unknown service {parts[1]}")
