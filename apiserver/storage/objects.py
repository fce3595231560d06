"""Objects in the store: each is JSON under its key, and every write is a transaction on the revision that the writer saw.

An object's resourceVersion is the mod revision of its key; it is not in the stored JSON. `update` is the only way to change something: it calls a
function with the newest state and stores what comes back, again and again until nobody came in between.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from apiserver.machinery.objects import Object, uid_of
from apiserver.machinery.status import ApiError
from apiserver.storage.errors import Unanswered
from apiserver.storage.leases import SharedLeases
from apiserver.storage.transform import PLAIN, Transformer
from keelson.cogs.logs import fields
from kvstore.client.client import Client, prefix_end
from kvstore.client.errors import is_unavailable
from kvstore.client.requests import Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest
from kvstore.errors import StoreError

log = logging.getLogger(__name__)

OBJECT_BYTES_MAX = 3 << 19
"""1.5 MiB, which is also what the store takes in one request."""
TRY_S = 2.0
"""A member that has taken a question and has not answered for so long is not waited for: there are others."""
STORE_PATIENCE_S = 9.0
PAUSE_S = 0.1
PROBE = b"/registry/health"
PAGE_BYTES = 2 << 20
"""Read from the store at once: ten milliseconds of the event loop, far from the time that a member has for an answer (TRY_S). 200 MiB in one answer
took eight seconds, in which nobody was served, and never came in time."""
PAGE_OBJECTS = 1000
FIRST_OBJECTS = 16
"""Of a resource of which nobody knows how large its objects are."""
TRIES_MAX = 100
"""Of one guaranteed update: each lost race is somebody else's progress, so this many in a row are a fault."""


class Row(Struct, frozen=True):
    """`obj` has its resourceVersion in it. Shared: never change it."""

    key: str
    obj: Object
    revision: int
    size_bytes: int = 0
    """As stored; 0 for what was just written."""


class Removed(Struct, frozen=True):
    """What an update's function returns to have the object removed; `obj` is its last state."""

    obj: Object


Change = Callable[[Object | None], Awaitable[Object | Removed]]


class Page(Struct, frozen=True):
    rows: Sequence[Row]
    revision: int
    """The store's when this was read, or the one that was asked for."""
    remaining: int
    last: str = ""
    """The last key that was looked at."""


