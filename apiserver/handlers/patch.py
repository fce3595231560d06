"""PATCH: four media types, one way to store what comes out. Whoever comes in between makes the patch start again from the newest object."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from apiserver.handlers import decoding, options, respond, update, writing
from apiserver.handlers.call import Call
from apiserver.machinery import fieldmanager, patches, strategic
from apiserver.machinery.objects import Object, copied
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
    applied = decoding.from_json(body) if body.lstrip()[:1] == b"{" else await decoding.from_yaml(body)
    if not isinstance(applied, dict):
        raise bad_request("error decoding YAML: an object was expected")
    if "apiVersion" not in applied or "kind" not in applied:
        raise bad_request("the applied object must say its apiVersion and kind")
    if applied.get("kind") == call.resource.kind and applied.get("apiVersion") != call.resource.api_version:
        raise bad_request(
            f"the API version in the data ({applied['apiVersion']}) does not match the expected API version ({call.resource.api_version})"
        )
    if isinstance(applied.get("metadata"), dict) and applied["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    _checked(call, copied(applied))  # unknown fields and wrong types are told of the patch itself
    writing.admit_kind(applied, call.resource.api_version, call.resource.kind)
    update.check_name(call, applied)
    if call.served.checker is not None:
        call.served.checker.decode(applied, validation="Ignore")

    ignored = _ignored(call, applied)
    force = call.query.flag("force")

    async def make(current: Object | None) -> Object:
        new = fieldmanager.apply(
            current,
            applied,
            manager=call.field_manager,
            now=call.app.now(),
            node=call.served.node,
            force=force,
            subresource=call.info.subresource,
            ignored=ignored,
        )
        if call.served.checker is not None:
            call.served.checker.default(new)
        return new

    return make


def _ignored(call: Call, applied: Object) -> list[str]:
    """What this endpoint does not write."""
    if call.info.subresource == "status":
        return [name for name in applied if name not in ("apiVersion", "kind", "metadata", "status")]
    return ["status"] if call.resource.subresource("status") is not None else []
