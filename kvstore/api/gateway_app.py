"""The JSON gateway of the ASGI application: the same services as gRPC, called with bytes made from JSON (`wire.gateway`)."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from kvstore.api.grpc_app import AsgiSend, Disconnected, Receive, Scope
from kvstore.api.rpc import Context, Settings, Stats, Stream, Unary
from kvstore.wire.gateway import PATHS, as_object, error_object, parse_json, split_objects, write_json
from kvstore.wire.grpc import header, timeout_s, too_large
from kvstore.wire.messages import Method
from kvstore.wire.status import HTTP_STATUS, Code, RpcError, describe

_JSON = (b"content-type", b"application/json")
_METADATA = (b"grpc-metadata-content-type", b"application/grpc")


class GatewayApp:
    def __init__(self, unary: dict[str, Unary], streams: dict[str, Stream], settings: Settings, stats: Stats) -> None:
        self._unary = unary
        self._streams = streams
        self._settings = settings
        self._stats = stats
        # Base64 makes four bytes of three, and a body has names around them.
        self._body_bytes_max = settings.message_bytes_max * 4 // 3 + (64 << 10)

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        path = scope["path"]
        if path.startswith("/v3beta/"):
            path = "/v3/" + path.removeprefix("/v3beta/")
        method = PATHS.get(path)
        if not self._settings.gateway or method is None:
            await _reply(send, 404, {"code": int(Code.NOT_FOUND), "message": "Not Found"})
            return
        if scope["method"] == "OPTIONS":
            await _reply(send, 200, {})
            return
        if scope["method"] != "POST":
            await _reply(send, 501, {"code": int(Code.UNIMPLEMENTED), "message": "Method Not Allowed"})
            return
        self._stats.started[method.path] += 1
        code = Code.OK
        try:
            context, deadline_s = _metadata(scope["headers"])
            text = await self._body(receive)
            async with asyncio.timeout(deadline_s):
                if method.path in self._unary:
                    await self._call_unary(method, context, text, send)
                else:
                    code = await self._call_stream(method, context, text, receive, send)
        except Disconnected:
            code = Code.CANCELED
        except Exception as error:
            code, words = describe(error)
            await _reply(send, HTTP_STATUS[code], error_object(code, words))
        self._stats.handled[method.path, code.words] += 1

    async def _body(self, receive: Receive) -> str:
        body = bytearray()
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Disconnected
            body += event.get("body", b"")
            if len(body) > self._body_bytes_max:
                raise too_large(len(body), self._body_bytes_max)
            if not event.get("more_body"):
                break
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"proto: invalid UTF-8: {error}") from error

    async def _call_unary(self, method: Method, context: Context, text: str, send: AsgiSend) -> None:
        objects = split_objects(text)
        request = parse_json(method.request, objects[0] if objects else "")
        answer = await self._unary[method.path](context, request.SerializeToString())
        body = write_json(method.response.FromString(answer))
        await send({"type": "http.response.start", "status": 200, "headers": [_JSON, _METADATA]})
        await send({"type": "http.response.body", "body": body})

    async def _call_stream(self, method: Method, context: Context, text: str, receive: Receive, send: AsgiSend) -> Code:
        """One line a message; a failure after the first is a last line, before it the answer itself (etcd-api 4.4)."""
        requests = [parse_json(method.request, part).SerializeToString() for part in split_objects(text)]
        if not method.client_streams and not requests:
            requests = [b""]
        started = False

        async def send_line(message: bytes) -> None:
            nonlocal started
            if not started:
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": [_JSON, _METADATA]})
            line = json.dumps({"result": as_object(method.response.FromString(message))}, separators=(",", ":"), ensure_ascii=False)
            await send({"type": "http.response.body", "body": line.encode() + b"\n", "more_body": True})

        stays_open = method.path == "/etcdserverpb.Watch/Watch"
        try:
            await self._streams[method.path](context, _requests(requests, receive, stays_open), send_line)
            code, words = Code.OK, ""
        except BaseExceptionGroup as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            if isinstance(error, Disconnected):
                raise error from None
            code, words = describe(error)
        except Disconnected:
            raise
        except Exception as error:
            code, words = describe(error)
        if code is not Code.OK:
            failure = {"error": {"code": int(code), "message": words}}
            if not started:
                await _reply(send, HTTP_STATUS[code], failure)
                return code
            await send({"type": "http.response.body", "body": json.dumps(failure).encode() + b"\n", "more_body": True})
        elif not started:
            await send({"type": "http.response.start", "status": 200, "headers": [_JSON, _METADATA]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return code


async def _requests(requests: list[bytes], receive: Receive, stays_open: bool) -> AsyncGenerator[bytes, None]:
    """What the body held; a watch then stays until the client goes."""
    for request in requests:
        yield request
    while stays_open:
        if (await receive())["type"] == "http.disconnect":
            raise Disconnected


def _metadata(headers: list[tuple[bytes, bytes]]) -> tuple[Context, float | None]:
    deadline = header(headers, b"grpc-timeout")
    require_leader = header(headers, b"grpc-metadata-hasleader") == b"true"
    return Context(require_leader), None if deadline is None else timeout_s(deadline)


async def _reply(send: AsgiSend, status: int, content: dict[str, Any]) -> None:
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    headers = [_JSON]
    if status == HTTP_STATUS[Code.UNAUTHENTICATED]:
        headers.append((b"www-authenticate", str(content.get("message", "")).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