class Objects:
    """`transformers` and `leases` by the prefix of the resource's keys."""

    def __init__(
        self, client: Client, transformers: Mapping[str, Transformer] | None = None, leases: Mapping[str, SharedLeases] | None = None
    ) -> None:
        self.client = client
        self._transformers = transformers or {}
        self._leases = leases or {}
        self._at_once: dict[str, int] = {}
        """How many objects of a resource make a page, by its prefix: as many as the last one's size says, and not many times more than were in it."""

    def asked(self) -> int:
        """Which of the store's endpoints is asked now."""
        return self.client.channels.current

    def leave(self, endpoint: int) -> None:
        """Ask another one from now on, unless somebody has seen to that."""
        self.client.channels.move_on(endpoint)

    def decode(self, prefix: str, kv: Any) -> Row:
        """A stored value with its resourceVersion. Raises ValueError."""
        value = self._transformers.get(prefix, PLAIN).from_storage(kv.value, kv.key)
        obj: Object = msgspec.json.decode(value)
        obj["metadata"]["resourceVersion"] = str(kv.mod_revision)
        return Row(kv.key.decode(), obj, kv.mod_revision, len(kv.value))

    def encode(self, prefix: str, key: str, obj: Object) -> bytes:
        """Raises ApiError (413) for what no store takes."""
        meta = {name: value for name, value in obj["metadata"].items() if name not in ("resourceVersion", "selfLink")}
        value = msgspec.json.encode({**obj, "metadata": meta})
        if len(value) > OBJECT_BYTES_MAX:
            raise ApiError("RequestEntityTooLarge", f"the object has {len(value)} bytes: limit is {OBJECT_BYTES_MAX}")
        return self._transformers.get(prefix, PLAIN).to_storage(value, key.encode())

    async def get(self, prefix: str, key: str) -> Row | None:
        """The newest state. Raises StoreError."""
        found, _ = await self._tried(lambda: self.client.get(key.encode()))
        return self.decode(prefix, found.kvs[0]) if found.kvs else None

    async def page(self, prefix: str, below: str, *, start: str = "", revision: int = 0, limit: int = 0) -> Page:
        """Objects whose keys begin with `below`, from the key `start` on, as they were at `revision`: as many as are good to read at once,
        and `limit` at most; `remaining` says whether there are more.

        Raises StoreError (Compacted, FutureRevision)."""
        first = (start or below).encode()
        end = prefix_end(below.encode())
        count = self._at_once.get(prefix, FIRST_OBJECTS)

        def ask() -> Awaitable[Any]:
            nonlocal count
            asked, count = min(limit or count, count), max(count // 8, 1)  # fewer, should these not come in time
            return self.client.get(first, end, revision=revision, limit=asked)

        found, _ = await self._tried(ask)
        self._learn(prefix, [len(kv.value) for kv in found.kvs])
        rows = []
        for kv in found.kvs:
            try:
                rows.append(self.decode(prefix, kv))
            except (ValueError, KeyError, TypeError) as error:
                # One broken value must not take a whole resource out of service.
                log.error("an object in the store cannot be read and is not shown", extra=fields(key=kv.key.decode(), error=str(error)))
        last = found.kvs[-1].key.decode() if found.kvs else ""
        return Page(rows, revision or found.header.revision, found.count - len(found.kvs), last)

    def _learn(self, prefix: str, sizes: Sequence[int]) -> None:
        if sizes:
            fitting = PAGE_BYTES * len(sizes) // (sum(sizes) + 1)
            self._at_once[prefix] = max(1, min(fitting, 8 * max(len(sizes), FIRST_OBJECTS), PAGE_OBJECTS))

    async def create(self, prefix: str, key: str, obj: Object) -> Row | None:
        """None if there is something under the key already. Raises StoreError."""
        row, _ = await self._replace(prefix, key, obj, 0)
        return row

    async def update(self, prefix: str, key: str, change: Change, known: Row | None = None) -> Row:
        """Store what `change` makes of the newest state (None: there is nothing), and return it. What `change` raises ends the update, but if it came
        from `known`, which may be old, it is asked again about the newest. Returning its argument unchanged writes nothing. Raises StoreError."""
        fresh = known is None
        row = await self.get(prefix, key) if known is None else known
        for _ in range(TRIES_MAX):
            try:
                wanted = await change(row.obj if row is not None else None)
            except ApiError:
                if fresh:
                    raise
                row, fresh = await self.get(prefix, key), True
                continue
            if row is not None and wanted is row.obj:
                if fresh:
                    return row
                # Nothing to do, said of a state that may be old.
                newest = await self.get(prefix, key)
                if newest is not None and newest.revision == row.revision:
                    return row
                row, fresh = newest, True
                continue
            if isinstance(wanted, Removed):
                assert row is not None, "only what is there can be removed"
                done, row_now = await self._remove(prefix, key, wanted.obj, row.revision)
            else:
                done, row_now = await self._replace(prefix, key, wanted, 0 if row is None else row.revision)
            if done is not None:
                return done
            row, fresh = row_now, True
        raise ApiError("ServerTimeout", f"gave up on {key}: changed by others {TRIES_MAX} times in a row", details={"retryAfterSeconds": 1})

    async def _replace(self, prefix: str, key: str, obj: Object, revision: int) -> tuple[Row | None, Row | None]:
        """(what is stored now, None), or (None, what is there instead)."""
        lease = await self._leases[prefix].take() if prefix in self._leases else 0
        put = PutRequest(key=key.encode(), value=self.encode(prefix, key, obj), lease=lease)
        answer, repeated = await self._if_unchanged(key, revision, RequestOp(request_put=put))
        if not answer.succeeded:
            found = self._found(prefix, answer)
            if repeated and found is not None:
                # A try before, whose answer did not come, may have been carried out; a new object may have been changed by others since.
                value = answer.responses[0].response_range.kvs[0].value
                if value == put.value or (not revision and uid_of(obj) and uid_of(found.obj) == uid_of(obj)):
                    return found, None
            return None, found
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(answer.header.revision)}}
        return Row(key, stored, answer.header.revision), None

    async def _remove(self, prefix: str, key: str, obj: Object, revision: int) -> tuple[Row | None, Row | None]:
        answer, repeated = await self._if_unchanged(key, revision, RequestOp(request_delete_range=DeleteRangeRequest(key=key.encode())))
        if not answer.succeeded and not (repeated and not answer.responses[0].response_range.kvs):
            return None, self._found(prefix, answer)
        last = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(answer.header.revision)}}
        return Row(key, last, answer.header.revision), None

    async def _if_unchanged(self, key: str, revision: int, operation: Any) -> tuple[Any, bool]:
        """(the answer, whether it was asked more than once). Asking again is harmless: the key's revision lets it happen once."""
        unchanged = Compare(key=key.encode(), target=Compare.MOD, result=Compare.EQUAL, mod_revision=revision)
        otherwise = RequestOp(request_range=RangeRequest(key=key.encode()))
        request = TxnRequest(compare=[unchanged], success=[operation], failure=[otherwise])
        return await self._tried(lambda: self.client.txn(request))

    async def newest(self) -> int:
        """The store's revision now. Raises StoreError."""
        answer, _ = await self._tried(lambda: self.client.get(PROBE, keys_only=True))
        return int(answer.header.revision)

    async def _tried(self, ask: Callable[[], Awaitable[Any]]) -> tuple[Any, bool]:
        """(the answer, whether it was asked more than once): again and elsewhere when a member takes a question and gives no answer, because it is
        paused, cut off, or between two leaders. Raises StoreError."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + STORE_PATIENCE_S
        repeated = False
        while True:
            endpoint = self.asked()
            error: StoreError
            try:
                async with asyncio.timeout(TRY_S):
                    return await ask(), repeated
            except TimeoutError:
                error = Unanswered()
                self.leave(endpoint)
            except StoreError as failed:
                if not is_unavailable(failed):
                    raise
                error = failed
            repeated = True
            if loop.time() + PAUSE_S >= end_s:
                raise error
            await asyncio.sleep(PAUSE_S)

    def _found(self, prefix: str, answer: Any) -> Row | None:
        kvs = answer.responses[0].response_range.kvs
        return self.decode(prefix, kvs[0]) if kvs else None
