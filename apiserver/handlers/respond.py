"""How answers look: JSON by default, YAML on request, and the two views that clients ask for by `as=`: Table and PartialObjectMetadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from apiserver.handlers.call import Call
from apiserver.machinery.objects import Object
from apiserver.machinery.status import ApiError
from apiserver.sending import answer

JSON = "application/json"
RANGES_MAX = 64
META = "meta.k8s.io"
TABLE, PARTIAL, PARTIAL_LIST = "Table", "PartialObjectMetadata", "PartialObjectMetadataList"

encode = msgspec.json.Encoder().encode


class View(Struct, frozen=True):
    """`kind` empty: the object as it is. `version` of meta.k8s.io for the others."""

    kind: str = ""
    version: str = "v1"
    yaml: bool = False


Tables = Callable[[Call, Sequence[Object], Object, View, bool], Object]
"""(the call, objects in the version asked for, the list's metadata, which version of Table, whether columns are told) -> the Table."""


def negotiate(accept: str, *, many: bool = False, tables: bool = True) -> View:
    """The first view in the Accept header that we have. Raises ApiError (406)."""
    for entry in accept.split(",")[:RANGES_MAX]:
        media, *parameters = [part.strip() for part in entry.split(";")]
        media = media.lower()
        given = dict(part.split("=", 1) for part in parameters if "=" in part)
        wanted = given.get("as", "")
        if media in ("application/yaml",) and not wanted:
            return View(yaml=True)
        if media not in (JSON, "application/*", "*/*", ""):
            continue
        if not wanted:
            return View()
        if given.get("g") != META or given.get("v") not in ("v1", "v1beta1"):
            continue
        if wanted == TABLE and tables:
            return View(TABLE, given["v"])
        if wanted in (PARTIAL, PARTIAL_LIST):
            if (wanted == PARTIAL_LIST) is not many:
                raise ApiError("NotAcceptable", f"you requested {wanted}, but the requested object is {'a list' if many else 'not a list'}")
            return View(wanted, given["v"])
    accepted = ", ".join((JSON, "application/yaml", "application/vnd.kubernetes.protobuf"))
    raise ApiError("NotAcceptable", f"only the following media types are accepted: {accepted}")


def partial(obj: Object, version: str = "v1") -> Object:
    return {"kind": PARTIAL, "apiVersion": f"{META}/{version}", "metadata": obj.get("metadata") or {}}


def partial_list(objects: Sequence[Object], metadata: Object, version: str = "v1") -> Object:
    items = [partial(obj, version) for obj in objects]
    # An empty one is null: upstream collects the items in a slice that nobody has made.
    return {"kind": PARTIAL_LIST, "apiVersion": f"{META}/{version}", "metadata": metadata, "items": items or None}


def json(value: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return raw(encode(value), code, headers)


def raw(body: bytes, code: int = 200, headers: Mapping[str, str] | None = None, content_type: str = JSON) -> web.Response:
    # The header by hand: aiohttp's own way adds a charset, which some clients take for another media type.
    told = {"Content-Type": content_type, "Cache-Control": "no-cache, private", **(headers or {})}
    return answer([body], len(body), code, told)


def joined(parts: Sequence[bytes], made_bytes: int) -> web.Response:
    """JSON out of parts, of which so many bytes were made for this answer alone."""
    return answer(parts, made_bytes, 200, {"Content-Type": JSON, "Cache-Control": "no-cache, private"})


def failure(error: ApiError) -> web.Response:
    headers = {}
    if (retry := error.details.get("retryAfterSeconds")) is not None:
        headers["Retry-After"] = str(retry)
    return json(error.status(), error.code, headers)


def refusal(call: Call, error: ApiError) -> web.Response:
    """A failure in the encoding that was asked for, where that is one of ours."""
    try:
        wants_yaml = negotiate(call.accept, many=call.info.verb == "list").yaml
    except ApiError:
        wants_yaml = False
    return as_yaml(error.status(), error.code) if wants_yaml else failure(error)


def one(call: Call, obj: Object, code: int = 200) -> web.Response:
    """An object, in the view that was asked for."""
    view = negotiate(call.accept, tables=call.app.table is not None)
    if obj.get("kind") == "Status":
        return json(obj, code)
    if view.kind == TABLE:
        return json(table(call, [obj], obj.get("metadata") or {}, view), code)
    if view.kind:
        return json(partial(obj, view.version), code)
    if view.yaml:
        return as_yaml(obj, code)
    return json(obj, code)


def as_yaml(obj: Object, code: int = 200) -> web.Response:
    import yaml

    return raw(yaml.dump(obj, Dumper=yaml.CSafeDumper, sort_keys=False).encode(), code, content_type="application/yaml")


def table(call: Call, objects: Sequence[Object], metadata: Object, view: View, *, columns: bool = True) -> Object:
    assert call.app.table is not None, "nobody negotiates tables that cannot be made"
    return call.app.table(call, objects, metadata, view, columns)


def warning(text: str) -> str:
    """A Warning header's value (RFC 7234, 5.5): code 299, no agent, the text quoted."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    return '299 - "' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
