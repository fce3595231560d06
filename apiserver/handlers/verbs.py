"""From a resource request to its handler: one table of verbs, one of subresources, for all resources."""

from __future__ import annotations

from aiohttp import web

from apiserver.handlers import create, delete, get, list, patch, respond, update, watch
from apiserver.handlers.call import Call
from apiserver.handlers.refusals import no_such, not_allowed, not_supported
from apiserver.machinery.status import ApiError, bad_request

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
    if call.request.method == "HEAD" and not call.served.custom:
        raise not_allowed()
    if info.subresource:
        return await _subresource(call)
    namespaced = bool(info.namespace) and info.resource != "namespaces"
    if namespaced and not resource.namespaced:
        raise no_such()
    if resource.namespaced and not info.namespace and info.verb not in ("list", "watch"):
        # There is such a path, for reading; what is asked of a definition is something else than what its paths are.
        raise not_allowed() if info.verb in ("create", "deletecollection") and not call.served.custom else no_such()
    wants_name = info.verb in ("update", "patch", "delete")
    handler = call.app.sources.get(resource.qualified, VERBS).get(info.verb)
    if wants_name and not info.name and call.served.custom:
        raise bad_request("name must be provided")
    if (info.verb == "create" and info.name) or (wants_name and not info.name) or handler is None or info.verb not in resource.verbs:
        raise _not_allowed(call)
    if info.verb not in ("watch", "deletecollection"):
        respond.negotiate(call.accept, many=info.verb == "list", tables=call.app.table is not None)
    return await handler(call)


def _not_allowed(call: Call) -> ApiError:
    return not_supported(call.resource.group, call.resource.plural, call.info.verb) if call.served.custom else not_allowed()


async def _subresource(call: Call) -> web.StreamResponse:
    info, resource = call.info, call.resource
    if not info.name or resource.namespaced != (bool(info.namespace) and info.resource != "namespaces"):
        raise no_such()
    tables = call.app.subresources
    handler = tables.get((resource.qualified, info.subresource)) or tables.get(("*", info.subresource))
    declared = resource.subresource(info.subresource)
    if handler is None or (declared is None and (resource.qualified, info.subresource) not in tables):
        # Paths of built-in kinds are known beforehand; a definition is asked about each.
        raise call.not_found() if call.served.custom else no_such()
    if declared is not None and info.verb not in declared.verbs and (resource.qualified, info.subresource) not in tables:
        raise _not_allowed(call)
    if call.served.custom:
        respond.negotiate(call.accept, tables=call.app.table is not None)
    return await handler(call)
