"""A mirror: the keys of one cluster copied to another and kept equal, whichever of the two is Keelson's and which is etcd's (clientv3/mirror).

First everything at one revision, in pages; then what the watch tells from the next revision on. Keys and values are copied; revisions, versions
and leases are the destination's own. The destination's state under the prefix is always the source's at some revision, once the copy is done,
and keys there that the source never had are left alone.

Either side may go away and come back. The watch goes on where it was; a write that failed in between is repeated, which is harmless here,
because puts and deletions say what shall be, not what shall change. What cannot be bridged ends the mirror: history compacted before it was
read, a refusal by the destination.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kvstore.client.client import prefix_end
from kvstore.client.errors import is_unavailable
from kvstore.client.retry import BACKOFF_S, BACKOFF_S_MAX
from kvstore.errors import StoreError
from kvstore.wire import messages
from kvstore.wire.status import Code

if TYPE_CHECKING:
    from kvstore.client.client import Client

PAGE_KEYS = 1000
PAGE_BYTES = 8 << 20
"""A page that was larger makes the next ones shorter: a thousand values of a megabyte are no page."""

TXN_OPERATIONS = 128
"""etcd's default limit (--max-txn-ops)."""

TXN_BYTES = 1 << 20
"""Well below etcd's limit of a request, 1.5 MiB; a single larger value goes alone."""

COPIES_AT_ONCE = 4
"""Transactions under way while the first copy is made: its keys are all different, so their order does not matter."""

Operation = tuple[bytes, bytes | None]
"""A key of the destination, and its value or None: it is deleted."""


class Mirror:
    """Copies keys that begin with `prefix` to the same with `to_prefix` in its place. `retrying` is told when a server has to be
    waited for, and why."""

    def __init__(
        self,
        source: "Client",
        destination: "Client",
        prefix: bytes = b"",
        to_prefix: bytes | None = None,
        *,
        operations_max: int = TXN_OPERATIONS,
        retrying: Callable[[StoreError], None] = lambda error: None,
    ) -> None:
        self._source, self._destination = source, destination
        self._prefix = prefix
        self._to_prefix = prefix if to_prefix is None else to_prefix
        self._operations_max = operations_max
        self._retrying = retrying
        self.copied = 0
        """Puts and deletions that the destination has taken."""
        self.revision = 0
        """Up to here the destination is equal to the source; 0 as long as the first copy is not done."""

    @property
    def _range(self) -> tuple[bytes, bytes]:
        return (self._prefix, prefix_end(self._prefix)) if self._prefix else (b"\x00", b"\x00")

    def _target(self, key: bytes) -> bytes:
        return self._to_prefix + key[len(self._prefix) :]

    async def run(self, start_revision: int = 0) -> None:
        """Copy and follow, for ever. A `start_revision` says that everything before it is there already: only follow from there.

        Raises StoreError: WatchCompacted or Compacted if the source has forgotten what was not copied yet.
        """
        if start_revision > 0:
            self.revision = start_revision - 1
        else:
            await self.copy()
        await self.follow()

    async def copy(self) -> None:
        """Everything that the source has now, at one revision."""
        key, end = self._range
        revision, limit, more = 0, PAGE_KEYS, True
        while more:
            page = await self._patiently(self._source.get, key, end, revision=revision, limit=limit)
            revision = revision or page.header.revision
            await self._put_all([(self._target(kv.key), kv.value) for kv in page.kvs])
            more = page.more
            if page.kvs:
                key = page.kvs[-1].key + b"\x00"
                limit = max(1, min(PAGE_KEYS, PAGE_BYTES * len(page.kvs) // max(1, page.ByteSize())))
        self.revision = revision

    async def _put_all(self, operations: Sequence[Operation]) -> None:
        free = asyncio.Semaphore(COPIES_AT_ONCE)

        async def write(batch: list[Operation]) -> None:
            try:
                await self._write(batch)
            finally:
                free.release()

        try:
            async with asyncio.TaskGroup() as group:
                for batch in batches(([operation] for operation in operations), self._operations_max):
                    await free.acquire()
                    group.create_task(write(batch), name="copy keys")
        except* StoreError as failed:
            raise failed.exceptions[0] from None

    async def follow(self) -> None:
        """Every change behind `revision`, in its order."""
        key, end = self._range
        # Progress moves the place where a broken watch goes on, so that a quiet prefix does not fall behind the source's compaction.
        watcher = self._source.watch(key, end, start_revision=self.revision + 1, progress_notify=True)
        async for response in watcher:
            # A revision's changes go together, so that the destination never shows half a transaction of the source. Revisions that came together
            # may, too: so the mirror catches up faster than one round trip a revision.
            revisions = groupby(response.events, key=lambda event: event.kv.mod_revision)
            for batch in batches(([self._change(event) for event in events] for _, events in revisions), self._operations_max):
                await self._write(batch)
            self.revision = watcher.next_revision - 1

    def _change(self, event: Any) -> Operation:
        return self._target(event.kv.key), None if event.type else event.kv.value

    async def _write(self, batch: Sequence[Operation]) -> None:
        request = messages.TxnRequest()
        for key, value in batch:
            operation = request.success.add()
            if value is None:
                operation.request_delete_range.key = key
            else:
                operation.request_put.key, operation.request_put.value = key, value
        await self._patiently(self._destination.txn, request)
        self.copied += len(batch)

    async def _patiently(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Ask until there is an answer; only for what may be asked twice."""
        pause_s = BACKOFF_S
        while True:
            try:
                return await call(*arguments, **options)
            except StoreError as error:
                if not passes(error):
                    raise
                if pause_s == BACKOFF_S:
                    self._retrying(error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, BACKOFF_S_MAX)


def passes(error: StoreError) -> bool:
    """Will it be over if one waits?"""
    return is_unavailable(error) or getattr(error, "code", None) is Code.DEADLINE_EXCEEDED


class _Batch:
    """Operations that go together in one transaction: no key twice (etcd refuses that), within the limits of number and bytes."""

    def __init__(self, operations_max: int) -> None:
        self._operations_max = operations_max
        self.operations: list[Operation] = []
        self._keys: set[bytes] = set()
        self._size = 0

    def takes(self, more: Sequence[Operation]) -> bool:
        """Whether all of `more` came in with what is there; if not, none did. An empty batch takes any single operation."""
        size = sum(len(key) + len(value or b"") for key, value in more)
        keys = {key for key, _ in more}
        if self.operations or len(more) > 1:
            too_much = len(self.operations) + len(more) > self._operations_max or self._size + size > TXN_BYTES
            if too_much or len(keys) < len(more) or not self._keys.isdisjoint(keys):
                return False
        self.operations += more
        self._keys |= keys
        self._size += size
        return True


def batches(groups: Iterable[Sequence[Operation]], operations_max: int) -> Iterator[list[Operation]]:
    """Transactions for `groups` of operations, in their order: as many groups together as fit; a group is cut only if it does not fit alone."""
    batch = _Batch(operations_max)
    for group in groups:
        if batch.takes(group):
            continue
        if batch.operations:
            yield batch.operations
        batch = _Batch(operations_max)
        if batch.takes(group):
            continue
        for operation in group:
            if not batch.takes([operation]):
                yield batch.operations
                batch = _Batch(operations_max)
                batch.takes([operation])
    if batch.operations:
        yield batch.operations
