"""GET of a collection: from the watch cache where that is as new as wanted, from the store where one exact revision is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec
from aiohttp import web
from msgspec import Struct

from apiserver.handlers import respond
from apiserver.handlers.call import Call
from apiserver.handlers.respond import View
from apiserver.handlers.selecting import Accepts, selection
from apiserver.machinery.objects import Object
from apiserver.machinery.status import expired
from apiserver.registry.registry import Served
from apiserver.sending import HUGE_BYTES
from apiserver.storage import continuation, versions
from apiserver.storage.items import Item, batches
from apiserver.storage.versions import Freshness
from kvstore.errors import Compacted, FutureRevision

CHUNK_MIN = 500
"""Objects read from the store at once when a selector may drop most of them."""
BATCH_OBJECTS = 200
BATCH_BYTES = 1 << 20
"""What is turned into bytes at once: some milliseconds of the event loop."""


class Listed(Struct):
    items: Sequence[Item]
    revision: int
    token: str = ""
    remaining: int | None = None
    shared: bool = False
    """Whether the items are the watch cache's own, or were read for this list."""

    def metadata(self, *, custom: bool = False) -> Object:
        """`custom`: upstream encodes lists of custom resources from maps, in which nothing is left out."""
        found: Object = {"continue": "", "resourceVersion": str(self.revision)} if custom else {"resourceVersion": str(self.revision)}
        if self.token:
            found["continue"] = self.token
            if self.remaining:
                found["remainingItemCount"] = self.remaining
        return found


async def list_(call: Call) -> web.StreamResponse:
    view = respond.negotiate(call.accept, many=True, tables=call.app.table is not None)
    found = await listed(call)
    await call.prepare(found.items)
    if view.kind or view.yaml:
        await _turn(call, sum(item.size_bytes for item in found.items))
    if view.kind and found.items:
        parts = await _viewed(call, found, view)
        return respond.joined(parts, made_bytes=sum(map(len, parts)))
    if view.kind == respond.TABLE:
        return respond.json(respond.table(call, [], found.metadata(), view))
    if view.kind:
        return respond.json(respond.partial_list([], found.metadata(), view.version))
    head = {"kind": f"{call.resource.kind}List", "apiVersion": call.resource.api_version, "metadata": found.metadata(custom=call.served.custom)}
    if view.yaml:
        # A millisecond for each object: beside the loop, which serves everybody else meanwhile.
        return await asyncio.to_thread(_yaml, head, call.served, found.items)
    # Each item's bytes are made once and live as long as it does in the cache: a list is a join of them.
    parts = await _document({**head, "items": []}, found.items, lambda batch: [item.encoded(call.served) for item in batch])
    return respond.joined(parts, made_bytes=0 if found.shared else sum(map(len, parts)))


async def _turn(call: Call, size_bytes: int) -> None:
    """Returns when there may be a list as large as that, made for one client alone."""
    if size_bytes > HUGE_BYTES:
        await call.app.outgoing.turn(call.request)


async def _viewed(call: Call, found: Listed, view: View) -> list[bytes]:
    if view.kind == respond.TABLE:
        head = respond.table(call, [], found.metadata(), view)
        return await _document(
            head,
            found.items,
            lambda batch: map(respond.encode, respond.table(call, [item.form(call.served) for item in batch], {}, view, columns=False)["rows"]),
        )
    head = {**respond.partial_list([], found.metadata(), view.version), "items": []}
    return await _document(head, found.items, lambda batch: [respond.encode(respond.partial(item.form(call.served), view.version)) for item in batch])


async def _document(head: Object, items: Sequence[Item], encoded: Callable[[list[Item]], Iterable[bytes]]) -> list[bytes]:
    """JSON of `head`, whose last field is an empty list, with the items in that. Others have their turn between batches."""
    parts = [respond.encode(head)[: -len(b"]}")]]
    for batch in batches(items, lambda each: each.size_bytes, BATCH_OBJECTS, BATCH_BYTES):
        for each in encoded(batch):
            parts += (each, b",")
        await asyncio.sleep(0)
    parts[-1 if items else len(parts) :] = [b"]}"]
    return parts


