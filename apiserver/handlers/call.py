"""One request on its way through the handlers, and what it finds there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from aiohttp import web

from apiserver.filters.audit import BODY
from apiserver.filters.request_info import Query, RequestInfo
from apiserver.machinery import fieldmanager
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError, not_found
from apiserver.registry.registry import Served
from apiserver.request import User
from apiserver.storage.cache import Cache
from apiserver.storage.items import Item
from apiserver.storage.keys import key
from apiserver.storage.objects import Row

if TYPE_CHECKING:
    from apiserver.app import App
    from apiserver.conversion_webhooks import Converter

BODY_BYTES_MAX = 3 << 20


class Call:
    __slots__ = ("annotations", "app", "applies", "info", "query", "request", "served", "user", "warnings")

    def __init__(self, app: App, request: web.BaseRequest, info: RequestInfo, query: Query, user: User, served: Served) -> None:
        self.app = app
        self.request = request
        self.info = info
        self.query = query
        self.user = user
        self.served = served
        self.warnings: list[str] = [served.deprecation] if served.deprecation else []
        """Go to the client as Warning headers."""
        self.applies = False
        """Whether this is a server-side apply, which tells itself who owns what."""
        self.annotations: dict[str, str] = {}
        """Go to the audit log."""

    @property
    def resource(self) -> Resource:
        return self.served.resource

    @property
    def namespace(self) -> str:
        """Of the objects asked for; empty for those of the whole cluster."""
        return self.info.namespace if self.resource.namespaced else ""

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def accept(self) -> str:
        return self.request.headers.get("Accept", "*/*")

    @property
    def cache(self) -> Cache:
        return self.app.caches.of(self.served)

    def key(self, name: str = "") -> str:
        return key(self.served.prefix, self.namespace, name or self.info.name)

    def known(self, where: str = "") -> Row | None:
        """What the cache has of it: where a write begins, which finds out if that is old."""
        item = self.cache.get(where or self.key())
        return None if item is None else Row(item.key, item.obj, item.revision)

    async def shown(self, obj: Object) -> Object:
        """A stored object in the version that was asked for; the same object if it is in it. Raises ApiError (500)."""
        if self.served.webhook is None:
            return self.served.in_version(obj)
        return await self._converter.shown(self.served, obj)

    async def to_store(self, obj: Object) -> Object:
        """An object of the version of the request as it is stored. Raises ApiError (500)."""
        if self.served.webhook is None:
            return self.served.stored(obj)
        return await self._converter.stored(self.served, obj)

    async def prepare(self, items: Iterable[Item]) -> None:
        """From here on the items' `form` is there for the version of the request. Raises ApiError (500)."""
        if self.served.webhook is not None:
            await self._converter.prepare(self.served, items)

    @property
    def _converter(self) -> Converter:
        if self.app.converter is None:
            raise ApiError("InternalError", "conversion webhooks are not called by this server")
        return self.app.converter

    def not_found(self, name: str = "") -> ApiError:
        return not_found(self.resource.group, self.resource.plural, name or self.info.name)

    @property
    def dry_run(self) -> bool:
        return "All" in self.query.all("dryRun")

    @property
    def field_manager(self) -> str:
        """Who owns the fields that this write sets: what the client says, or its program's name."""
        return self.query.get("fieldManager") or fieldmanager.default_manager(self.request.headers.get("User-Agent", "")) or "unknown"

    async def body(self) -> bytes:
        """Raises ApiError (413)."""
        length = self.request.content_length
        too_large = ApiError("RequestEntityTooLarge", f"Request entity too large: limit is {BODY_BYTES_MAX}")
        if length is not None and length > BODY_BYTES_MAX:
            raise too_large
        if self.request.headers.get("Expect", "").lower() == "100-continue":
            # curl asks so before it sends a megabyte, and waits a second where nobody says so.
            await self.request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.request.writer.output_size = 0
        parts: list[bytes] = []
        size = 0
        async for part in self.request.content.iter_any():
            size += len(part)
            if size > BODY_BYTES_MAX:
                raise too_large
            parts.append(part)
        whole = b"".join(parts)
        if self.app.audit is not None:
            self.request[BODY] = whole
        return whole
