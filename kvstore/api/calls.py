"""What is told of a call when it has ended: its duration in the metrics, a line in the access log, a warning if it took long.

All three are off the way of an ordinary call: it costs two looks at the clock and one comparison (0.1 us), and only what is longer than
`observed_from_s` comes here at all. That is 0 when every call is wanted.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from keelson.cogs.logs import duration, fields, timestamp
from keelson.cogs.metrics import Histogram
from kvstore.accounts import Credentials
from kvstore.api.rpc import Settings, Stats
from kvstore.described import described
from kvstore.model import DeleteRange, Put, Range, Txn
from kvstore.wire import codec
from kvstore.wire.messages import METHODS
from kvstore.wire.status import Code, RpcError, describe

log = logging.getLogger("kvstore.api")
access = logging.getLogger("kvstore.access")
"""One line a call. Where it goes, and whether anywhere, is the owner's to configure."""

HANDLING = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Prometheus' default buckets, which etcd's handling histogram has."""

_REQUESTS: dict[str, Callable[[bytes], Any]] = {
    "/etcdserverpb.KV/Range": codec.range_request,
    "/etcdserverpb.KV/Put": codec.put_request,
    "/etcdserverpb.KV/DeleteRange": codec.delete_range_request,
    "/etcdserverpb.KV/Txn": codec.txn_request,
}


def outcome_of(error: BaseException) -> tuple[Code, str]:
    """Code and text for the client; what is our own mistake goes to the log, too."""
    code, text = describe(error)
    if code is Code.INTERNAL and not isinstance(error, RpcError):
        log.error("a call failed for a reason of our own", exc_info=error)
    return code, text


class Calls:
    """`ended` wants to hear of each call that took longer than `observed_from_s`."""

    def __init__(self, settings: Settings, stats: Stats, name_of: Callable[[Credentials | None], str]) -> None:
        self._name_of = name_of
        self._stats = stats
        self._slow_s = settings.slow_request_s
        self._access = settings.access_log
        self._debug = log.isEnabledFor(logging.DEBUG)
        if settings.extensive_metrics:
            stats.handling = {path: Histogram(HANDLING) for path in METHODS}
        everything = self._access or settings.extensive_metrics or self._debug
        self.observed_from_s = 0.0 if everything else self._slow_s

    def ended(
        self,
        scope: dict[str, Any],
        path: str,
        code: str,
        took_s: float,
        request: bytes | None,
        answer: bytes,
        sizes: tuple[int, int],
        credentials: Credentials | None,
    ) -> None:
        """`request` None: a stream, or one that could not be read. `sizes`: bytes received and sent, frames included."""
        handling = self._stats.handling
        if handling is not None:
            handling[path].observe(took_s)
        if self._access:
            access.info(
                "access",
                extra=fields(
                    method=path,
                    transport="grpc" if not scope["path"].startswith("/v3") else "json",
                    peer=_peer(scope),
                    user=self._name_of(credentials),
                    code=code,
                    took=duration(took_s),
                    took_us=round(took_s * 1e6),
                    request_bytes=sizes[0],
                    response_bytes=sizes[1],
                ),
            )
        if request is not None and (took_s > self._slow_s or self._debug):
            self._tell(scope, path, took_s, request, answer)

    def _tell(self, scope: dict[str, Any], path: str, took_s: float, request: bytes, answer: bytes) -> None:
        """etcd's line (api/v3rpc/interceptor.go, logExpensiveRequestStats), its fields' names included."""
        parsed = None
        if (parse := _REQUESTS.get(path)) is not None:
            try:
                parsed = parse(request)
            except Exception:
                parsed = None  # refused as not understood; the line is about its time
        count_in, count_out = _counts(parsed, path, answer)
        known = parsed is not None
        values = {
            "start time": timestamp(time.time() - took_s),
            "time spent": duration(took_s),
            "remote": _peer(scope),
            "response type": path,
            "request count": count_in,
            "request size": len(request) if known else -1,
            "response count": count_out,
            "response size": len(answer) if known else -1,
            "request content": described(parsed) if known else "",
        }
        log.log(logging.WARNING if took_s > self._slow_s else logging.DEBUG, "request stats", extra={"fields": values})


def _counts(request: Any, path: str, answer: bytes) -> tuple[int, int]:
    """Keys asked for and given, as etcd counts them; -1 where it does not."""
    if request is None:
        return -1, -1
    if isinstance(request, Put):
        return 1, 0
    if isinstance(request, Range):
        return 0, METHODS[path].response.FromString(answer).count
    if isinstance(request, DeleteRange):
        return 0, METHODS[path].response.FromString(answer).deleted
    assert isinstance(request, Txn)
    return sum(isinstance(operation, Put) for operation in request.success + request.failure), 0


def _peer(scope: dict[str, Any]) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""
