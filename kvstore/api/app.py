"""The ASGI application: one port, everything on it. gRPC by content type, the gateway under /v3/, health, version and metrics.

Anything may come in here: what is not understood gets a clear status, and nothing here can end the process.
"""

import logging
from typing import Any

from kvstore.api.backend import Backend
from kvstore.api.gateway_app import GatewayApp
from kvstore.api.grpc_app import AsgiSend, GrpcApp, Receive, Scope
from kvstore.api.health import HealthPages
from kvstore.api.rpc import Settings, Stats
from kvstore.api.services import make_services
from kvstore.wire.grpc import header

log = logging.getLogger("kvstore.api")

_NOT_FOUND = (404, "text/plain; charset=utf-8", b"404 page not found\n")


class App:
    """`App(backend, settings)` is the application; `stats` counts what it did."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.stats = Stats()
        unary, streams = make_services(backend, settings)
        self._settings = settings
        self._grpc = GrpcApp(unary, streams, settings, self.stats)
        self._gateway = GatewayApp(unary, streams, settings, self.stats)
        self._health = HealthPages(backend, settings)
        self._grpc_paths = frozenset(unary)

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        if scope["type"] != "http":
            await _refuse_other(scope, receive, send)
            return
        try:
            path = scope["path"]
            # No other path looks like a gRPC method's, so the common case needs no look at the headers.
            if path in self._grpc_paths or (header(scope["headers"], b"content-type") or b"").startswith(b"application/grpc"):
                await self._grpc(scope, receive, send)
            elif path.startswith(("/v3/", "/v3beta/")):
                await self._gateway(scope, receive, send)
            else:
                await self._page(scope, send)
        except Exception:
            log.exception("a request failed")

    async def _page(self, scope: Scope, send: AsgiSend) -> None:
        path = scope["path"]
        if self._health.serves(path):
            status, kind, body = await self._health.answer(path, scope["method"], scope["query_string"])
        elif path == "/metrics" and self._settings.metrics is not None:
            accept = header(scope["headers"], b"accept") or b""
            body, kind = self._settings.metrics(accept.decode("latin-1"))
            status = 200
        else:
            status, kind, body = _NOT_FOUND
        headers = [(b"content-type", kind.encode())]
        if status == 405:
            headers.append((b"allow", b"GET"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _refuse_other(scope: dict[str, Any], receive: Receive, send: AsgiSend) -> None:
    """WebSockets are not served; a lifespan is not needed."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1003})
