"""GET of one object."""

from __future__ import annotations

from aiohttp import web

from apiserver.handlers import respond
from apiserver.handlers.call import Call
from apiserver.machinery.objects import Object
from apiserver.storage import versions


async def get(call: Call) -> web.StreamResponse:
    return respond.one(call, await call.shown(await stored(call)))


async def stored(call: Call) -> Object:
    """As it is stored. Without a resourceVersion from the store itself; with one from the cache, as soon as that is as new. Raises ApiError (404)."""
    version = call.query.get("resourceVersion")
    if not version:
        row = await call.app.objects.get(call.served.prefix, call.key())
        if row is None:
            raise call.not_found()
        return row.obj
    await call.cache.reach(versions.parse(version))
    item = call.cache.get(call.key())
    if item is None:
        raise call.not_found()
    return item.obj
