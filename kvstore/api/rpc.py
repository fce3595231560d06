"""What all services share: settings, counters, and the form of a call.

A unary call is `async (context, request bytes) -> answer bytes`; a stream is `async (context, requests, send) -> None`. Both are the same for
gRPC and for the JSON gateway: only what wraps the bytes differs (`grpc_app.py`, `gateway_app.py`).
"""

from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from msgspec import Struct

from keelson.cogs.metrics import Histogram
from kvstore.accounts import Credentials
from kvstore.api.backend import Backend
from kvstore.version import CLUSTER_VERSION, ETCD_VERSION, STORAGE_VERSION
from kvstore.wire.codec import HeaderWriter
from kvstore.wire.limits import MESSAGE_OVERHEAD_BYTES, REQUEST_BYTES_MAX, TXN_OPERATIONS_MAX
from kvstore.wire.messages import METHODS

CLIENT_VERSIONS_MAX = 32
"""More versions than there are: a stranger's inventions cannot fill memory."""


class Settings(Struct, frozen=True):
    request_bytes_max: int = REQUEST_BYTES_MAX
    txn_operations_max: int = TXN_OPERATIONS_MAX
    progress_notify_interval_s: float = 600.0
    election_timeout_s: float = 1.0
    version: str = ETCD_VERSION
    cluster_version: str = CLUSTER_VERSION
    storage_version: str = STORAGE_VERSION
    gateway: bool = True
    client_cert_auth: bool = False
    """Client certificates are required, and their common names are users (AU-7)."""
    cors_origins: tuple[str, ...] = ("*",)
    """Whose pages may call the gateway from a browser."""
    host_whitelist: tuple[str, ...] = ("*",)
    """Which Host names HTTP requests without TLS may ask for."""
    stop_serving_on_defrag: bool = False
    """gRPC health says NOT_SERVING meanwhile (etcd's gate StopGRPCServiceOnDefrag)."""
    reflection: bool = False
    debug_pages: bool = False
    command_line: tuple[str, ...] = ()
    """Told on /debug/vars."""
    slow_request_s: float = 0.3
    """A unary call that takes longer is warned of."""
    access_log: bool = False
    """One line a call to the logger "kvstore.access"."""
    extensive_metrics: bool = False
    held_bytes_max: int = 256 << 20
    """What connections may make us keep, all together (see held.py)."""
    metrics: Callable[[str], tuple[bytes, str]] | None = None
    """Renders the metrics for an Accept header: body and content type."""

    @property
    def message_bytes_max(self) -> int:
        return self.request_bytes_max + MESSAGE_OVERHEAD_BYTES


class Stats:
    """Counts by method path (and code), read by the metrics. Only paths of methods that exist get in here: a stranger's cannot fill memory."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.handled: Counter[tuple[str, str]] = Counter()
        self.received_bytes = 0
        self.sent_bytes = 0
        self.stream_messages_received: Counter[str] = Counter()
        self.stream_messages_sent: Counter[str] = Counter()
        self.client_versions: Counter[tuple[bool, str]] = Counter()
        """Calls by whether they were streams, and the client's own statement of its version; at most CLIENT_VERSIONS_MAX different ones."""
        self.watch_queues: dict[int, deque[bytes]] = {}
        """What waits to be sent, of each watch stream, by the queue's id()."""
        self.health: Counter[bool] = Counter()
        """Answers of /health, by whether all was well."""
        self.checks: Counter[tuple[str, str, bool]] = Counter()
        """Checks of /livez and /readyz: page, check, whether it passed."""
        self.last_check: dict[tuple[str, str], bool] = {}
        self.handling: dict[str, Histogram] | None = None
        """Seconds by path, if somebody wants them (--metrics=extensive)."""

    def note_client_version(self, stream: bool, version: str) -> None:
        known = self.client_versions
        if (stream, version) not in known and len(known) >= CLIENT_VERSIONS_MAX:
            version = "other"
        known[stream, version] += 1

    def note_check(self, page: str, name: str, passed: bool) -> None:
        self.checks[page, name, passed] += 1
        self.last_check[page, name] = passed

    @property
    def open_calls(self) -> int:
        """Under way."""
        return self.started.total() - self.handled.total()

    @property
    def messages_received(self) -> Counter[str]:
        """A unary call has one message, so that only those of streams are counted as they come."""
        return Counter({path: count for path, count in self.started.items() if not _streams(path)}) + self.stream_messages_received

    @property
    def messages_sent(self) -> Counter[str]:
        return (
            Counter({path: count for (path, code), count in self.handled.items() if code == "OK" and not _streams(path)}) + self.stream_messages_sent
        )


def _streams(path: str) -> bool:
    method = METHODS[path]
    return method.client_streams or method.server_streams


class Context(Struct):
    """One call, as the services see it."""

    require_leader: bool = False
    credentials: Credentials | None = None
    """What the client shows of himself, if anything; for the backend to look at."""


Unary = Callable[[Context, bytes], Awaitable[bytes]]
Requests = AsyncIterator[bytes]


class Send(Protocol):
    """Sends messages of a stream, in order; returns when there is room for more."""

    def __call__(self, *messages: bytes) -> Awaitable[None]: ...


Stream = Callable[[Context, Requests, Send], Awaitable[None]]


class Service:
    """Base of the services: the backend and the header that every answer begins with."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.backend = backend
        self.settings = settings
        self._headers = HeaderWriter(backend.header())

    def header(self, revision: int | None = None) -> bytes:
        """Field 1 of an answer; `revision` None: the current one, 0: none."""
        now = self.backend.header()
        return self._headers.write(now.revision if revision is None else revision, now.raft_term)
