"""DELETE of an object, and of a collection."""

from __future__ import annotations

import asyncio

from aiohttp import web

from apiserver.handlers import decoding, deleting, respond, writing
from apiserver.handlers.call import Call
from apiserver.handlers.deleting import Options
from apiserver.handlers.list import listed
from apiserver.machinery.objects import Object, copied, metadata, name_of, namespace_of, uid_of
from apiserver.machinery.status import ApiError, conflict, success
from apiserver.storage.keys import key
from apiserver.storage.objects import Removed

AT_ONCE = 16
"""Deletions of a collection under way together (--delete-collection-workers, more here since nothing else runs them)."""

RETURNS_OBJECT = ("pods", "services", "serviceaccounts", "persistentvolumeclaims", "persistentvolumes", "podtemplates", "resourcequotas")
"""Resources whose last state is the answer to their deletion; all others answer a Status."""


async def delete(call: Call) -> web.StreamResponse:
    asked = await options(call)
    obj, gone = await delete_one(call, call.name, asked)
    if gone and call.resource.qualified not in RETURNS_OBJECT:
        details = {"name": call.name, "group": call.resource.group, "kind": call.resource.plural, "uid": uid_of(obj)}
        return respond.one(call, success({field: value for field, value in details.items() if value}))
    return respond.one(call, await call.shown(obj))


async def options(call: Call) -> Options:
    """From the body, or from the query where there is none. Raises ApiError."""
    body = await call.body()
    if body:
        given, _ = await decoding.decode(body, call.request.headers.get("Content-Type", ""))
        if given.get("kind", "DeleteOptions") != "DeleteOptions":
            raise ApiError("BadRequest", f"decoded object cannot be converted to DeleteOptions: {given.get('kind')}")
    else:
        query = call.query
        given = {"gracePeriodSeconds": query.number("gracePeriodSeconds"), "propagationPolicy": query.get("propagationPolicy")}
        given["dryRun"] = query.all("dryRun")
        if query.given("orphanDependents"):
            given["orphanDependents"] = query.flag("orphanDependents")
    found = deleting.options(given)
    return Options(**{**{name: getattr(found, name) for name in found.__struct_fields__}, "dry_run": found.dry_run or call.dry_run})


async def delete_one(call: Call, name: str, asked: Options, namespace: str = "") -> tuple[Object, bool]:
    """(the object's last state, whether it is gone). Raises ApiError."""
    app, served, resource = call.app, call.served, call.resource
    where = key(served.prefix, namespace or call.namespace, name)
    gone = False

    async def step(current: Object | None) -> Object | Removed:
        nonlocal gone
        gone = False
        if current is None:
            raise call.not_found(name)
        _check(call, current, asked)
        old = await call.shown(copied(current))
        write = writing.write_of(call, "DELETE", None, old, name=name, options=asked.document())
        write.namespace = namespace_of(current)
        write.dry_run = asked.dry_run
        await writing.admit_without_object(call, write)
        outcome = deleting.decide(served, current, asked, app.clock())
        if outcome.obj is None:
            gone = True
            return Removed(current)
        return current if outcome.obj == current else outcome.obj

    if asked.dry_run:
        row = await app.objects.get(served.prefix, where)
        outcome = await step(row.obj if row is not None else None)
        return (outcome.obj if isinstance(outcome, Removed) else outcome), gone
    row = await app.objects.update(served.prefix, where, step, call.known(where))
    if gone:
        await app.claims(served).settle(row.obj, None)
    assert resource is call.resource
    return row.obj, gone


def _check(call: Call, current: Object, asked: Options) -> None:
    meta = metadata(current)
    resource = call.resource
    if asked.uid and asked.uid != meta.get("uid"):
        told = (
            f"the UID in the precondition ({asked.uid}) does not match the UID in record ({meta.get('uid')}). "
            "The object might have been deleted and then recreated"
        )
        raise conflict(resource.group, resource.kind, meta["name"], told)
    if asked.resource_version and asked.resource_version != meta.get("resourceVersion"):
        told = (
            f"the ResourceVersion in the precondition ({asked.resource_version}) does not match the ResourceVersion in record "
            f"({meta.get('resourceVersion')}). The object might have been modified"
        )
        raise conflict(resource.group, resource.kind, meta["name"], told)


async def delete_collection(call: Call) -> web.StreamResponse:
    asked = await options(call)
    found = await listed(call)
    await call.prepare(found.items)
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(obj: Object) -> None:
        async with slots:
            try:
                await delete_one(call, name_of(obj), asked, namespace_of(obj))
            except ApiError as error:
                if error.reason != "NotFound":
                    raise

    try:
        async with asyncio.TaskGroup() as group:
            for item in found.items:
                group.create_task(one(item.obj), name=f"delete {item.key}")
    except* ApiError as errors:
        raise errors.exceptions[0] from None
    # As they were found: what became of each is for whoever looks again.
    deleted = [item.form(call.served) for item in found.items]
    head = {"kind": f"{call.resource.kind}List", "apiVersion": call.resource.api_version}
    return respond.json({**head, "metadata": found.metadata(custom=call.served.custom), "items": deleted})
