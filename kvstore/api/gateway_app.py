"""The JSON gateway of the ASGI application: the same services as gRPC, called with bytes made from JSON (`wire.gateway`)."""

import asyncio
import codecs
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from time import perf_counter
from typing import Any

from kvstore.api.admission import Admission
from kvstore.api.calls import Calls, outcome_of
from kvstore.api.gateway_keys import GatewayKeys, text_of
from kvstore.api.grpc_app import STAYS_OPEN, AsgiSend, Disconnected, Receive, Scope, client_version, innermost
from kvstore.api.held import Held, Share
from kvstore.api.identity import AUTHORIZATION, common_name, credentials_of
from kvstore.api.rpc import Context, Settings, Stats, Stream, Unary
from kvstore.wire.gateway import PATHS, ObjectSplitter, error_object, parse_json, parse_request, write_json
from kvstore.wire.grpc import Headers, timeout_s, too_large
from kvstore.wire.messages import Method
from kvstore.wire.status import HTTP_STATUS, Code, RpcError

JSON = (b"content-type", b"application/json")
METADATA = (b"grpc-metadata-content-type", b"application/grpc")
_COMMON_NAME_IGNORED = b"CommonName of client sending a request against gateway will be ignored and not used as expected\n"
_END = {"type": "http.response.body", "body": b"", "more_body": False}


class GatewayApp:
    def __init__(
        self,
        unary: dict[str, Unary],
        streams: dict[str, Stream],
        keys: GatewayKeys,
        admission: Admission,
        settings: Settings,
        stats: Stats,
        calls: Calls,
        held: Held,
    ) -> None:
        self._held = held
        self._keys = keys.by_path
        self._unary = unary
        self._streams = streams
        self._admission = admission
        self._stats = stats
        self._calls = calls
        self._names_are_users = settings.client_cert_auth
        self._paths = PATHS if settings.gateway else {}
        # Base64 makes four bytes of three, and a body has names around them.
        self._body_bytes_max = settings.message_bytes_max * 4 // 3 + (64 << 10)

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        path = scope["path"]
        if path.startswith("/v3beta/"):
            path = "/v3/" + path.removeprefix("/v3beta/")
        method = self._paths.get(path)
        if method is None:
            await _reply(send, 404, {"code": int(Code.NOT_FOUND), "message": "Not Found"})
        elif scope["method"] != "POST":
            await _reply(send, 501, {"code": int(Code.UNIMPLEMENTED), "message": "Method Not Allowed"})
        elif self._names_are_users and self._admission.guarded() and common_name(scope):
            # Over the gateway a certificate names nobody; whoever relies on that is told, token or not (AU-7).
            await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
            await send({"type": "http.response.body", "body": _COMMON_NAME_IGNORED})
        else:
            await self._serve(method, scope, receive, send)

    async def _serve(self, method: Method, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        stats, path = self._stats, method.path
        stats.started[path] += 1
        began_s = perf_counter()
        code = Code.CANCELED.words
        carried = _Carried()
        context = Context()
        answer = _Lines(method, send, stats) if path in self._streams else None
        try:
            context, deadline_s = metadata(scope["headers"], stats, answer is not None)
            self._admission.check(path, context)
            if self._admission.guarded():
                context = await self._admission.authorize(path, context)
            async with asyncio.timeout(deadline_s):
                if answer is None:
                    with Share(self._held, scope["client"]) as share:
                        await self._call_unary(method, context, receive, send, share, carried)
                else:
                    await self._call_stream(method, context, receive, answer)
            code = "OK"
        except* Disconnected:
            pass
        except* Exception as group:
            error = innermost(group)
            told, text = outcome_of(error)
            code = told.words
            with contextlib.suppress(Disconnected):
                await (_reply(send, HTTP_STATUS[told], error_object(told, text)) if answer is None else answer.fail(told, text))
        finally:
            stats.handled[path, code] += 1
            took_s = perf_counter() - began_s
            if took_s > self._calls.observed_from_s:
                request, given = carried.by()
                self._calls.ended(
                    scope, path, code, took_s, request if answer is None else None, given, (len(request), len(given)), context.credentials
                )

    async def _call_unary(self, method: Method, context: Context, receive: Receive, send: AsgiSend, share: Share, carried: "_Carried") -> None:
        data = await self._whole(receive, share)
        keys = self._keys.get(method.path)
        if keys is None:
            request = parse_request(method.request, text_of(data)).SerializeToString()
            answer = await self._unary[method.path](context, request)
            carried.by = lambda: (request, answer)
            body = write_json(method.response.FromString(answer))
        else:
            carried.by = lambda: keys.as_grpc(data, None)
            result = await keys.ask(keys.read(data), context.credentials)
            carried.by = lambda: keys.as_grpc(data, result)
            body = keys.write(result)
        share.set(len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [JSON, METADATA]})
        await send({"type": "http.response.body", "body": body})

    async def _call_stream(self, method: Method, context: Context, receive: Receive, answer: "_Lines") -> None:
        requests = self._requests(method, receive)
        async with contextlib.aclosing(requests):
            await self._admission.run_stream(context, self._streams[method.path](context, requests, answer.send))
        await answer.finish()

    async def _pieces(self, receive: Receive) -> AsyncGenerator[tuple[bytes, bool], None]:
        """Of the body as it comes, and whether there are more."""
        size, more = 0, True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Disconnected
            data, more = event.get("body", b""), event.get("more_body", False)
            size += len(data)
            if size > self._body_bytes_max:
                raise too_large(size, self._body_bytes_max)
            yield data, more

    async def _whole(self, receive: Receive, share: Share) -> bytes:
        pieces, size = [], 0
        async for data, _ in self._pieces(receive):
            pieces.append(data)
            size += len(data)
            share.set(size)
        return b"".join(pieces)

    async def _texts(self, receive: Receive) -> AsyncGenerator[str, None]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        async for data, more in self._pieces(receive):
            try:
                yield decoder.decode(data, final=not more)
            except UnicodeDecodeError as error:
                raise RpcError(Code.INVALID_ARGUMENT, f"proto: invalid UTF-8: {error}") from error

    async def _requests(self, method: Method, receive: Receive) -> AsyncGenerator[bytes, None]:
        """Each object as soon as it is there. A watch whose body has ended stays until its client goes (W-10)."""
        splitter = ObjectSplitter()
        nothing = True
        async for text in self._texts(receive):
            for found in splitter.feed(text):
                nothing = False
                self._stats.stream_messages_received[method.path] += 1
                yield parse_json(method.request, found).SerializeToString()
        splitter.finish()
        if nothing and not method.client_streams:
            yield b""
        while method.path in STAYS_OPEN:
            if (await receive())["type"] == "http.disconnect":
                raise Disconnected


