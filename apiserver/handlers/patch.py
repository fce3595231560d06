"""PATCH: four media types, one way to store what comes out. Whoever comes in between makes the patch start again from the newest object."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from apiserver.handlers import decoding, options, respond, update, writing
from apiserver.handlers.call import Call
from apiserver.machinery import fieldmanager, patches, strategic, typed
from apiserver.machinery.objects import Object, copied, metadata
from apiserver.machinery.status import ApiError, bad_request, invalid, invalid_value
from apiserver.registry import go_types

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

OPERATIONS_MAX = 10_000
"""Of one JSON patch (upstream's limit)."""


async def patch(call: Call) -> web.StreamResponse:
    stored, created = await patched(call)
    return respond.one(call, await call.shown(stored), 201 if created else 200)


async def patched(call: Call, how: update.Rules | None = None) -> tuple[Object, bool]:
    """(what is stored now, whether it is new). Raises ApiError."""
    kind = decoding.media_type(call.request.headers.get("Content-Type", ""))
    supported = [JSON_PATCH, MERGE, APPLY] if call.served.custom else [JSON_PATCH, MERGE, STRATEGIC, APPLY]
    if kind not in supported:
        raise decoding.unsupported(kind, supported)
    options.check(call, "PatchOptions", applies=kind == APPLY)
    body = await call.body()
    make = await _apply(call, body) if kind == APPLY else _patched(call, kind, body)
    may_create = kind == APPLY and not call.info.subresource
    call.applies = kind == APPLY
    return await update.change(call, make, may_create=may_create, unconditional=True, how=how)


def _patched(call: Call, kind: str, body: bytes) -> update.Make:
    document: Any = decoding.from_json(body)
    if kind == JSON_PATCH:
        if not isinstance(document, list):
            raise bad_request("a JSON patch is a list of operations")
        if len(document) > OPERATIONS_MAX:
            told = f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(document)}"
            raise ApiError("RequestEntityTooLarge", told)
    elif not isinstance(document, dict):
        raise bad_request("a merge patch is an object")

    async def make(current: Object | None) -> Object:
        assert current is not None
        if kind == JSON_PATCH:
            new = patches.json_patch(current, document)
        elif kind == MERGE:
            new = patches.merge_patch(current, document)
        else:
            if call.served.node is None:
                raise bad_request("there is no schema to merge by")
            new = strategic.strategic_patch(current, document, call.served.node)
        if not isinstance(new, dict):
            raise bad_request("the patch leaves no object")
        try:
            writing.admit_kind(new, call.resource.api_version, call.resource.kind)
            writing.decoded(call, new, call.served.checker, told=go_types.restored if kind == STRATEGIC else go_types.told)
        except ApiError as error:
            if error.reason != "BadRequest":
                raise
            told = error.message.removeprefix(
                f'{call.resource.kind} in version "{call.resource.version}" cannot be handled as a {call.resource.kind}: '
            )
            shown = go_types.printed(document) if kind == STRATEGIC else msgspec.json.encode(new).decode()
            raise invalid("", "", "", [invalid_value("patch", shown, told)]) from None
        update.check_name(call, new)
        return new

    return make


def _checked(call: Call, new: Object) -> None:
    writing.admit_kind(new, call.resource.api_version, call.resource.kind)
    update.check_name(call, new)
    writing.decoded(call, new, call.served.checker)


async def _apply(call: Call, body: bytes) -> update.Make:
    """Server-side apply."""
    try:
        applied = decoding.from_json(body) if body.lstrip()[:1] == b"{" else await decoding.from_yaml(body)
    except ApiError as wrong:
        raise bad_request(f"error decoding patch: {wrong.message}") from None
    if not isinstance(applied, dict):
        raise bad_request("error decoding patch: an object was expected")
    served = call.served
    judge = _judge_custom if served.custom else _judge_built_in
    force = call.query.flag("force")

    async def make(current: Object | None) -> Object:
        config = judge(call, copied(applied))
        new = fieldmanager.apply(
            current,
            config,
            manager=call.field_manager,
            now=call.app.now(),
            node=served.node,
            force=force,
            subresource=call.info.subresource,
            ignored=_ignored(call, config),
            nulls=served.custom,
        )
        if served.checker is not None:
            served.checker.default(new)
        # Who it is stays, even where nobody owns any other field of its metadata.
        identity = metadata(current) if current is not None else metadata(config)
        metadata(new).update({name: identity[name] for name in ("name", "namespace") if name in identity and name not in metadata(new)})
        update.check_name(call, new)
        return new

    return make


def _judge_custom(call: Call, config: Object) -> Object:
    """The configuration, if it is of the schema's types. Raises ApiError (400, 500)."""
    _admit_applied(call, config)
    if call.served.node is not None:
        typed.check(config, call.served.node)
    return config


def _judge_built_in(call: Call, config: Object) -> Object:
    """The configuration as its kind's decoder leaves it. Raises ApiError (400)."""
    _admit_applied(call, config)
    _checked(call, copied(config))  # unknown fields and wrong types are told of the patch itself
    update.check_name(call, config)
    if call.served.checker is not None:
        call.served.checker.decode(config, validation="Ignore")
    return config


def _admit_applied(call: Call, config: Object) -> None:
    """Nothing is filled in: whoever applies says what it is. Raises ApiError (400)."""
    api_version, kind = (each if isinstance(each := config.get(name), str) else "" for name in ("apiVersion", "kind"))
    if (api_version, kind) != (call.resource.api_version, call.resource.kind):
        group, _, version = api_version.rpartition("/")
        raise bad_request(f"invalid object type: {group}/{version}, Kind={kind}")
    if isinstance(config.get("metadata"), dict) and config["metadata"].get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")


def _ignored(call: Call, applied: Object) -> list[str]:
    """What this endpoint does not write."""
    if call.info.subresource == "status":
        return [name for name in applied if name not in ("apiVersion", "kind", "metadata", "status")]
    return ["status"] if call.resource.subresource("status") is not None else []
