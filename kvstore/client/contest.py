"""What locks and elections have in common: contenders are keys under one prefix, and the oldest has it (clientv3/concurrency/key.go).

    NAME/LEASE      the lease in hexadecimal; a contender's age is its key's create revision

The keys are those of every other client of etcd and of the lock and election services: all exclude each other.
"""

import asyncio
import contextlib
from typing import Any

from kvstore.client.client import Client, prefix_end
from kvstore.client.session import Session
from kvstore.client.waiting import deleted_or_late
from kvstore.errors import LeaseNotFound, SessionExpired, StoreError
from kvstore.wire import messages

_Compare, _Range = messages.Compare, messages.RangeRequest
_TXN = "/etcdserverpb.KV/Txn"


def unchanged(key: bytes, revision: int) -> Any:
    """A Compare: `key` is still the one that was made at `revision` (0: there is none)."""
    return _Compare(result=_Compare.EQUAL, target=_Compare.CREATE, key=key, create_revision=revision)


def oldest(prefix: bytes) -> Any:
    """A RangeRequest for the key under `prefix` that was made first."""
    return _Range(key=prefix, range_end=prefix_end(prefix), limit=1, sort_order=_Range.ASCEND, sort_target=_Range.CREATE)


async def guarded(client: Client, key: bytes, revision: int, operation: Any) -> Any:
    """Do `operation` if `key` is still the one made at `revision`; the TxnResponse."""
    return await client.txn(messages.TxnRequest(compare=[unchanged(key, revision)], success=[operation]))


async def delete_if_unchanged(client: Client, key: bytes, revision: int) -> Any:
    """Tried again where a failure leaves open whether it happened: once or twice is the same, since a key made anew has another revision."""
    delete = messages.RequestOp(request_delete_range=messages.DeleteRangeRequest(key=key))
    request = messages.TxnRequest(compare=[unchanged(key, revision)], success=[delete])
    return await client.call(_TXN, request, is_read=True)


class Contender:
    """A session's key in one contest. `revision` is 0 while there is no key of ours."""

    def __init__(self, session: Session, name: bytes) -> None:
        self.session = session
        self.client = session.client
        self.prefix = name + b"/"
        self.key = b""
        self.revision = 0
        self.header: Any = None
        """Of the last answer that told of our place."""

    async def enter(self, value: bytes) -> Any:
        """Put our key, or find it, and learn who is first: the TxnResponse, responses being [our put or our key, the oldest key].

        A key that is there already stays as it is. Raises StoreError; then, and when cancelled, no key is left behind, as far as
        that can be had.
        """
        if not self.session.alive:
            raise SessionExpired
        self.key = self.prefix + f"{self.session.lease:x}".encode()
        put = messages.RequestOp(request_put=messages.PutRequest(key=self.key, value=value, lease=self.session.lease))
        own = messages.RequestOp(request_range=messages.RangeRequest(key=self.key))
        first = messages.RequestOp(request_range=oldest(self.prefix))
        response = await self._enter(messages.TxnRequest(compare=[unchanged(self.key, 0)], success=[put, first], failure=[own, first]))
        self.header = response.header
        self.revision = _created(response)
        return response

    async def _enter(self, request: Any) -> Any:
        """May be tried again, too: a second try finds the key of the first. Whoever is cancelled waits for the outcome, so as not to leave a key
        that comes to be after nobody wants it."""

        async def call() -> Any:
            try:
                return await self.client.call(_TXN, request, is_read=True)
            except StoreError as error:
                return error

        async with asyncio.TaskGroup() as group:
            entering = group.create_task(call(), name="contest enter")
            try:
                response = await asyncio.shield(entering)
            except asyncio.CancelledError:
                response = await entering
                # A key that was ours before stays: whoever only asked again has not given it up.
                if not isinstance(response, StoreError) and _created(response) != self.revision:
                    await self.forget(_created(response))
                raise
        if isinstance(response, LeaseNotFound):
            raise SessionExpired from response
        if isinstance(response, StoreError):
            if not response.deterministic and not self.revision:  # it may have happened all the same
                with contextlib.suppress(StoreError):
                    await self.client.delete(self.key)
            raise response
        return response

    async def forget(self, revision: int) -> None:
        """Take our key back, as far as that can be had."""
        with contextlib.suppress(StoreError):
            await delete_if_unchanged(self.client, self.key, revision)
        self.revision = 0

    def is_first(self, response: Any) -> bool:
        """Whether what `enter` gave says that nobody is before us."""
        oldest_keys = response.responses[1].response_range.kvs
        return not oldest_keys or oldest_keys[0].create_revision == self.revision

    async def turn(self) -> None:
        """Wait until no older key is left, and our own is still there. Raises SessionExpired, StoreError; then, and when cancelled, our key goes."""
        try:
            async with self.session.guard():
                await _older_gone(self.client, self.prefix, self.revision)
                found = await self.client.get(self.key)
                if not found.kvs or found.kvs[0].create_revision != self.revision:
                    raise SessionExpired
                self.header = found.header
        except BaseException:
            await self.forget(self.revision)
            raise

    def is_mine(self) -> Any:
        """The Compare that makes a transaction happen only while our key is there: the fence for what we write."""
        return unchanged(self.key, self.revision)


def _created(response: Any) -> int:
    """The revision at which our key was made."""
    revision: int = response.header.revision if response.succeeded else response.responses[0].response_range.kvs[0].create_revision
    return revision


async def _older_gone(client: Client, prefix: bytes, revision: int) -> None:
    while True:
        request = _Range(key=prefix, range_end=prefix_end(prefix), limit=1, max_create_revision=revision - 1)
        request.sort_order, request.sort_target = _Range.DESCEND, _Range.CREATE
        found = await client.call("/etcdserverpb.KV/Range", request, is_read=True)
        if not found.kvs:
            return
        await deleted_or_late(client, found.kvs[0].key, found.header.revision)
