"""From a resource request to its handler: one table of verbs, one of subresources, for all resources."""

from __future__ import annotations

from aiohttp import web

from apiserver.handlers import create, delete, get, list, patch, update, watch
from apiserver.handlers.call import Call
from apiserver.handlers.refusals import no_such, not_allowed

VERBS = {
    "get": get.get,
    "list": list.list_,
    "watch": watch.watch,
    "create": create.create,
    "update": update.update,
    "patch": patch.patch,
    "delete": delete.delete,
    "deletecollection": delete.delete_collection,
}


async def serve(call: Call) -> web.StreamResponse:
    """Raises ApiError."""
    info, resource = call.info, call.resource
    if call.request.method == "HEAD":
        raise not_allowed()
    if info.subresource:
        return await _subresource(call)
    namespaced = bool(info.namespace) and info.resource != "namespaces"
    if namespaced and not resource.namespaced:
        raise no_such()
    if resource.namespaced and not info.namespace and info.verb not in ("list", "watch"):
        raise not_allowed() if info.verb in ("create", "deletecollection") else no_such()
    if info.verb in ("create",) and info.name:
        raise not_allowed()
    if info.verb in ("update", "patch", "delete") and not info.name:
        raise not_allowed()
    handler = call.app.sources.get(resource.qualified, VERBS).get(info.verb)
    if handler is None or info.verb not in resource.verbs:
        raise not_allowed()
    return await handler(call)


async def _subresource(call: Call) -> web.StreamResponse:
    info, resource = call.info, call.resource
    if not info.name or resource.namespaced != (bool(info.namespace) and info.resource != "namespaces"):
        raise no_such()
    tables = call.app.subresources
    handler = tables.get((resource.qualified, info.subresource)) or tables.get(("*", info.subresource))
    declared = resource.subresource(info.subresource)
    if handler is None or (declared is None and (resource.qualified, info.subresource) not in tables):
        raise no_such()
    if declared is not None and info.verb not in declared.verbs and (resource.qualified, info.subresource) not in tables:
        raise not_allowed()
    return await handler(call)
