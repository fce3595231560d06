"""/openapi/v3: an index and one document per group and version; /openapi/v2: everything in one, as JSON or protobuf.

A document is made when it is first asked for, and kept until the resources of its group and version change. Its hash is of what it is made from, not
of its text, so the index costs no document. Schemas of custom resources come from whoever holds them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import Any

import msgspec

from apiserver.discovery import swagger_protobuf
from apiserver.discovery.groups import JSON, Answer, not_acceptable
from apiserver.discovery.negotiation import ranges
from apiserver.discovery.openapi_paths import META, paths
from apiserver.discovery.openapi_schemas import V2, V3, closure, name_of, shown
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource
from apiserver.machinery.schema import VERSION

Custom = Mapping[tuple[str, str, str], Object]
"""Schemas of custom resources (openAPIV3Schema) by group, version and kind."""

A_YEAR_S = 365 * 24 * 3600
FORMAT = "1"
"""Part of every hash: raise it when the same resources make another document."""

INFO = {"title": "Kubernetes", "version": VERSION}
V2_MEDIA_TYPES = ("application/json", "application/*", "*/*")


def group_versions(resources: Iterable[Resource]) -> dict[str, list[Resource]]:
    """`apis/apps/v1`, `api/v1`: how the index names them."""
    found: dict[str, list[Resource]] = {}
    for each in sorted(resources, key=lambda each: (each.group, each.version, each.plural)):
        found.setdefault(each.collection_path.lstrip("/"), []).append(each)
    return found


class Documents:
    """The documents of one server. Not shared between servers: all make the same from the same resources."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, bytes]] = {}

    def index(self, resources: Iterable[Resource], custom: Custom | None = None, if_none_match: str = "") -> Answer:
        """GET /openapi/v3."""
        listed = {
            name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={_hash(served, custom or {})}"}
            for name, served in group_versions(resources).items()
        }
        body = msgspec.json.encode({"paths": listed})
        return _with_tag(body, hashlib.sha512(body).hexdigest().upper(), if_none_match)

    def document(
        self,
        resources: Iterable[Resource],
        name: str,
        custom: Custom | None = None,
        *,
        wanted_hash: str = "",
        if_none_match: str = "",
        now_s: float = 0,
    ) -> Answer | None:
        """GET /openapi/v3/NAME; None if nobody serves it. With an outdated hash the answer leads to the right one."""
        served = group_versions(resources).get(name.strip("/"))
        if served is None:
            return None
        current = _hash(served, custom or {})
        if wanted_hash and wanted_hash != current:
            return Answer(301, JSON, b"", {"Location": f"/openapi/v3/{name.strip('/')}?hash={current}"})
        kept = self._kept.get(name)
        if kept is None or kept[0] != current:
            kept = self._kept[name] = (current, msgspec.json.encode(document(served, custom or {})))
        found = _with_tag(kept[1], current, if_none_match)
        if wanted_hash:
            cached = {"Cache-Control": "public, immutable", "Expires": formatdate(now_s + A_YEAR_S, usegmt=True)}
            return Answer(found.status, found.content_type, found.body, {**found.headers, **cached})
        return found

    def swagger(self, resources: Iterable[Resource], custom: Custom | None = None, accept: str = "", if_none_match: str = "") -> Answer:
        """GET /openapi/v2, as JSON or protobuf. Raises ApiError (406)."""
        wanted = next((each.media_type for each in ranges(accept) if each.media_type in (*V2_MEDIA_TYPES, *swagger_protobuf.MEDIA_TYPES)), None)
        if wanted is None:
            raise not_acceptable("application/json")
        as_protobuf = wanted in swagger_protobuf.MEDIA_TYPES
        form = "v2 protobuf" if as_protobuf else "v2"
        everything = [each for served in group_versions(resources).values() for each in served]
        current = _hash(everything, custom or {})
        kept = self._kept.get(form)
        if kept is None or kept[0] != current:
            encode = swagger_protobuf.encoded if as_protobuf else msgspec.json.encode
            kept = self._kept[form] = (current, encode(swagger(everything, custom or {})))
        return _with_tag(kept[1], current, if_none_match, swagger_protobuf.MEDIA_TYPE if as_protobuf else JSON)


def _hash(served: Iterable[Resource], custom: Custom) -> str:
    parts = [msgspec.json.encode((each, custom.get((each.group, each.version, each.kind)))) for each in served]
    return hashlib.sha512(b"\n".join([FORMAT.encode(), VERSION.encode(), *parts])).hexdigest().upper()


