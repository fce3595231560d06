"""The gateway's lane: requests for keys as JSON over HTTP/1.1 without coroutine, task, future or ASGI event (see kvstore/http/http1.py).

Taken are the four calls about keys from callers who show nothing of themselves, while authentication is off; `GatewayApp` serves all others, and both
answer alike.
"""

from typing import Any

from msgspec import Struct

from kvstore.api.admission import Admission
from kvstore.api.backend import Backend
from kvstore.api.calls import Calls
from kvstore.api.cors import Cors
from kvstore.api.gateway_app import JSON, METADATA, error_text, metadata
from kvstore.api.gateway_keys import GatewayKeys, Keys
from kvstore.api.pending import Later, Pending
from kvstore.api.rpc import Context, Settings, Stats
from kvstore.http.http1 import Call
from kvstore.http.http1_head import Head, Header
from kvstore.wire.gateway import PATHS, error_object
from kvstore.wire.status import HTTP_STATUS, Code, RpcError

_COUNTED = b"grpc-metadata-client-api-version"
"""Whose calls are counted one by one."""


class Plan(Struct, frozen=True):
    """What a head says of its calls."""

    keys: Keys
    context: Context
    deadline_s: float | None
    headers: tuple[Header, ...]
    """Of an answer."""
    failed_headers: tuple[Header, ...]
    ok: tuple[str, str]
    """How a call that went well is counted."""


class GatewayLane:
    def __init__(
        self,
        keys: GatewayKeys,
        backend: Backend,
        admission: Admission,
        settings: Settings,
        stats: Stats,
        calls: Calls,
        cors: Cors,
        later: Later,
    ) -> None:
        # With names that may be asked for, each request's Host has to be looked at: that is for the way of all.
        serves = settings.gateway and "*" in settings.host_whitelist
        by_path = {path: keys.by_path[method.path] for path, method in PATHS.items() if method.path in keys.by_path} if serves else {}
        self._keys = by_path | {path.replace("/v3/", "/v3beta/", 1): each for path, each in by_path.items()}
        self.paths = frozenset(self._keys)
        self.later = later
        self.stats = stats
        self.calls = calls
        self._cors = cors
        self._start = backend.start
        self._guarded = admission.guarded
        self._check = admission.check

    def __call__(self, call: Call) -> bool:
        if self._guarded():
            return False
        head = call.head
        memo = head.memo
        plan: Plan | None = memo[1] if memo is not None and memo[0] is self else self._plan(head)
        if plan is None:
            return False
        pending = PendingCall(self, call, plan)
        try:
            self._check(plan.keys.path, plan.context)
            request = plan.keys.read(call.body)
            if plan.deadline_s is not None:
                pending.timer = self.later(plan.deadline_s, pending.expire)
            self._start(request, pending)
        except Exception as error:
            pending.set_exception(error)
        return True

    def _plan(self, head: Head) -> Plan | None:
        """None for calls that are not for this lane."""
        plan = None
        if not any(name == _COUNTED for name, _ in head.headers):
            try:
                context, deadline_s = metadata(head.headers, self.stats, False)
            except RpcError:
                pass
            else:
                if context.credentials is None:
                    keys, cors = self._keys[head.path], self._cors.headers_for(head.headers)
                    plan = Plan(keys, context, deadline_s, (JSON, METADATA, *cors), (JSON, *cors), (keys.path, "OK"))
        head.memo = self, plan
        return plan


class PendingCall(Pending):
    __slots__ = ("_call", "_lane", "_plan")

    def __init__(self, lane: GatewayLane, call: Call, plan: Plan) -> None:
        super().__init__()
        self._lane = lane
        self._call = call
        self._plan = plan
        lane.stats.started[plan.keys.path] += 1

    def set_result(self, result: Any) -> None:
        plan = self._plan
        try:
            text = plan.keys.write(result)
        except Exception as error:
            self.set_exception(error)
            return
        self._call.respond(200, plan.headers, text)
        self._end(plan.ok, result)

    def _fail(self, code: Code, text: str) -> None:
        self._call.respond(HTTP_STATUS[code], self._plan.failed_headers, error_text(error_object(code, text)))
        self._end((self._plan.keys.path, code.words), None)

    def _end(self, how: tuple[str, str], result: Any) -> None:
        took_s = self._close()
        calls = self._lane.calls
        self._lane.stats.handled[how] += 1
        if took_s > calls.observed_from_s:
            request, answer = self._plan.keys.as_grpc(self._call.body, result)
            scope = {"path": self._call.head.path, "client": self._call.client}
            calls.ended(scope, how[0], how[1], took_s, request, answer, (len(request), len(answer)), None)
