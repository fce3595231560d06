"""The store in memory, with the client's calls that the API server makes: every revision is kept, transactions are atomic, watches are told at once.

    store = FakeStore()
    await store.put(b"/registry/a", b"1")

`broken` makes every call fail as if no member answered; `before`, called once before the next call, may change things.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from kvstore.client.endpoints import Channels
from kvstore.client.errors import NotConnected, WatchCompacted
from kvstore.errors import Compacted, FutureRevision
from kvstore.wire import messages
from kvstore.wire.status import Code

PUT, DELETE = 0, 1


class FakeStore:
    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self.broken = False
        self.before: Callable[[str], None] | None = None
        self.calls: dict[str, int] = {}
        self._history: list[Any] = []
        self._keys: dict[bytes, Any] = {}
        self._watchers: list[FakeWatcher] = []
        self._lease = 100
        self.channels = Channels(["fake:1", "fake:2"], None)

    # --- the client's calls -----------------------------------------------------------------------------------------------

    async def get(self, key: bytes, range_end: bytes = b"", *, revision: int = 0, limit: int = 0, **_: Any) -> Any:
        await self._called("get")
        if revision and revision < self.compacted:
            raise Compacted
        if revision > self.revision:
            raise FutureRevision
        found = [kv for name, kv in sorted(self._at(revision).items()) if _within(name, key, range_end)]
        kvs = found[:limit] if limit else found
        return messages.RangeResponse(header=self._header(), kvs=kvs, count=len(found), more=len(kvs) < len(found))

    async def get_prefix(self, prefix: bytes, **options: Any) -> Any:
        return await self.get(prefix, prefix[:-1] + bytes([prefix[-1] + 1]), **options)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0, **_: Any) -> Any:
        await self._called("put")
        self.revision += 1
        self._put(key, value, lease)
        return messages.PutResponse(header=self._header())

    async def delete(self, key: bytes, range_end: bytes = b"", **_: Any) -> Any:
        await self._called("delete")
        self.revision += 1
        self._delete(key)
        return messages.DeleteRangeResponse(header=self._header())

    async def txn(self, request: Any) -> Any:
        await self._called("txn")
        succeeded = all(self._holds(each) for each in request.compare)
        operations = request.success if succeeded else request.failure
        if any(each.WhichOneof("request") != "request_range" for each in operations):
            self.revision += 1
        responses = [self._done(each) for each in operations]
        return messages.TxnResponse(header=self._header(), succeeded=succeeded, responses=responses)

    async def compact(self, revision: int, **_: Any) -> None:
        await self._called("compact")
        self.compacted = revision
        for watcher in self._watchers:
            watcher.lose(revision)

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Any:
        await self._called("lease_grant")
        self._lease += 1
        return messages.LeaseGrantResponse(ID=self._lease, TTL=ttl_s)

    async def lease_revoke(self, lease_id: int) -> None:
        await self._called("lease_revoke")
        self.revision += 1
        for key in [key for key, kv in self._keys.items() if kv.lease == lease_id]:
            self._delete(key)

    async def keep_alive_once(self, lease_id: int) -> Any:
        await self._called("keep_alive_once")
        return messages.LeaseKeepAliveResponse(ID=lease_id, TTL=10)

    def watch(self, key: bytes, range_end: bytes = b"", *, start_revision: int = 0, **_: Any) -> "FakeWatcher":
        watcher = FakeWatcher(self, key, range_end, start_revision or self.revision + 1)
        self._watchers.append(watcher)
        return watcher

    async def close(self) -> None:
        return None

    def deafen(self) -> None:
        """The watches of now hear nothing more, as if their member was cut off from the others."""
        for watcher in self._watchers:
            watcher.deaf = True

    # --- how it works -----------------------------------------------------------------------------------------------------

    async def _called(self, name: str) -> None:
        await asyncio.sleep(0)  # as every call over a network: others come in between
        self.calls[name] = self.calls.get(name, 0) + 1
        if self.broken:
            raise NotConnected(Code.UNAVAILABLE, "there is no address available")
        if self.before is not None:
            before, self.before = self.before, None
            before(name)

    def _header(self) -> Any:
        return messages.ResponseHeader(revision=self.revision)

    def _at(self, revision: int) -> dict[bytes, Any]:
        if not revision or revision == self.revision:
            return self._keys
        state: dict[bytes, Any] = {}
        for event in self._history:
            if event.kv.mod_revision > revision:
                break
            if event.type == DELETE:
                state.pop(event.kv.key, None)
            else:
                state[event.kv.key] = event.kv
        return state

    def put_now(self, key: bytes, value: bytes) -> None:
        """Somebody else's write."""
        self.revision += 1
        self._put(key, value, 0)

    def _put(self, key: bytes, value: bytes, lease: int) -> None:
        before = self._keys.get(key)
        created = before.create_revision if before else self.revision
        version = before.version + 1 if before else 1
        kv = messages.KeyValue(key=key, value=value, create_revision=created, mod_revision=self.revision, version=version, lease=lease)
        self._keys[key] = kv
        self._tell(messages.Event(type=PUT, kv=kv))

    def _delete(self, key: bytes) -> None:
        if self._keys.pop(key, None) is not None:
            self._tell(messages.Event(type=DELETE, kv=messages.KeyValue(key=key, mod_revision=self.revision)))

    def _tell(self, event: Any) -> None:
        self._history.append(event)
        for watcher in self._watchers:
            watcher.tell(event)

    def since(self, revision: int) -> list[Any]:
        return [event for event in self._history if event.kv.mod_revision >= revision]

    def _holds(self, compare: Any) -> bool:
        kv = self._keys.get(compare.key)
        if compare.target == messages.Compare.VERSION:
            return (kv.version if kv else 0) == compare.version
        assert compare.target == messages.Compare.MOD, "the fake store compares mod revisions and versions"
        return (kv.mod_revision if kv else 0) == compare.mod_revision

    def _done(self, operation: Any) -> Any:
        kind = operation.WhichOneof("request")
        if kind == "request_put":
            self._put(operation.request_put.key, operation.request_put.value, operation.request_put.lease)
            return messages.ResponseOp(response_put=messages.PutResponse(header=self._header()))
        if kind == "request_delete_range":
            self._delete(operation.request_delete_range.key)
            return messages.ResponseOp(response_delete_range=messages.DeleteRangeResponse(header=self._header()))
        kv = self._keys.get(operation.request_range.key)
        return messages.ResponseOp(response_range=messages.RangeResponse(header=self._header(), kvs=[kv] if kv else []))