def _with_tag(body: bytes, tag: str, if_none_match: str, kind: str = JSON) -> Answer:
    headers = {"ETag": f'"{tag}"', "Vary": "Accept", "Cache-Control": "no-cache, private"}
    if f'"{tag}"' in [each.strip() for each in if_none_match.split(",")]:
        return Answer(304, kind, b"", headers)
    return Answer(200, kind, body, headers)


def custom_name(resource: Resource, suffix: str = "") -> str:
    """`com.example.stable.v1.CronTab` of stable.example.com/v1 CronTab."""
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind + suffix])


def custom_definitions(resource: Resource, schema: Object, dialect: str) -> Object:
    """A custom resource's definition and its list's, with the fields that every object has."""
    own: Object = shown(schema, dialect)
    reference = {"$ref": f"#/{dialect}/{META}ObjectMeta"}
    own["properties"] = {**(own.get("properties") or {}), "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": reference}
    gvk = {"group": resource.group, "version": resource.version}
    own["x-kubernetes-group-version-kind"] = [{**gvk, "kind": resource.kind}]
    listed: Object = {
        "type": "object",
        "description": f"{resource.kind}List is a list of {resource.kind}",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"$ref": f"#/{dialect}/{META}ListMeta"},
            "items": {"type": "array", "items": {"$ref": f"#/{dialect}/{custom_name(resource)}"}},
        },
        "x-kubernetes-group-version-kind": [{**gvk, "kind": f"{resource.kind}List"}],
    }
    return {custom_name(resource): own, custom_name(resource, "List"): listed}


def _parts(served: Iterable[Resource], custom: Custom, dialect: str) -> tuple[Object, Object]:
    """Paths (as OpenAPI 3 has them) and definitions."""
    found: Object = {}
    made: Object = {}
    names = {f"{META}{each}" for each in ("ObjectMeta", "ListMeta", "Status", "DeleteOptions", "Patch", "WatchEvent")}
    for each in served:
        schema = custom.get((each.group, each.version, each.kind))
        if schema is not None:
            made |= custom_definitions(each, schema, dialect)
            found |= paths(each, schema=custom_name(each), list_schema=custom_name(each, "List"))
        else:
            found |= paths(each)
            names |= {name for kind in (each.kind, f"{each.kind}List") if (name := name_of(each.group, each.version, kind))}
        names |= {name for sub in each.subresources if (name := name_of(sub.group, sub.version, sub.kind))}
    return found, {**closure(names, dialect), **made}


def document(served: Iterable[Resource], custom: Custom) -> Object:
    """One OpenAPI 3 document."""
    found, made = _parts(served, custom, V3)
    return {
        "openapi": "3.0.0",
        "info": INFO,
        "paths": found,
        "components": {"schemas": made, "securitySchemes": {"BearerToken": {"type": "apiKey", "in": "header", "name": "authorization"}}},
    }


def swagger(served: Iterable[Resource], custom: Custom) -> Object:
    """The Swagger 2 document of everything."""
    found, made = _parts(served, custom, V2)
    return {
        "swagger": "2.0",
        "info": INFO,
        "paths": {path: {key: _as_v2(value) for key, value in item.items()} for path, item in found.items()},
        "definitions": made,
    }


def _as_v2(value: Any) -> Any:
    """An operation, or the parameters of a path, in Swagger 2's words."""
    if isinstance(value, list):
        return [_parameter_as_v2(each) for each in value]
    made = {key: each for key, each in value.items() if key not in ("requestBody", "responses", "parameters")}
    parameters = [_parameter_as_v2(each) for each in value.get("parameters", ())]
    body = value.get("requestBody")
    if body is not None:
        media_types = list(body["content"])
        parameters.append(
            {"name": "body", "in": "body", "required": bool(body.get("required")), "schema": _pointed(body["content"][media_types[0]]["schema"])}
        )
        made["consumes"] = media_types
    made["produces"] = [JSON]
    responses = {}
    for code, response in value["responses"].items():
        responses[code] = {"description": response["description"]}
        if "content" in response:
            responses[code]["schema"] = _pointed(response["content"][JSON]["schema"])
    return {**made, **({"parameters": parameters} if parameters else {}), "responses": responses}


def _parameter_as_v2(parameter: Object) -> Object:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}


def _pointed(schema: Object) -> Object:
    return {key: value.replace(f"#/{V3}/", f"#/{V2}/") if key == "$ref" else value for key, value in schema.items()}
