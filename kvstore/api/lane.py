"""The lane: requests for keys over gRPC without coroutine, task, future or ASGI event, which together cost more than the request itself.

The server asks `lane(call)` when a call's message is whole (kvstore/http/lane.py has the words). Taken are the four methods of KV while
authentication is off; `GrpcApp` serves all others, and both answer alike. Who traces wraps the application, and has no lane.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from kvstore.api.admission import Admission
from kvstore.api.backend import Backend
from kvstore.api.calls import Calls
from kvstore.api.grpc_app import metadata
from kvstore.api.kv import KV
from kvstore.api.pending import Later, Pending
from kvstore.api.rpc import Context, Stats
from kvstore.http.lane import Call, Head
from kvstore.wire.grpc import PREFIX_BYTES, too_large, trailers
from kvstore.wire.status import Code


class Plan(Struct, frozen=True):
    """What a head says of its calls."""

    path: str
    request_of: Callable[[bytes], Any]
    answer_of: Callable[[Any], bytes]
    context: Context
    deadline_s: float | None
    ok: tuple[str, str]
    """How a call that went well is counted."""


class Lane:
    def __init__(self, kv: KV, backend: Backend, admission: Admission, stats: Stats, calls: Calls, message_bytes_max: int, later: Later) -> None:
        self._methods: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
            "/etcdserverpb.KV/Range": (kv.range_request, kv.range_answer),
            "/etcdserverpb.KV/Put": (kv.put_request, kv.put_answer),
            "/etcdserverpb.KV/DeleteRange": (kv.delete_range_request, kv.delete_range_answer),
            "/etcdserverpb.KV/Txn": (kv.txn_request, kv.txn_answer),
        }
        self.paths = frozenset(self._methods)
        self.later = later
        self.stats = stats
        self.calls = calls
        self._start = backend.start
        self._guarded = admission.guarded
        self._check = admission.check
        self._bytes_max = message_bytes_max

    def __call__(self, call: Call) -> bool:
        head = call.head
        if self._guarded():
            return False
        pending = call.taker = PendingCall(self, call)
        try:
            plan = head.memo or self._plan(head)
            pending.plan = plan
            self._check(plan.path, plan.context)
            body = call.body
            end = PREFIX_BYTES + int.from_bytes(body[1:PREFIX_BYTES], "big")
            if end - PREFIX_BYTES > self._bytes_max:
                raise too_large(end - PREFIX_BYTES, self._bytes_max)
            request = plan.request_of(body[PREFIX_BYTES:end])
            if plan.deadline_s is not None:
                pending.timer = self.later(plan.deadline_s, pending.expire)
            self._start(request, pending)
        except Exception as error:
            pending.set_exception(error)
        return True

    def _plan(self, head: Head) -> Plan:
        """Raises RpcError for metadata that cannot be understood."""
        context, deadline_s, _ = metadata(head.headers, self.stats, False)
        request_of, answer_of = self._methods[head.path]
        plan = Plan(head.path, request_of, answer_of, context, deadline_s, (head.path, "OK"))
        if not any(name == b"client-api-version" for name, _ in head.headers):
            head.memo = plan  # else it is made for each call, which counts the version
        return plan


class PendingCall(Pending):
    __slots__ = ("_call", "_lane", "plan")

    def __init__(self, lane: Lane, call: Call) -> None:
        super().__init__()
        self._lane = lane
        self._call = call
        self.plan: Plan | None = None
        lane.stats.started[call.head.path] += 1

    def set_result(self, result: Any) -> None:
        plan = self.plan
        assert plan is not None, "asked after it was made"
        try:
            answer = plan.answer_of(result)
        except Exception as error:
            self.set_exception(error)
            return
        self._call.answer(answer)
        self._end(plan.ok, answer)

    def _fail(self, code: Code, text: str) -> None:
        self._call.fail(trailers(code, text))
        self._end((self._call.head.path, code.words), b"")

    def left(self) -> None:
        """The client does not wait any more."""
        if not self._done:
            self._end((self._call.head.path, Code.CANCELED.words), b"")

    def _end(self, how: tuple[str, str], answer: bytes) -> None:
        took_s = self._close()
        lane = self._lane
        stats, calls, call = lane.stats, lane.calls, self._call
        stats.received_bytes += len(call.body)
        stats.sent_bytes += len(answer)
        stats.handled[how] += 1
        if took_s > calls.observed_from_s:
            credentials = None if self.plan is None else self.plan.context.credentials
            scope = {"path": call.head.path, "client": call.client}
            calls.ended(scope, call.head.path, how[1], took_s, call.body[PREFIX_BYTES:], answer, (len(call.body), len(answer)), credentials)