class FakeWatcher:
    def __init__(self, store: FakeStore, key: bytes, range_end: bytes, start: int) -> None:
        self._store, self._key, self._end, self._start = store, key, range_end, start
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.deaf = False
        if start <= store.compacted:
            self.lose(store.compacted)
        for event in store.since(start):
            self.tell(event)

    def tell(self, event: Any) -> None:
        if not self.deaf and event.kv.mod_revision >= self._start and _within(event.kv.key, self._key, self._end):
            header = messages.ResponseHeader(revision=event.kv.mod_revision)
            self._queue.put_nowait(messages.WatchResponse(header=header, events=[event]))

    def lose(self, revision: int) -> None:
        """As if it had been cut off from the store for so long that its history was compacted."""
        self._queue.put_nowait(WatchCompacted(revision))

    async def request_progress(self) -> None:
        if not self._store.broken and not self.deaf:
            self._queue.put_nowait(messages.WatchResponse(header=messages.ResponseHeader(revision=self._store.revision)))

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            while True:
                response = await self._queue.get()
                if isinstance(response, Exception):
                    raise response
                yield response
        finally:
            if self in self._store._watchers:
                self._store._watchers.remove(self)


def _within(key: bytes, first: bytes, end: bytes) -> bool:
    return key == first if not end else first <= key and (end == b"\x00" or key < end)
