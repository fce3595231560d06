"""How many there are to be: autoscaling/v1 Scale as a view of any resource that says where it keeps its replicas."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from apiserver.handlers import decoding, options, patch, refusals, respond, update, writing
from apiserver.handlers.call import Call
from apiserver.machinery import patches, schema, selectors, strategic
from apiserver.machinery.objects import Object, copied, metadata
from apiserver.machinery.status import ApiError, invalid, invalid_value
from apiserver.registry import schemas
from apiserver.registry.registry import Path, Scale

API_VERSION, KIND = "autoscaling/v1", "Scale"
SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def at(obj: Object, path: Path) -> Any:
    found: Any = obj
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def shown(obj: Object, where: Scale) -> Object:
    """The Scale of an object."""
    status: Object = {"replicas": at(obj, where.status_replicas) or 0}
    selector = selector_text(at(obj, where.selector)) if where.selector else ""
    if selector:
        status["selector"] = selector
    return {
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": {name: obj["metadata"][name] for name in SHOWN if name in obj["metadata"]},
        "spec": {"replicas": replicas} if (replicas := at(obj, where.spec_replicas)) else {},
        "status": status,
    }


def selector_text(selector: Any) -> str:
    if isinstance(selector, str) or not selector:
        return selector or ""
    if "matchLabels" in selector or "matchExpressions" in selector:
        return str(selectors.from_label_selector(selector))
    return str(selectors.from_labels(selector))


def with_replicas(obj: Object, where: Scale, replicas: int) -> Object:
    """The object, changed in place."""
    holder = obj
    for step in where.spec_replicas[:-1]:
        holder = holder.setdefault(step, {})
    holder[where.spec_replicas[-1]] = replicas
    return obj


async def scale(call: Call) -> web.StreamResponse:
    where = call.served.scale
    if where is None:
        raise refusals.no_such()
    if call.info.verb == "get":
        row = await call.app.objects.get(call.served.prefix, call.key())
        if row is None:
            raise call.not_found()
        return respond.one(call, shown(await call.shown(row.obj), where))
    if call.info.verb == "update":
        options.check(call, "UpdateOptions")
        given, text = await writing.body(call)
        make = _replacing(call, where, lambda _: _checked(call, given, text))
    elif call.info.verb == "patch":
        make = _replacing(call, where, await _patching(call))
    else:
        raise refusals.not_allowed()
    stored, _ = await update.change(call, make, unconditional=True)
    return respond.one(call, shown(await call.shown(stored), where))


def _replacing(call: Call, where: Scale, ask: Any) -> update.Make:
    async def make(current: Object | None) -> Object:
        assert current is not None
        before = shown(current, where)
        asked = ask(before)
        meta = metadata(asked)
        writing.check_preconditions(call, current, meta.get("uid"), None)
        if meta.get("resourceVersion") and meta["resourceVersion"] != current["metadata"]["resourceVersion"]:
            raise writing.stale(call, call.name)
        replicas = (asked.get("spec") or {}).get("replicas") or 0
        if replicas < 0:
            cause = invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
            raise invalid("autoscaling", KIND, call.name, [cause])
        return with_replicas(current, where, replicas)

    return make


def _checked(call: Call, asked: Any, text: bytes | None = None) -> Object:
    if not isinstance(asked, dict):
        raise ApiError("BadRequest", "a Scale was expected")
    obj = copied(asked)
    writing.admit_kind(obj, API_VERSION, KIND)
    update.check_name(call, obj)
    writing.decoded(call, obj, schemas.check_kind("autoscaling", "v1", KIND), text)
    return obj


async def _patching(call: Call) -> Any:
    kind = decoding.media_type(call.request.headers.get("Content-Type", ""))
    body = await call.body()
    options.check(call, "PatchOptions", applies=kind == patch.APPLY)
    if kind == patch.APPLY:
        applied = decoding.from_json(body) if body.lstrip()[:1] == b"{" else await decoding.from_yaml(body)
        return lambda before: _checked(call, patches.merge_patch(before, applied))
    document = decoding.from_json(body)
    if kind == patch.JSON_PATCH:
        return lambda before: _checked(call, patches.json_patch(before, document))
    if kind == patch.MERGE:
        return lambda before: _checked(call, patches.merge_patch(before, document))
    if kind == patch.STRATEGIC:
        return lambda before: _checked(call, strategic.strategic_patch(before, document, schema.built_in("autoscaling", "v1", KIND)))
    raise decoding.unsupported(kind, [patch.JSON_PATCH, patch.MERGE, patch.STRATEGIC, patch.APPLY])
