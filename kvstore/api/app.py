"""The ASGI application: one port, everything on it. gRPC by content type, the gateway under /v3/, health, version and metrics.

Anything may come in here: what is not understood gets a clear status, and nothing here can end the process.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from keelson.cogs.logs import fields
from kvstore.api import swagger
from kvstore.api.admission import Admission
from kvstore.api.backend import Backend
from kvstore.api.calls import Calls
from kvstore.api.cors import Cors
from kvstore.api.debug import DebugPages
from kvstore.api.gateway_app import GatewayApp
from kvstore.api.gateway_keys import GatewayKeys
from kvstore.api.gateway_lane import GatewayLane
from kvstore.api.grpc_app import AsgiSend, Disconnected, GrpcApp, Receive, Scope, while_connected
from kvstore.api.health import Answer, HealthPages
from kvstore.api.held import Held
from kvstore.api.kv import KV
from kvstore.api.lane import Lane
from kvstore.api.rpc import Settings, Stats
from kvstore.api.services import make_services
from kvstore.described import quoted
from kvstore.wire.grpc import header

log = logging.getLogger("kvstore.api")

Application = Callable[[Scope, Receive, AsgiSend], Awaitable[None]]

_TRAILERS = "http.response.trailers"
"""ASGI's word for a request whose answer may end with a status: of HTTP/2, with `te: trailers`. Without that there is no gRPC."""
_NO_TRAILERS: Answer = (400, "text/plain; charset=utf-8", b"gRPC needs the header te: trailers\n")
_NOT_FOUND: Answer = (404, "text/plain; charset=utf-8", b"404 page not found\n")

_REBINDING = """
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist {host}

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).

"""
"""etcd's words (httputil, errCVE20185702)."""


class App:
    """`App(backend, settings)` is the application; `stats` counts what it did."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.stats = Stats()
        self.held = Held(settings.held_bytes_max)
        unary, streams = make_services(backend, settings, self.stats)
        admission = Admission(backend, settings)
        self._backend = backend
        self._settings = settings
        calls = Calls(settings, self.stats, backend.name_of)
        kv = KV(backend, settings)
        keys = GatewayKeys(kv, backend, settings)
        self._cors = Cors(settings.cors_origins)
        self.gateway_lane = GatewayLane(keys, backend, admission, settings, self.stats, calls, self._cors, _later)
        self.gateway_paths = self.gateway_lane.paths
        self.lane = Lane(kv, backend, admission, self.stats, calls, settings.message_bytes_max, _later)
        self.lane_paths = self.lane.paths
        self._grpc = GrpcApp(unary, streams, admission, settings, self.stats, calls, self.held)
        self._gateway = GatewayApp(unary, streams, keys, admission, settings, self.stats, calls, self.held)
        self._health = HealthPages(backend, settings, self.stats)
        self._debug = DebugPages() if settings.debug_pages else None
        self._grpc_paths = frozenset(unary)
        self._whitelist = None if "*" in settings.host_whitelist else frozenset(settings.host_whitelist)

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        if scope["type"] != "http":
            await _refuse_other(scope, receive, send)
            return
        try:
            # No other path looks like a gRPC method's, so the common case needs no look at the headers.
            if (scope["path"] in self._grpc_paths or _says_grpc(scope)) and _TRAILERS in scope["extensions"]:
                await self._grpc(scope, receive, send)
            else:
                await self._serve_http(scope, receive, while_connected(send))
        except (Disconnected, OSError):
            pass  # in the middle of its answer; the calls before have ended or were cancelled
        except Exception:
            log.exception("a request failed")

    async def grpc_only(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """The application on client URLs when HTTP has URLs of its own (--listen-client-http-urls)."""
        if scope["type"] == "http" and scope["path"] not in self._grpc_paths and not _says_grpc(scope):
            await _answer(send, _NOT_FOUND)
        else:
            await self(scope, receive, send)

    async def http_only(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """The application on those."""
        if scope["type"] == "http" and (scope["path"] in self._grpc_paths or _says_grpc(scope)):
            await _answer(send, _NOT_FOUND)
        else:
            await self(scope, receive, send)

    async def observing_only(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """The application on --listen-metrics-urls, which often are open to more people than the client URLs: metrics and health, no keys."""
        if scope["type"] == "http" and (scope["path"] in ("/metrics", "/health") or self._health.is_probe(scope["path"])) and not _says_grpc(scope):
            await self(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(send, _NOT_FOUND)
        else:
            await _refuse_other(scope, receive, send)

    async def _serve_http(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        if self._whitelist is not None and scope.get("scheme") != "https":
            host = hostname((header(scope["headers"], b"host") or b"").decode("latin-1"))
            if host not in self._whitelist:
                log.warning("rejecting HTTP request to prevent DNS rebinding attacks", extra=fields(host=host))
                await _answer(send, (421, "text/plain; charset=utf-8", _REBINDING.format(host=quoted(host.encode())).encode()))
                return
        send, path = self._with_cors(scope, send), scope["path"]
        if scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        elif path.startswith(("/v3/", "/v3beta/")):
            await self._gateway(scope, receive, send)
        else:
            await self._page(scope, send)

    def _with_cors(self, scope: Scope, send: AsgiSend) -> AsgiSend:
        allowed = self._cors.headers_for(scope["headers"])
        if not allowed:
            return send

        async def send_with_cors(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.start":
                event = {**event, "headers": [*event["headers"], *allowed]}
            await send(event)

        return send_with_cors

    async def _page(self, scope: Scope, send: AsgiSend) -> None:
        path = scope["path"]
        headers: list[tuple[bytes, bytes]] = []
        if self._health.serves(path):
            status, kind, body = await self._health.answer(path, scope["method"], scope["query_string"])
        elif path == "/metrics" and self._settings.metrics is not None:
            accept = header(scope["headers"], b"accept") or b""
            body, kind = self._settings.metrics(accept.decode("latin-1"))
            status = 200
        elif path == "/debug/vars":
            status, kind, body = await self._variables()
        elif self._debug is not None and self._debug.serves(path):
            status, kind, body = await self._debug.answer(path, scope["query_string"])
        elif path in swagger.PATHS and self._settings.gateway:
            (status, kind, body), more = swagger.answer(path)
            headers += more
        else:
            status, kind, body = _NO_TRAILERS if scope["http_version"] == "2" and _says_grpc(scope) else _NOT_FOUND
        headers.append((b"content-type", kind.encode()))
        if status == 405:
            headers.append((b"allow", b"GET"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _variables(self) -> Answer:
        """What Go calls expvar, with the two of etcd's that mean something here."""
        status = await self._backend.status()
        raft = {
            "id": f"{self._backend.member_id:x}",
            "term": status.raft_term,
            "commit": status.raft_index,
            "applied": status.raft_applied_index,
            "lead": f"{status.leader:x}",
        }
        content = {"cmdline": self._settings.command_line, "raft.status": raft}
        return 200, "application/json; charset=utf-8", json.dumps(content).encode() + b"\n"


def _later(delay_s: float, function: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(delay_s, function)


def _says_grpc(scope: Scope) -> bool:
    return (header(scope["headers"], b"content-type") or b"").startswith(b"application/grpc")


def hostname(host: str) -> str:
    """Of a Host header: without port, and without brackets around an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


async def _answer(send: AsgiSend, answer: Answer) -> None:
    status, kind, body = answer
    with contextlib.suppress(OSError):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": body})


async def _refuse_other(scope: dict[str, Any], receive: Receive, send: AsgiSend) -> None:
    """WebSockets are not served; a lifespan is not needed."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1003})
