"""Parts of an object with a path of their own: `status` of every resource that has it, and those that one resource alone has."""

from __future__ import annotations

from aiohttp import web

from apiserver.app import App
from apiserver.handlers import get, update, verbs
from apiserver.handlers.call import Call


async def part(call: Call) -> web.StreamResponse:
    """A view of the object itself that writes only its part: what may change is the strategy's to say (see update.rules)."""
    if call.info.verb == "get":
        return await get.get(call)
    if call.info.verb == "update":
        return await update.update(call)
    raise verbs.not_allowed()


def install(app: App) -> None:
    app.subresources[("*", "status")] = part