def _yaml(head: Object, served: Served, items: Sequence[Item]) -> web.Response:
    return respond.as_yaml({**head, "items": [msgspec.json.decode(item.encoded(served)) for item in items]})


async def listed(call: Call) -> Listed:
    """What a list shows. Raises ApiError."""
    query = call.query
    limit = max(query.number("limit") or 0, 0)
    query.number("timeoutSeconds")  # nothing here takes that long, but what is no number is told
    token = query.get("continue")
    accepts = selection(call)  # before the other options are judged: what cannot be read is told first
    freshness, revision = versions.list_freshness(
        query.get("resourceVersion"), query.get("resourceVersionMatch"), limited=limit > 0, continues=bool(token)
    )
    below = f"{call.served.prefix}{call.namespace}/" if call.namespace else call.served.prefix
    if token:
        revision, start = continuation.decode(token)
        return await _from_store(call, accepts, below, call.served.prefix + start, revision, limit)
    if freshness is Freshness.EXACT:
        return await _from_store(call, accepts, below, "", revision, limit)
    return await _from_cache(call, accepts, below, freshness, revision, limit)


async def _from_cache(call: Call, accepts: Accepts | None, below: str, freshness: Freshness, revision: int, limit: int) -> Listed:
    cache = call.cache
    if freshness is Freshness.NEWEST:
        revision = await call.app.caches.newest.revision()
        cache.expect(revision)
    await cache.reach(revision)
    if call.info.name and (one := cache.get(call.key())) is not None and one.key.startswith(below):
        items = [one]
    else:
        items = [] if call.info.name else cache.items(below)
    if accepts is not None:
        await call.prepare(items)
        items = [item for item in items if accepts(item)]
    # Lists at "any" revision have never been cut into pages: their reader cannot go on consistently.
    if not limit or len(items) <= limit or freshness is Freshness.ANY:
        return Listed(items, cache.revision, shared=True)
    page = items[:limit]
    last = page[-1].key.removeprefix(call.served.prefix)
    return Listed(page, cache.revision, continuation.encode(cache.revision, last), len(items) - limit if accepts is None else None, shared=True)


async def _from_store(call: Call, accepts: Accepts | None, below: str, start: str, revision: int, limit: int) -> Listed:
    objects, prefix = call.app.objects, call.served.prefix
    inconsistent = revision == continuation.INCONSISTENT
    continues = bool(start)
    at = 0 if inconsistent else revision
    if start and not start.startswith(below):
        start = ""  # a token of another namespace leads to nothing of this one
    items: list[Item] = []
    size_bytes = 0
    while True:
        wanted = 0 if not limit else limit - len(items) if accepts is None else max(limit, CHUNK_MIN)
        try:
            page = await objects.page(prefix, below, start=start, revision=at, limit=wanted)
        except Compacted:
            if not continues:
                raise expired("The resourceVersion for the provided list is too old.") from None
            newest = start.removeprefix(prefix).rstrip("\0")
            raise continuation.ListExpired(continuation.encode(continuation.INCONSISTENT, newest)) from None
        except FutureRevision:
            raise versions.too_large(revision, await call.app.caches.newest.revision()) from None
        at = page.revision
        read = [Item(row.key, row.obj, row.revision, row.size_bytes) for row in page.rows]
        if accepts is not None:
            await call.prepare(read)
        for number, (item, row) in enumerate(zip(read, page.rows, strict=True)):
            if accepts is not None and not accepts(item):
                continue
            items.append(item)
            size_bytes += item.size_bytes
            if limit and len(items) == limit:
                left = page.remaining + len(page.rows) - number - 1
                if not left:
                    return Listed(items, at)
                token = continuation.encode(continuation.INCONSISTENT if inconsistent else at, row.key.removeprefix(prefix))
                return Listed(items, at, token, left if accepts is None else None)
        if not page.remaining:
            return Listed(items, at)
        await _turn(call, size_bytes)
        start = page.last + "\0"
