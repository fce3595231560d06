"""What create, update, patch and delete have in common: the order of a write (see registry/strategy.py), with admission in the middle of it."""

from __future__ import annotations

from apiserver.handlers import decoding
from apiserver.handlers.call import Call
from apiserver.machinery.objects import Object, metadata, name_of
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError, Cause, bad_request, invalid
from apiserver.registry import go_types
from apiserver.registry.go_types import Told
from apiserver.registry.registry import Checker, Served
from apiserver.request import Write

SUMMARY_BYTES = 30


async def body(call: Call) -> tuple[Object, bytes | None]:
    """The request's object, and its JSON if it was JSON. Raises ApiError."""
    raw = await call.body()
    try:
        obj, text = await decoding.decode(raw, call.request.headers.get("Content-Type", ""))
    except ApiError as error:
        if error.reason != "BadRequest":
            raise
        raise _unrecognized(call, error.message, raw) from None
    if call.served.custom and not obj.get("kind"):
        # What is no struct has nothing that its kind could be read off.
        raise _unrecognized(call, f"Object 'Kind' is missing in '{raw.decode(errors='replace')}'", raw)
    return obj, text


def _unrecognized(call: Call, why: str, raw: bytes) -> ApiError:
    return bad_request(f"the object provided is unrecognized (must be of type {call.resource.kind}): {why} ({_summary(raw)})")


def _summary(raw: bytes) -> str:
    """The beginning of a body that nobody understands."""
    if not raw:
        return "<empty>"
    start = raw[:SUMMARY_BYTES]
    return (start.decode(errors="replace") if raw[:1] == b"{" else start.hex()) + (" ..." if len(raw) > SUMMARY_BYTES else "")


def admit_kind(obj: Object, api_version: str, kind: str) -> None:
    """The object says what it is, and it is what the path says; what it leaves out is filled in. Raises ApiError (400)."""
    meta = obj.get("metadata")
    if meta is not None and not isinstance(meta, dict):
        raise bad_request(f'{kind} in version "{api_version.rpartition("/")[2]}" cannot be handled as a {kind}: metadata must be an object')
    obj["metadata"] = {} if meta is None else meta
    for name in ("kind", "apiVersion"):
        if not isinstance(obj.get(name, ""), str):
            raise bad_request(f"couldn't get version/kind; json parse error: json: cannot unmarshal Go struct field .{name} of type string")
    given = obj.setdefault("apiVersion", api_version) or api_version
    its = obj.setdefault("kind", kind) or kind
    obj["apiVersion"], obj["kind"] = given, its
    if its != kind:
        version = api_version.rpartition("/")[2]
        raise bad_request(
            f'{its} in version "{str(given).rpartition("/")[2]}" cannot be handled as a {kind}: the path wants {kind} in version "{version}"'
        )
    if given != api_version:
        raise bad_request(f"the API version in the data ({given}) does not match the expected API version ({api_version})")


def field_validation(call: Call) -> str:
    """Strict, Warn (the default) or Ignore."""
    return call.query.get("fieldValidation") or "Warn"


def decoded(call: Call, obj: Object, checker: Checker | None, text: bytes | None = None, told: Told = go_types.told) -> None:
    """Pruned, its types checked, and defaulted, in place. `told`: the words for a wrong type. Raises ApiError."""
    if checker is None:
        return
    call.warnings += checker.decode(obj, validation=field_validation(call), text=text, told=told)
    checker.default(obj)


def write_of(call: Call, operation: str, obj: Object | None, old: Object | None, *, name: str = "", options: Object | None = None) -> Write:
    return Write(
        user=call.user,
        operation=operation,
        resource=call.resource,
        namespace=call.namespace,
        name=name or (name_of(obj) if obj else "") or call.name,
        object=obj,
        old_object=old,
        subresource=call.info.subresource,
        options=options or {},
        dry_run=call.dry_run,
        warnings=call.warnings,
        annotations=call.annotations,
    )


async def admit(call: Call, write: Write) -> Object:
    """The object after all mutating plug-ins. Raises ApiError."""
    for plugin in call.app.admission:
        await plugin.admit(write)
    assert write.object is not None
    return write.object


async def validate_admission(call: Call, write: Write) -> None:
    for plugin in call.app.admission:
        await plugin.validate(write)


async def admit_without_object(call: Call, write: Write) -> None:
    """For deletions and connections."""
    for plugin in call.app.admission:
        await plugin.admit(write)
    for plugin in call.app.admission:
        await plugin.validate(write)


def raise_faults(resource: Resource, name: str, causes: list[Cause]) -> None:
    if causes:
        raise invalid(resource.group, resource.kind, name, list(dict.fromkeys(causes)))


def missing(served: Served, obj: Object) -> list[Cause]:
    return served.checker.required(obj) if served.checker is not None and served.strategy.requires_by_schema else []


def check_preconditions(call: Call, obj: Object, uid: str | None, resource_version: str | None, *, word: str = "Precondition failed") -> None:
    """Raises ApiError (409)."""
    from apiserver.machinery.status import conflict

    meta = metadata(obj)
    resource = call.resource
    if uid and uid != meta.get("uid"):
        raise conflict(resource.group, resource.plural, meta["name"], f"{word}: UID in precondition: {uid}, UID in object meta: {meta.get('uid')}")
    if resource_version and resource_version != meta.get("resourceVersion"):
        told = f"{word}: ResourceVersion in precondition: {resource_version}, ResourceVersion in object meta: {meta.get('resourceVersion')}"
        raise conflict(resource.group, resource.plural, meta["name"], told)


def stale(call: Call, name: str) -> ApiError:
    from apiserver.machinery.status import conflict

    return conflict(call.resource.group, call.resource.plural, name)
