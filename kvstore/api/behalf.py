"""The backend as one caller may use it: for services that are clients of their own store (locks, elections).

Everything they do with keys and leases is asked for in the name of whoever called them, with his permissions and no others.
"""

from collections.abc import Awaitable

from kvstore.accounts import Credentials
from kvstore.api.backend import Backend, Deliver, WatchStream
from kvstore.ids import LeaseId
from kvstore.model import DeleteRange, DeleteRangeResult, Header, LeaseGrantResult, Range, RangeResult, Txn, TxnResult


class OnBehalf:
    def __init__(self, backend: Backend, who: Credentials | None) -> None:
        self._backend = backend
        self._who = who

    def header(self) -> Header:
        return self._backend.header()

    def range(self, request: Range) -> Awaitable[RangeResult]:
        return self._backend.range(request, self._who)

    def delete_range(self, request: DeleteRange) -> Awaitable[DeleteRangeResult]:
        return self._backend.delete_range(request, self._who)

    def txn(self, request: Txn) -> Awaitable[TxnResult]:
        return self._backend.txn(request, self._who)

    def lease_grant(self, lease_id: LeaseId, ttl_s: int) -> Awaitable[LeaseGrantResult]:
        return self._backend.lease_grant(lease_id, ttl_s, self._who)

    def open_watch_stream(self, deliver: Deliver) -> WatchStream:
        return self._backend.open_watch_stream(deliver, self._who)
