"""Resources that are stored nowhere: what there is is found out when somebody asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from apiserver.app import Handler
from apiserver.handlers import respond
from apiserver.handlers.call import Call
from apiserver.machinery import field_selectors, selectors
from apiserver.machinery.objects import Object, labels_of
from apiserver.machinery.resources import Resource

Get = Callable[[Resource, str, str], Awaitable[Object]]
"""Resource, namespace and name. Raises ApiError."""
List = Callable[[Resource, str], Awaitable[Sequence[Object]]]
"""Resource and namespace (empty: all); in the order in which they are shown."""


def handlers(get: Get, list_: List) -> dict[str, Handler]:
    """For `App.sources`."""

    async def one(call: Call) -> web.StreamResponse:
        return respond.one(call, await get(call.resource, call.namespace, call.name))

    async def all_(call: Call) -> web.StreamResponse:
        view = respond.negotiate(call.accept, many=True, tables=call.app.table is not None)
        labels = selectors.labels_of_request(call.query.get("labelSelector"))
        fields = field_selectors.fields_of_request(call.query.get("fieldSelector"))
        fields.check(call.resource)
        items = [each for each in await list_(call.resource, call.namespace) if labels.matches(labels_of(each)) and fields.matches(each)]
        if view.kind == respond.TABLE:
            return respond.json(respond.table(call, items, {}, view))
        if view.kind:
            return respond.json(respond.partial_list(items, {}, view.version))
        found = {"kind": f"{call.resource.kind}List", "apiVersion": call.resource.api_version, "metadata": {}, "items": items}
        return respond.as_yaml(found) if view.yaml else respond.json(found)

    return {"get": one, "list": all_}
