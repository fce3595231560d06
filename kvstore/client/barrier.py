"""Barriers, on the keys of etcd's recipes (client/v3/experimental/recipes).

`Barrier`: whoever waits goes on when the key NAME is deleted. It needs no session and outlives who made it.

`DoubleBarrier`: a number of sessions begin together and end together.

    NAME/waiters/NANOSECONDS    one who has entered, attached to its session
    NAME/ready                  written by the one who makes the number full
"""

import contextlib
import time
from typing import Any

from kvstore.client.client import Client, prefix_end
from kvstore.client.contest import delete_if_unchanged, unchanged
from kvstore.client.session import Session
from kvstore.client.waiting import changed_or_late, deleted_or_late
from kvstore.errors import BarrierFull, BarrierHeld, SessionExpired, StoreError
from kvstore.wire import messages

_Range = messages.RangeRequest


async def put_new(client: Client, key: bytes, value: bytes = b"", lease: int = 0) -> int:
    """Make `key`; the revision at which it was made, 0 if there was one already."""
    put = messages.RequestOp(request_put=messages.PutRequest(key=key, value=value, lease=lease))
    made = await client.txn(messages.TxnRequest(compare=[unchanged(key, 0)], success=[put]))
    return made.header.revision if made.succeeded else 0


async def put_unique(client: Client, prefix: bytes, value: bytes = b"", lease: int = 0) -> tuple[bytes, int]:
    """Make a key PREFIX/NANOSECONDS that nobody else has; the key and the revision at which it was made."""
    while True:
        key = prefix + b"/%d" % time.time_ns()
        revision = await put_new(client, key, value, lease)
        if revision:
            return key, revision


class Barrier:
    def __init__(self, client: Client, name: bytes) -> None:
        self.client = client
        self.key = name

    async def hold(self) -> None:
        """From now on whoever waits does wait. Raises BarrierHeld."""
        if not await put_new(self.client, self.key):
            raise BarrierHeld

    async def release(self) -> None:
        await self.client.delete(self.key)

    async def wait(self) -> None:
        """Until it is released; at once if it is not held."""
        while True:
            found = await self.client.get(self.key)
            if not found.kvs:
                return
            await deleted_or_late(self.client, self.key, found.header.revision)


class DoubleBarrier:
    """`count` sessions; one more is refused with BarrierFull."""

    def __init__(self, session: Session, name: bytes, count: int) -> None:
        self.session = session
        self.client = session.client
        self.count = count
        self.key = b""
        self.revision = 0
        self._waiters = name + b"/waiters"
        self._ready = name + b"/ready"

    async def enter(self) -> None:
        """Wait until all have entered. Raises BarrierFull, SessionExpired, StoreError; then, and when cancelled, we have not entered."""
        if len(await self._entered()) >= self.count:
            raise BarrierFull
        self.key, self.revision = await put_unique(self.client, self._waiters, lease=self.session.lease)
        try:
            async with self.session.guard():
                await self._enter()
        except BaseException:
            with contextlib.suppress(StoreError):
                await self._withdraw()
            raise

    async def _enter(self) -> None:
        entered = await self._entered()
        if len(entered) >= self.count:
            last = entered[self.count - 1].create_revision
            if self.revision > last:
                raise BarrierFull
            if self.revision == last:
                await self.client.put(self._ready, b"")
                return
        while True:
            ready = await self.client.get(self._ready)
            if ready.kvs and ready.kvs[0].mod_revision > self.revision:
                return
            await changed_or_late(self.client, self._ready, ready.header.revision)

    async def leave(self) -> None:
        """Wait until all have left. Raises SessionExpired, StoreError.

        The one who entered first stays to the last, and the others wait for it: so that the key of one who dies, which goes with its session,
        holds nobody up.
        """
        async with self.session.guard():
            while waiters := await self._entered():
                lowest, highest = min(waiters, key=_age), max(waiters, key=_age)
                waits_for = lowest
                if lowest.key == self.key and lowest.create_revision == self.revision:
                    if len(waiters) == 1:
                        await self.client.delete(self._ready)
                        await self._withdraw()
                        return
                    waits_for = highest
                else:
                    await self._withdraw()
                await deleted_or_late(self.client, waits_for.key, waits_for.mod_revision)

    async def _withdraw(self) -> None:
        await delete_if_unchanged(self.client, self.key, self.revision)

    async def _entered(self) -> list[Any]:
        """Who has entered, in that order."""
        if not self.session.alive:
            raise SessionExpired
        prefix = self._waiters + b"/"
        found = await self.client.get(prefix, prefix_end(prefix), sort_order=_Range.ASCEND, sort_target=_Range.CREATE)
        return list(found.kvs)


def _age(kv: Any) -> int:
    age: int = kv.mod_revision
    return age
