"""OpenTelemetry traces (--enable-distributed-tracing): a span for every gRPC call and gateway call, below it one for what it waited for.

Everything is wrapped from outside: without the flag nothing of this is even imported. A caller's `traceparent` is the parent; what has none
is sampled by --distributed-tracing-sampling-rate (per million; the default 0 traces only what callers trace), as in etcd (embed/config_tracing.go).
Spans carry no keys, values, names of users or tokens. They go to the collector by OTLP over gRPC from a thread of the SDK's, which drops what
it cannot send.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from kvstore.accounts import Who
from kvstore.api.app import Application
from kvstore.api.grpc_app import AsgiSend, Receive, Scope
from kvstore.server.backend import MemberBackend
from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.config import TracingSettings
from kvstore.version import KEELSON_VERSION
from kvstore.wire.gateway import PATHS
from kvstore.wire.messages import METHODS
from kvstore.wire.status import HTTP_STATUS, Code

if TYPE_CHECKING:
    from opentelemetry.context import Context as TraceContext
    from opentelemetry.trace import Span, Tracer

PER_MILLION = 1_000_000
FLUSH_MS_MAX = 3000

_SERVERS_FAULT = frozenset({Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS})
"""With these a server's span is one of an error (semantic conventions for gRPC)."""

_PROPAGATED = frozenset({b"traceparent", b"tracestate"})


class Tracing:
    """Raises ConfigurationError if the packages are missing."""

    def __init__(self, settings: TracingSettings) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
        except ImportError as error:
            raise ConfigurationError(
                f"--enable-distributed-tracing needs OpenTelemetry's packages ({error}): pip install 'keelson[tracing]'"
            ) from error
        ratio = settings.samples_per_million / PER_MILLION
        attributes = {"service.name": settings.service_name, "service.version": KEELSON_VERSION}
        if settings.instance_id:
            attributes["service.instance.id"] = settings.instance_id
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio) if ratio else ALWAYS_OFF),
            resource=Resource.create(attributes),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.address, insecure=True)))
        self.tracer: Tracer = self._provider.get_tracer("keelson", KEELSON_VERSION)

    def wrap(self, app: Application) -> Application:
        return TracedApp(app, self.tracer)

    def close(self) -> None:
        """Send what is left, for a while; blocks."""
        self._provider.force_flush(FLUSH_MS_MAX)
        self._provider.shutdown()


class TracedApp:
    """An ASGI application with a span around each call of a method; everything else passes."""

    def __init__(self, app: Application, tracer: "Tracer") -> None:
        from opentelemetry.trace import SpanKind, use_span
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app = app
        self._tracer = tracer
        self._use_span = use_span
        self._server = SpanKind.SERVER
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        path = scope.get("path", "")
        method = METHODS.get(path) or PATHS.get(path)
        if scope["type"] != "http" or method is None:
            await self._app(scope, receive, send)
            return
        over_http = path in PATHS
        attributes: dict[str, str | int] = {"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.name}
        if client := scope.get("client"):
            attributes |= {"network.peer.address": client[0], "network.peer.port": client[1]}
        if over_http:
            attributes |= {"http.request.method": scope["method"], "url.path": path}
        span = self._tracer.start_span(method.path.removeprefix("/"), self._parent(scope), self._server, attributes)

        async def watched(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.trailers":
                _note_status(span, next((int(value) for name, value in event["headers"] if name == b"grpc-status"), 0))
            elif over_http and event["type"] == "http.response.start":
                _note_http_status(span, event["status"])
            await send(event)

        with self._use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            await self._app(scope, receive, watched)

    def _parent(self, scope: Scope) -> "TraceContext":
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _PROPAGATED}
        return self._propagator.extract(carrier)


def _note_status(span: "Span", number: int) -> None:
    span.set_attribute("rpc.grpc.status_code", number)
    if number in _SERVERS_FAULT:
        from opentelemetry.trace import StatusCode

        span.set_status(StatusCode.ERROR, Code(number).words)


def _note_http_status(span: "Span", status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= HTTP_STATUS[Code.INTERNAL]:
        from opentelemetry.trace import StatusCode

        span.set_status(StatusCode.ERROR)


class TracedBackend(MemberBackend):
    """The backend with a span around each wait for the member."""

    tracer: "Tracer"

    async def _spanned(self, name: str, request: Any, waited: Awaitable[Any]) -> Any:
        with self.tracer.start_as_current_span(name, attributes={"keelson.request": type(request).__name__}):
            return await waited

    def _propose(self, command: Any, who: Who = None) -> Awaitable[Any]:
        return self._spanned("propose and apply", command, super()._propose(command, who))

    def _read(self, request: Any, who: Who = None) -> Awaitable[Any]:
        return self._spanned("read index and read", request, super()._read(request, who))

    def _read_serializable(self, request: Any, who: Who = None) -> Awaitable[Any]:
        return self._spanned("serializable read", request, super()._read_serializable(request, who))

    def _ask_lease(self, request: Any, who: Who) -> Awaitable[Any]:
        return self._spanned("ask the leader for a lease", request, super()._ask_lease(request, who))
