"""GET with `watch=true`: the events of one client, from the resource's watch cache, one JSON document a line.

What is on its way to a client is bounded twice: by the ring of recent events in which it has a place, and by the time that one piece may take. Who
does not read is cut off, comes back with the last resourceVersion it saw, and has cost the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Iterable, Iterator

from aiohttp import web

from apiserver.handlers import respond
from apiserver.handlers.call import Call
from apiserver.handlers.respond import View
from apiserver.handlers.selecting import Accepts, selection
from apiserver.machinery.objects import Object
from apiserver.machinery.status import ApiError
from apiserver.sending import pieces
from apiserver.storage import versions
from apiserver.storage.cache import Cache
from apiserver.storage.items import ADDED, DELETED, MODIFIED, Event, Item, Line, batches, document, line
from apiserver.storage.ring import Subscription

TIMEOUT_S_MIN = 1800
"""Without timeoutSeconds a watch lasts between this and twice this (--min-request-timeout)."""
BOOKMARK_S = 60.0
LAST_BOOKMARK_S = 2.0
"""Before the end of the watch, so that its client goes on from there."""
WRITE_TIMEOUT_S = 30.0
BATCH_EVENTS = 500
BATCH_BYTES = 1 << 18
"""What is turned into bytes at once: many small objects, or one large one."""
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


async def watch(call: Call) -> web.StreamResponse:
    query = call.query
    view = respond.negotiate(call.accept, tables=call.app.table is not None)
    initial = query.flag("sendInitialEvents") if query.given("sendInitialEvents") else None
    version = query.get("resourceVersion")
    versions.check_watch(version, query.get("resourceVersionMatch"), initial_events=initial)
    accepts = _selection(call)
    timeout_s = query.number("timeoutSeconds") or 0
    cache = call.cache
    seconds = float(timeout_s) if timeout_s > 0 else random.uniform(TIMEOUT_S_MIN, 2 * TIMEOUT_S_MIN)
    stream = _Stream(call, view, accepts, bookmarks=query.flag("allowWatchBookmarks"))
    call.app.metrics.watching(call, 1)
    subscription = None
    try:
        try:
            subscription, first = await _begin(call, cache, version, initial)
        except ApiError as error:
            if error.reason != "Expired":
                raise
            await stream.begin()
            await stream.write([document("ERROR", error.status())])
            return stream.response
        await stream.begin()
        await stream.items(first)
        if initial and stream.bookmarks and (known := subscription.told_up_to(cache.revision)) is not None:
            await stream.bookmark(known, ended=True)
        await _follow(stream, cache, subscription, asyncio.get_running_loop().time() + seconds)
        return stream.response
    except ApiError as error:
        if not stream.response.prepared:
            raise
        # A conversion webhook that does not convert: the client watches again from what it saw last.
        with contextlib.suppress(ConnectionError, TimeoutError):
            await stream.write([document("ERROR", error.status())])
        return stream.response
    except ConnectionError:
        return stream.response
    except TimeoutError:
        # Whatever else is written would wait for the same reader.
        if call.request.transport is not None:
            call.request.transport.abort()
        call.app.metrics.terminated.labels(call.resource.group, call.resource.plural).inc()
        return stream.response
    finally:
        call.app.metrics.watching(call, -1)
        if subscription is not None:
            cache.unsubscribe(subscription)
            if subscription.slow:
                call.app.metrics.terminated.labels(call.resource.group, call.resource.plural).inc()


def _selection(call: Call) -> Accepts | None:
    accepts = selection(call)
    if not call.info.name and not call.namespace:
        return accepts
    below = call.key() if call.info.name else f"{call.served.prefix}{call.namespace}/"
    if call.info.name and (call.namespace or not call.resource.namespaced):
        return lambda item: item.key == below and (accepts is None or accepts(item))
    if call.info.name:
        return accepts  # a name in all namespaces: the field selector says it
    return lambda item: item.key.startswith(below) and (accepts is None or accepts(item))


async def _begin(call: Call, cache: Cache, version: str, initial: bool | None) -> tuple[Subscription, list[Item]]:
    """The subscription, and what is to be told before it. Raises ApiError: Expired (410), or 504 if the cache does not come so far."""
    revision = versions.parse(version)
    if not version or (initial and not revision and version != "0"):
        newest = await call.app.caches.newest.revision()
        cache.expect(newest)
        await cache.reach(newest)
    elif not revision or initial:
        await cache.reach(revision)
    if initial or (initial is None and not revision):
        # No turn of the event loop between the two: together they are the state and everything after it.
        subscription = cache.subscribe(cache.revision)
        return subscription, cache.items(_below(call))
    if not revision:
        return cache.subscribe(cache.revision), []
    await cache.reach(0)  # until the first list, nobody knows how far back the ring goes
    return cache.subscribe(revision), []


def _below(call: Call) -> str:
    return f"{call.served.prefix}{call.namespace}/" if call.namespace else ""


async def _follow(stream: _Stream, cache: Cache, subscription: Subscription, end_s: float) -> None:
    loop = asyncio.get_running_loop()
    # Spread, so that a thousand watchers do not all ask for their bookmark at once.
    next_bookmark_s = loop.time() + random.uniform(0.8, 1.0) * BOOKMARK_S
    last_sent = False
    while True:
        if batch := subscription.take(BATCH_EVENTS):
            await stream.events(batch)
            continue
        now_s = loop.time()
        known = subscription.told_up_to(cache.revision)
        if known is None or now_s >= end_s:
            return
        if stream.bookmarks and (now_s >= next_bookmark_s or (not last_sent and now_s >= end_s - LAST_BOOKMARK_S)):
            last_sent = last_sent or now_s >= end_s - LAST_BOOKMARK_S
            next_bookmark_s = now_s + BOOKMARK_S
            await stream.bookmark(known)
            continue
        until_s = min(end_s, next_bookmark_s, end_s if last_sent else max(end_s - LAST_BOOKMARK_S, now_s)) if stream.bookmarks else end_s
        await subscription.wait(max(until_s - now_s, 0.001))


class _Stream:
    """The answer to one watch. Raises ConnectionError and TimeoutError when the client is gone or does not read."""

    def __init__(self, call: Call, view: View, accepts: Accepts | None, *, bookmarks: bool) -> None:
        self._call = call
        self._view = view
        self._accepts = accepts
        self._columns = True
        self.bookmarks = bookmarks
        self.response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})

    async def begin(self) -> None:
        call = self._call
        for text in call.warnings:
            self.response.headers.add("Warning", respond.warning(text))
        call.app.mark(call.request, self.response)
        self.response.enable_chunked_encoding()
        await self.response.prepare(call.request)
        # The client is to know at once that it watches, even if nothing happens for an hour.

    async def write(self, lines: Iterable[Line], made_bytes: int = 0) -> None:
        """`made_bytes`: about how much of the lines is made for this client alone."""
        async with self._call.app.outgoing.sending(self._call.request, made_bytes) as sending:
            for piece in pieces(itertools.chain.from_iterable(lines)):
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await sending.write(self.response, piece)

    async def items(self, items: list[Item]) -> None:
        accepts = self._accepts
        if accepts is not None:
            await self._call.prepare(items)
        await self._tell((ADDED, item) for item in items if accepts is None or accepts(item))

    async def events(self, events: list[Event]) -> None:
        if self._accepts is not None:
            await self._call.prepare(item for event in events for item in (event.before, event.item) if item is not None)
        await self._tell(self._told(events))

    async def _tell(self, told: Iterable[tuple[str, Item]]) -> None:
        for batch in batches(told, lambda each: each[1].size_bytes, BATCH_EVENTS, BATCH_BYTES):
            await self._call.prepare(item for _, item in batch)
            # Views are made for this client alone, whole objects are the cache's.
            made_bytes = sum(item.size_bytes for _, item in batch) if self._view.kind else 0
            await self.write((self._line(type, item) for type, item in batch), made_bytes)

    async def bookmark(self, revision: int, *, ended: bool = False) -> None:
        metadata: dict[str, object] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if ended:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        resource = self._call.resource
        obj: Object = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        if self._view.kind == respond.TABLE:
            rows = [{"cells": [], "object": respond.partial(obj, self._view.version)}]
            obj = {"kind": "Table", "apiVersion": f"{respond.META}/{self._view.version}", "metadata": metadata, "columnDefinitions": [], "rows": rows}
        elif self._view.kind:
            obj = respond.partial(obj, self._view.version)
        await self.write([document("BOOKMARK", obj)])

    def _told(self, events: list[Event]) -> Iterator[tuple[str, Item]]:
        accepts = self._accepts
        for event in events:
            if accepts is None:
                yield event.type, event.item
                continue
            before = event.before is not None and accepts(event.before)
            now = event.type != DELETED and accepts(event.item)
            if now:
                yield MODIFIED if before else ADDED, event.item
            elif before:
                yield DELETED, event.item if event.type == DELETED else event.left()

    def _line(self, type: str, item: Item) -> Line:
        view = self._view
        if not view.kind:
            return line(type, item.encoded(self._call.served))
        obj = item.form(self._call.served)
        if view.kind == respond.TABLE:
            metadata = {"resourceVersion": str(item.revision)}
            table = respond.table(self._call, [obj], metadata, view, columns=self._columns)
            self._columns = False
            return document(type, table)
        return document(type, respond.partial(obj, view.version))
