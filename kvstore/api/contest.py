"""What locks and elections have in common: everybody who wants it puts a key under one prefix, and the oldest key has it.

Nothing of this is known to the state: these services are clients of their own member, as in etcd (server/etcdserver/api/v3lock, v3election over
clientv3/concurrency), so that locks taken through them and locks made by client libraries are the same keys and exclude each other.

    NAME/LEASE      one contender: its lease in hexadecimal, at the end of which the key goes by itself (LK-1)

The age of a contender is its key's create revision. Who is not the oldest waits for the next older one to go, and looks again: so that the end of
one wakes one, not all. A call that waits holds one watcher, and its key goes when its client does (LK-3).
"""

import asyncio
import contextlib
import copy
import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from msgspec import Struct

from kvstore.api.behalf import OnBehalf
from kvstore.api.rpc import Context, Service
from kvstore.api.watching import Watching
from kvstore.encoding import KeyValue, decode_key_value
from kvstore.errors import RequestTooLarge, StoreError
from kvstore.ids import LeaseId, Revision
from kvstore.model import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    Operation,
    Put,
    Range,
    RangeResult,
    SortOrder,
    SortTarget,
    Txn,
    TxnResult,
    WatchSpec,
)
from kvstore.wire.status import Code, RpcError

T = TypeVar("T")

SESSION_TTL_S = 60
"""Of the lease that a caller without one is given. Nobody renews it (LK-1)."""

WITHDRAW_S = 10.0
"""How long a call that has ended may go on in order to take its key back. After that the key stays until its lease ends."""


class Place(Struct, frozen=True):
    """One contender: its key, that key's create revision and value, and the header of the answer that told so."""

    prefix: bytes
    key: bytes
    revision: int
    value: bytes
    is_first: bool
    header: bytes


@contextlib.contextmanager
def codes_lost() -> Iterator[None]:
    """In etcd the store's errors come to these services through a client, and leave them as errors without a code (LK-5)."""
    try:
        yield
    except StoreError as error:
        raise RpcError(Code.UNKNOWN, str(error)) from error


def prefix_of(name: bytes) -> bytes:
    return name + b"/"


def oldest(prefix: bytes) -> Range:
    return Range(prefix, _end(prefix), limit=1, sort_order=SortOrder.ASCEND, sort_target=SortTarget.CREATE)


def _end(prefix: bytes) -> bytes:
    return prefix[:-1] + bytes([prefix[-1] + 1])


def unchanged(key: bytes, revision: int) -> Compare:
    """The key is still the one that was made at `revision` (0: there is none)."""
    return Compare(CompareResult.EQUAL, CompareTarget.CREATE, key, revision)


def in_callers_name(method: Callable[..., T]) -> Callable[..., T]:
    """A method of a contest that is called in the name of whoever calls the service."""

    @functools.wraps(method)
    def call(self: "Contest", context: Context, *arguments: Any) -> T:
        service = copy.copy(self)
        service.store = OnBehalf(self.backend, context.credentials)
        return method(service, context, *arguments)

    return call


class Contest(Service):
    store: OnBehalf
    """There only in the methods that are `in_callers_name`, and what they call."""

    async def lease(self, lease: int) -> LeaseId:
        """The caller's lease, or a new one if it gave none. That the caller's exists is found out where it is used."""
        if lease:
            return LeaseId(lease)
        return (await self.store.lease_grant(LeaseId(0), SESSION_TTL_S)).id

    def check_size(self, *parts: bytes) -> None:
        if sum(map(len, parts)) > self.settings.request_bytes_max:
            raise RequestTooLarge

    async def enter(self, prefix: bytes, value: bytes, lease: LeaseId) -> Place:
        """Put the key of `lease` under `prefix`; one that is there already stays as it is and keeps its place (LK-2)."""
        key = prefix + b"%s" % f"{lease:x}".encode()
        self.check_size(key, key, key, prefix, prefix, value)
        put, own, first = Put(key, value, lease), Range(key), oldest(prefix)
        result = await self._put(key, Txn((unchanged(key, 0),), (put, first), (own, first)))
        header = self.header(result.revision)
        revision: int = result.revision
        if not result.succeeded:
            [mine] = _key_values(result.responses[0])
            revision, value = mine.create_revision, mine.value
        holders = _key_values(result.responses[1])
        return Place(prefix, key, revision, value, not holders or holders[0].create_revision == revision, header)

    async def _put(self, key: bytes, txn: Txn) -> TxnResult:
        """Do `txn`, which may make `key`. A client that leaves before the answer is there leaves no key behind that nobody else would take back."""

        async def enter() -> TxnResult | StoreError:
            try:
                return await self.store.txn(txn)
            except StoreError as error:
                return error

        async with asyncio.TaskGroup() as group:
            entering = group.create_task(enter(), name="contest enter")
            try:
                result = await asyncio.shield(entering)
            except asyncio.CancelledError:
                result = await entering
                if isinstance(result, TxnResult) and result.succeeded:
                    await self.withdraw(self.store.delete_range(DeleteRange(key)))
                raise
        if isinstance(result, StoreError):
            raise result
        return result

    async def turn(self, place: Place) -> None:
        """Wait until there is no older key under the prefix."""
        while True:
            result = await self.store.range(
                Range(
                    place.prefix,
                    _end(place.prefix),
                    limit=1,
                    sort_order=SortOrder.DESCEND,
                    sort_target=SortTarget.CREATE,
                    max_create_revision=place.revision - 1,
                )
            )
            if not result.kvs:
                return
            await self._deletion(decode_key_value(result.kvs[0]).key, result.revision)

    async def _deletion(self, key: bytes, revision: Revision) -> None:
        """Wait until `key`, which was there at `revision`, has gone.

        Also returns if nobody can tell because history was compacted or replaced meanwhile: the caller looks again. (etcd gives up there.)
        """
        with Watching(self.store, WatchSpec(0, key, start_revision=revision + 1, no_put=True)) as watching:
            async for update in watching:
                if update.events or update.compact_revision:
                    return

    async def withdraw(self, change: Awaitable[T]) -> T | None:
        """Take back what a call that has failed had done. What cannot be taken back now goes with its lease."""
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(WITHDRAW_S):
                return await change
        return None

    async def change(self, key: bytes, revision: int, operation: Operation) -> bytes | None:
        """Do `operation` if `key` is still the one made at `revision`: the header of the answer, None if it is not."""
        result = await self.store.txn(Txn((unchanged(key, revision),), (operation,)))
        return self.header(result.revision) if result.succeeded else None


def _key_values(result: object) -> list[KeyValue]:
    assert isinstance(result, RangeResult), "both branches of the transaction were written above"
    return [decode_key_value(encoded) for encoded in result.kvs]
