"""PUT of an object, and what every change of an existing object goes through (registry/generic/registry/store.go, Update)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from apiserver.handlers import create, options, respond, writing
from apiserver.handlers import metadata as meta_rules
from apiserver.handlers.call import Call
from apiserver.handlers.deleting import is_held
from apiserver.machinery.objects import Object, copied, is_terminating, metadata, name_of
from apiserver.machinery.status import ApiError, Cause, bad_request, invalid, invalid_value
from apiserver.registry.registry import Served
from apiserver.request import Attributes
from apiserver.storage.keys import key
from apiserver.storage.objects import Removed

Make = Callable[[Object | None], Awaitable[Object]]
"""From what is there now, in the request's version (a copy of it: yours), to what it is to become."""
Prepare = Callable[[Object, Object], None]
Validate = Callable[[Object, Object], list[Cause]]
Rules = tuple[Prepare, Validate]


async def update(call: Call, how: Rules | None = None) -> web.StreamResponse:
    options.check(call, "UpdateOptions")
    given, text = await writing.body(call)
    resource = call.resource
    writing.admit_kind(given, resource.api_version, resource.kind)
    writing.decoded(call, given, call.served.checker, text)
    check_name(call, given)

    async def make(_: Object | None) -> Object:
        return copied(given)

    stored, created = await change(call, make, may_create=call.served.strategy.create_on_update and not call.info.subresource, how=how)
    return respond.one(call, await call.shown(stored), 201 if created else 200)


def check_name(call: Call, obj: Object) -> None:
    """The object in the body is the one in the path. Raises ApiError (400)."""
    meta = metadata(obj)
    name = meta.get("name") or ""
    if not name:
        raise bad_request(f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided")
    if name != call.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({call.name})")
    namespace = meta.get("namespace") or ""
    if call.resource.namespaced:
        if namespace and namespace != call.namespace:
            raise bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request: expected {call.namespace}, got {namespace}"
            )
        meta["namespace"] = call.namespace
    else:
        meta.pop("namespace", None)


async def change(
    call: Call,
    make: Make,
    *,
    may_create: bool = False,
    unconditional: bool | None = None,
    how: Rules | None = None,
) -> tuple[Object, bool]:
    """Carry out a change: (what is stored now, whether it is new). `how`: rules of a subresource that are not the strategy's. Raises ApiError."""
    served, app = call.served, call.app
    where = key(served.prefix, call.namespace, call.name)
    before: Object | None = None
    if unconditional is None:
        unconditional = served.strategy.unconditional_update

    async def step(current: Object | None) -> Object | Removed:
        nonlocal before
        if current is None:
            if not may_create:
                raise call.not_found()
            raise _Absent
        old = await call.shown(copied(current))
        new = await make(copied(old))
        check_version(call, new, old, unconditional=unconditional)
        new = await _prepared(call, new, old, how)
        stored = await call.to_store(new)
        if same(stored, current):
            return current
        if done_waiting(served, stored):
            return Removed(stored)
        before = current
        return await claims.take(stored, current)

    claims = app.claims(served, dry_run=call.dry_run)
    try:
        if call.dry_run:
            row = await app.objects.get(served.prefix, where)
            outcome = await step(row.obj if row is not None else None)
            return (outcome.obj if isinstance(outcome, Removed) else outcome), False
        try:
            row = await app.objects.update(served.prefix, where, step, call.known())
        except ApiError:
            await claims.settle(None, None)
            raise
        await claims.settle(before, row.obj)
        return row.obj, False
    except _Absent:
        await _may_create(call)
        obj = await make(None)
        writing.check_preconditions(call, {"metadata": {**metadata(obj), "uid": None}}, metadata(obj).get("uid"), None)
        metadata(obj).pop("resourceVersion", None)
        return await create.store_new(call, obj), True


async def _may_create(call: Call) -> None:
    """Who may change objects may not by that make new ones: a write that turns out to be a creation is authorized as one. Raises ApiError (403)."""
    if call.app.authorize is not None:
        info = call.info
        await call.app.authorize(
            Attributes(call.user, "create", info.path, True, info.group, info.version, info.resource, "", info.namespace, info.name)
        )


class _Absent(Exception):
    """There is nothing to update, and creating it is allowed."""


async def _prepared(call: Call, new: Object, old: Object, how: Rules | None) -> Object:
    """The object ready to be stored. Raises ApiError."""
    served, strategy, resource = call.served, call.served.strategy, call.resource
    prepare, validate = how or rules(served, call.info.subresource)
    meta_rules.prepare_update(new, old)
    call.app.carry(served, new, old)
    prepare(new, old)
    write = writing.write_of(call, "UPDATE", new, old, options={"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"})
    new = await writing.admit(call, write)
    if served.checker is not None:
        served.checker.default(new)
    call.app.manage(call, new, old)
    causes = meta_rules.validate_update(new, old) + meta_rules.validate(new, resource, custom=served.custom) + writing.missing(served, new)
    causes += validate(new, old)
    writing.raise_faults(resource, name_of(new), causes)
    await writing.validate_admission(call, write)
    call.warnings += [text for text in strategy.warnings(new) if text not in call.warnings]
    return new


def rules(served: Served, subresource: str) -> Rules:
    strategy = served.strategy
    if subresource == "status":
        return strategy.prepare_status_update, strategy.validate_status_update
    return strategy.prepare_update, strategy.validate_change


def check_version(call: Call, new: Object, old: Object, *, unconditional: bool) -> None:
    """The optimistic lock: a resourceVersion or uid in the new object must be the old one's. Raises ApiError."""
    meta = metadata(new)
    writing.check_preconditions(call, old, meta.get("uid"), None)
    version = meta.get("resourceVersion")
    if not version or version == "0":
        if not unconditional:
            cause = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(call.resource.group, call.resource.plural, name_of(new) or call.name, [cause])
    elif version != metadata(old).get("resourceVersion"):
        raise writing.stale(call, name_of(old))
    meta["resourceVersion"] = metadata(old).get("resourceVersion")


def same(new: Object, current: Object) -> bool:
    return new == current


def done_waiting(served: Served, obj: Object) -> bool:
    """Whether this change took away the last thing that a deletion waited for."""
    meta = metadata(obj)
    return is_terminating(obj) and not meta.get("finalizers") and not meta.get("deletionGracePeriodSeconds") and not is_held(served, obj)
