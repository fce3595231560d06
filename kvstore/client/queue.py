"""Queues that many processes fill and empty, on the keys of etcd's recipes (client/v3/experimental/recipes).

    NAME/NANOSECONDS                    Queue: an item; the oldest is the one changed first
    NAME/PRIORITY/NUMBER                PriorityQueue: an item; five digits and sixteen, so that keys sort as items do
    __NAME/PRIORITY                     moves with each item of that priority, so that no two get one number

An item is taken by deleting it, so each is given to one taker; one that dies right after has it lost. Who cannot afford that takes a lock, works, and
deletes in the transaction that writes the result.
"""

from typing import Any

from kvstore.client.barrier import put_unique
from kvstore.client.client import Client, prefix_end
from kvstore.client.waiting import changed_or_late
from kvstore.wire import messages

_Range, _Compare = messages.RangeRequest, messages.Compare

PRIORITY_MAX = (1 << 16) - 1
"""The most important priority is 0; beyond this one, keys would not sort as numbers."""


async def take(client: Client, prefix: bytes, **order: Any) -> bytes:
    """The value of the first item in that order; waits until there is one.

    Raises StoreError; if the answer to taking an item did not come, it may have been taken all the same.
    """
    while True:
        found = await client.get(prefix, prefix_end(prefix), limit=1, **order)
        if not found.kvs:
            await changed_or_late(client, prefix, found.header.revision, prefix_end(prefix))
            continue
        [item] = found.kvs
        is_there = _Compare(result=_Compare.EQUAL, target=_Compare.MOD, key=item.key, mod_revision=item.mod_revision)
        delete = messages.RequestOp(request_delete_range=messages.DeleteRangeRequest(key=item.key))
        if (await client.txn(messages.TxnRequest(compare=[is_there], success=[delete]))).succeeded:
            return bytes(item.value)


class Queue:
    """First in, first out, by the revision of what was put."""

    def __init__(self, client: Client, name: bytes) -> None:
        self.client = client
        self.name = name

    async def enqueue(self, value: bytes) -> None:
        await put_unique(self.client, self.name, value)

    async def dequeue(self) -> bytes:
        return await take(self.client, self.name + b"/", sort_order=_Range.ASCEND, sort_target=_Range.MOD)


class PriorityQueue:
    """The lowest priority number first, and of one priority the first in."""

    def __init__(self, client: Client, name: bytes) -> None:
        self.client = client
        self.name = name

    async def enqueue(self, value: bytes, priority: int) -> None:
        if not 0 <= priority <= PRIORITY_MAX:
            raise ValueError(f"priority {priority}: expected 0 to {PRIORITY_MAX}")
        lane = self.name + b"/%05d" % priority
        prefix, book = lane + b"/", b"__" + lane
        while True:
            last = await self.client.get(prefix, prefix_end(prefix), limit=1, sort_order=_Range.DESCEND, sort_target=_Range.KEY)
            number = int(last.kvs[0].key.rsplit(b"/", 1)[1]) + 1 if last.kvs else 0
            # Whoever else numbered an item since we looked has moved the book.
            unmoved = _Compare(result=_Compare.LESS, target=_Compare.MOD, key=book, mod_revision=last.header.revision + 1)
            puts = [messages.PutRequest(key=book), messages.PutRequest(key=prefix + b"%016d" % number, value=value)]
            request = messages.TxnRequest(compare=[unmoved], success=[messages.RequestOp(request_put=put) for put in puts])
            if (await self.client.txn(request)).succeeded:
                return

    async def dequeue(self) -> bytes:
        return await take(self.client, self.name + b"/", sort_order=_Range.ASCEND, sort_target=_Range.KEY)
