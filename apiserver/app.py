"""The server without its sockets: what stands behind every request, put together once."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from aiohttp import web

from apiserver.conversion_webhooks import Converter
from apiserver.filters.audit import Auditor
from apiserver.filters.inflight import Inflight
from apiserver.handlers.call import Call
from apiserver.handlers.deleting import TIME
from apiserver.handlers.respond import Tables
from apiserver.machinery import fieldmanager, names
from apiserver.machinery.objects import Object
from apiserver.metrics import Metrics
from apiserver.registry.registry import Registry, Served
from apiserver.request import Admission, Attributes
from apiserver.sending import Outgoing
from apiserver.storage.caches import Caches
from apiserver.storage.claims import Allocator, Claims
from apiserver.storage.objects import Objects

AUDIT_ID = web.RequestKey("audit-id", str)
"""What the audit log calls a request; the client may give it a name."""

Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Virtual = Callable[[Call, Object], Awaitable[Object]]
"""A resource that is answered and not kept: takes the decoded object, returns it with its answer."""
Page = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class App:
    """`subresources` by (`pods`, `log`) or, for all resources, (`*`, `status`); `pages` by the first part of the path."""

    def __init__(self, registry: Registry, objects: Objects, *, admission: Sequence[Admission] = (), inflight: Inflight | None = None) -> None:
        self.registry = registry
        self.objects = objects
        self.caches = Caches(registry, objects)
        self.admission = list(admission)
        self.metrics = Metrics()
        self.inflight = inflight or Inflight()
        self.outgoing = Outgoing()
        self.virtual: dict[str, Virtual] = {}
        self.sources: dict[str, dict[str, Handler]] = {}
        """Resources that are kept elsewhere: handlers by verb."""
        self.subresources: dict[tuple[str, str], Handler] = {}
        self.pages: dict[str, Page] = {}
        self.allocators: dict[str, Allocator] = {}
        self.table: Tables | None = None
        """Makes tables of objects; without it clients get the objects, which they take as well."""
        self.audit: Auditor | None = None
        self.authorize: Callable[[Attributes], Awaitable[str]] | None = None
        """For what a handler finds out to be something else than the request said. None: everybody may everything."""
        self.converter: Converter | None = None
        """Asks the conversion webhooks of custom resources."""
        self.stopping = False

    def schemas(self) -> dict[tuple[str, str, str], Object]:
        """Of custom resources, for the documents about them: by group, version and kind."""
        resources = [(each.resource, each.node) for each in self.registry.served() if each.custom and each.node is not None]
        return {(resource.group, resource.version, resource.kind): node.raw for resource, node in resources}

    # --- time and chance ----------------------------------------------------------------------------------------------

    def clock(self) -> datetime:
        return datetime.now(UTC)

    def now(self) -> str:
        return self.clock().strftime(TIME)

    def new_uid(self) -> str:
        return str(uuid.uuid4())

    def suffix(self) -> str:
        """What generateName appends."""
        return names.suffix(secrets.choice)

    # --- what writes need ---------------------------------------------------------------------------------------------

    def claims(self, served: Served, *, dry_run: bool = False) -> Claims:
        """For one write of an object that may hold addresses and ports."""
        return Claims(self.allocators.get(served.resource.qualified), dry_run=dry_run)

    def carry(self, served: Served, new: Object, old: Object) -> None:
        allocator = self.allocators.get(served.resource.qualified)
        if allocator is not None:
            allocator.carry(new, old)

    def manage(self, call: Call, new: Object, old: Object | None) -> None:
        """Note in the new object who owns which field. An apply has done so itself."""
        if not call.applies:
            fieldmanager.update(
                old,
                new,
                manager=call.field_manager,
                now=self.now(),
                api_version=call.resource.api_version,
                node=call.served.node,
                subresource=call.info.subresource,
                ignored=("status",) if call.served.strategy.has_status and not call.info.subresource else (),
            )
        if old is not None:
            fieldmanager.settle(new, old)

    def mark(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Headers that every answer to this request has; an answer that comes in parts begins with it."""
        if self.audit is not None and not isinstance(response, web.Response):
            self.audit.started(request, response.status)
        audit_id = request.get(AUDIT_ID)
        if audit_id:
            response.headers["Audit-Id"] = audit_id