class _Carried:
    """A unary call's request and answer as gRPC would have carried them, for who reports on it: made only if somebody does."""

    def __init__(self) -> None:
        self.by: Callable[[], tuple[bytes, bytes]] = lambda: (b"", b"")


class _Lines:
    """The answer of a stream: one line a message. A failure is a last line, or the whole answer if nothing came before (etcd-api 4.4)."""

    def __init__(self, method: Method, send: AsgiSend, stats: Stats) -> None:
        self._method = method
        self._send = send
        self._stats = stats
        self._started = False

    async def send(self, *messages: bytes) -> None:
        self._stats.stream_messages_sent[self._method.path] += len(messages)
        for message in messages:
            await self._line(b'{"result":%s}' % write_json(self._method.response.FromString(message)))

    async def finish(self) -> None:
        await self._start(200)
        await self._send(_END)

    async def fail(self, code: Code, text: str) -> None:
        await self._start(HTTP_STATUS[code])
        await self._line(error_text({"error": {"code": int(code), "message": text}}))
        await self._send(_END)

    async def _start(self, status: int) -> None:
        if not self._started:
            self._started = True
            await self._send({"type": "http.response.start", "status": status, "headers": [JSON, METADATA]})

    async def _line(self, text: bytes) -> None:
        await self._start(200)
        await self._send({"type": "http.response.body", "body": text + b"\n", "more_body": True})


def metadata(headers: Headers, stats: Stats, stream: bool) -> tuple[Context, float | None]:
    """Of a client's metadata, which come as headers with a prefix; and its deadline (etcd-api 4.5)."""
    require_leader, deadline_s = False, None
    token = authorization = None
    for name, value in headers:
        if name == b"grpc-timeout":
            try:
                deadline_s = timeout_s(value)
            except RpcError:
                raise RpcError(Code.INVALID_ARGUMENT, f"invalid grpc-timeout: {value.decode(errors='replace')}") from None
        elif name == b"grpc-metadata-hasleader":
            require_leader = value == b"true"
        elif name == b"grpc-metadata-client-api-version":
            stats.note_client_version(stream, client_version(value))
        elif name == b"grpc-metadata-token":
            token = value if token is None else token
        elif name in (AUTHORIZATION, b"grpc-metadata-authorization"):
            authorization = value if authorization is None else authorization
    return Context(require_leader, credentials_of(token, authorization)), deadline_s


async def _reply(send: AsgiSend, status: int, content: dict[str, Any]) -> None:
    body = error_text(content)
    headers = [JSON]
    if status == HTTP_STATUS[Code.UNAUTHENTICATED]:
        headers.append((b"www-authenticate", str(content.get("message", "")).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def error_text(content: dict[str, Any]) -> bytes:
    """What an error repeats of a request may hold halves of surrogate pairs, which no encoding has."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
