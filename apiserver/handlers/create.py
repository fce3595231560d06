"""POST to a collection."""

from __future__ import annotations

from aiohttp import web

from apiserver.handlers import metadata as meta_rules
from apiserver.handlers import options, refusals, respond, writing
from apiserver.handlers.call import Call
from apiserver.machinery.names import GENERATE_TRIES_MAX
from apiserver.machinery.objects import Object, copied, is_terminating, metadata, name_of
from apiserver.machinery.status import ApiError, already_exists
from apiserver.storage.keys import key
from apiserver.storage.objects import Row


async def create(call: Call) -> web.StreamResponse:
    options.check(call, "CreateOptions")
    obj, text = await writing.body(call)
    resource = call.resource
    writing.admit_kind(obj, resource.api_version, resource.kind)
    writing.decoded(call, obj, call.served.checker, text)
    virtual = call.app.virtual.get(resource.qualified)
    if virtual is not None:
        # Reviews: answered, never stored.
        return respond.one(call, await virtual(call, obj), 201)
    if call.app.caches.find(call.served) is None:
        raise refusals.not_allowed()
    stored = await store_new(call, obj)
    return respond.one(call, await call.shown(stored), 201)


async def store_new(call: Call, obj: Object) -> Object:
    """From a decoded, defaulted object to a stored one, in the stored version. Raises ApiError."""
    app = call.app
    generated = bool(metadata(obj).get("generateName")) and not name_of(obj)
    for attempt in range(GENERATE_TRIES_MAX):
        fresh = copied(obj) if generated else obj
        row, name = await _try(call, fresh)
        if row is not None:
            return row.obj
        if not generated or attempt == GENERATE_TRIES_MAX - 1:
            break
    if generated:
        told = already_exists(call.resource.group, call.resource.plural, name)
        raise ApiError("AlreadyExists", f"{told.message}, the server was not able to generate a unique name for the object", details=told.details)
    app.metrics.conflicts.inc()
    told = already_exists(call.resource.group, call.resource.plural, name)
    there = await app.objects.get(call.served.prefix, key(call.served.prefix, call.namespace, name))
    if there is not None and is_terminating(there.obj):
        raise ApiError("AlreadyExists", f"object is being deleted: {told.message}", details=told.details)
    raise told


async def _try(call: Call, obj: Object) -> tuple[Row | None, str]:
    """(the row, its name); no row if the name is taken."""
    app, served, resource = call.app, call.served, call.resource
    version = str(metadata(obj).get("resourceVersion") or "")
    meta_rules.prepare_create(obj, resource, call.namespace, app.now(), app.new_uid(), app.suffix)
    given_status = obj.get("status")
    served.strategy.prepare_create(obj)
    served.strategy.note_requester(obj, call.user)
    if given_status is None and "status" not in obj and served.checker is not None:
        served.checker.default(obj)
    write = writing.write_of(call, "CREATE", obj, None, options={"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"})
    obj = await writing.admit(call, write)
    served.strategy.settle_create(obj)
    app.manage(call, obj, None)
    name = name_of(obj)
    causes = meta_rules.validate(obj, resource, custom=served.custom)
    causes += writing.missing(served, obj)
    causes += served.strategy.validate(obj)
    writing.raise_faults(resource, name, causes)
    await writing.validate_admission(call, write)
    if version.isdigit() and int(version):
        raise ApiError("", "resourceVersion should not be set on objects to be created", code=500)
    call.warnings += served.strategy.warnings(obj)
    where = key(served.prefix, call.namespace, name)
    stored = await call.to_store(obj)
    if call.dry_run:
        if await app.objects.get(served.prefix, where) is not None:
            return None, name
        return Row(where, await app.claims(served, dry_run=True).take(stored, None), 0), name
    claims = app.claims(served)
    row = await app.objects.create(served.prefix, where, await claims.take(stored, None))
    # Where it is not known whether the write was carried out (no answer, the client went away), claims stay: the repair looks after them.
    await claims.settle(None, row.obj if row is not None else None)
    return row, name
