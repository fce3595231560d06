"""What all services share: settings, counters, and the form of a call.

A unary call is `async (context, request bytes) -> answer bytes`; a stream is `async (context, requests, send) -> None`. Both are the same for
gRPC and for the JSON gateway: only what wraps the bytes differs (`grpc_app.py`, `gateway_app.py`).
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct

from kvstore.api.backend import Backend
from kvstore.errors import NoLeader, NotSupportedForLearner
from kvstore.version import CLUSTER_VERSION, ETCD_VERSION, STORAGE_VERSION
from kvstore.wire.codec import HeaderWriter
from kvstore.wire.limits import MESSAGE_OVERHEAD_BYTES, REQUEST_BYTES_MAX, TXN_OPERATIONS_MAX


class Settings(Struct, frozen=True):
    request_bytes_max: int = REQUEST_BYTES_MAX
    txn_operations_max: int = TXN_OPERATIONS_MAX
    progress_notify_interval_s: float = 600.0
    election_timeout_s: float = 1.0
    version: str = ETCD_VERSION
    cluster_version: str = CLUSTER_VERSION
    storage_version: str = STORAGE_VERSION
    gateway: bool = True
    metrics: Callable[[str], tuple[bytes, str]] | None = None
    """Renders the metrics for an Accept header: body and content type."""

    @property
    def message_bytes_max(self) -> int:
        return self.request_bytes_max + MESSAGE_OVERHEAD_BYTES


class Stats:
    """Counts by method path (and code), read by the metrics."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.handled: Counter[tuple[str, str]] = Counter()
        self.received_bytes = 0
        self.sent_bytes = 0
        self.messages_received: Counter[str] = Counter()
        self.messages_sent: Counter[str] = Counter()
        self.watch_streams = 0


class Context(Struct):
    """One call, as the services see it."""

    require_leader: bool = False


Unary = Callable[[Context, bytes], Awaitable[bytes]]
Requests = AsyncIterator[bytes]
Send = Callable[[bytes], Awaitable[None]]
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

    def check_leader(self, context: Context) -> None:
        """The client asked not to be served by a member without a leader (metadata `hasleader`)."""
        if context.require_leader and not self.backend.leader():
            raise NoLeader

    def refuse_on_learner(self) -> None:
        if self.backend.is_learner():
            raise NotSupportedForLearner
