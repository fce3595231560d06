"""Which subresource is whose: the generic ones, and those that one resource alone has. Other rooms add theirs to the same table."""

from __future__ import annotations

from aiohttp import web

from apiserver.app import App
from apiserver.handlers import binding, eviction, get, patch, refusals, respond, scale, update
from apiserver.handlers.call import Call
from apiserver.handlers.parts import PARTS


async def part(call: Call) -> web.StreamResponse:
    """A view of the object itself that writes only its part: what may change is said by the strategy, or by `parts`."""
    how = PARTS.get((call.resource.qualified, call.info.subresource))
    if call.info.verb == "get":
        return await get.get(call)
    if call.info.verb == "update":
        return await update.update(call, how)
    if call.info.verb == "patch":
        stored, _ = await patch.patched(call, how)
        return respond.one(call, await call.shown(stored))
    raise refusals.not_allowed()


def install(app: App) -> None:
    app.subresources[("*", "status")] = part
    app.subresources[("*", "scale")] = scale.scale
    for which in PARTS:
        app.subresources[which] = part
    app.subresources[("pods", "binding")] = binding.bind
    app.virtual["bindings"] = binding.bind_listed
    app.subresources[("pods", "eviction")] = eviction.evict
