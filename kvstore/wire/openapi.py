"""The gateway described for tools: a Swagger 2.0 document, made from the descriptors (etcd ships such files with its sources)."""

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from kvstore.version import ETCD_VERSION
from kvstore.wire.gateway import PATHS
from kvstore.wire.messages import Method

_STRING = {"type": "string"}
_SCALARS: dict[int, dict[str, str]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: _STRING,
    FieldDescriptor.TYPE_BYTES: {"type": "string", "format": "byte"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_SINT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.TYPE_FIXED64: {"type": "string", "format": "uint64"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
"""64-bit integers are strings in JSON, and bytes base64."""

_STATUS = {
    "type": "object",
    "properties": {"code": {"type": "integer", "format": "int32"}, "message": _STRING, "details": {"type": "array", "items": {"type": "object"}}},
}


@cache
def document() -> dict[str, Any]:
    """The whole of it; the same each time."""
    definitions: dict[str, Any] = {"rpcStatus": _STATUS}
    paths = {path: {"post": _operation(path, method, definitions)} for path, method in sorted(PATHS.items())}
    return {
        "swagger": "2.0",
        "info": {"title": "etcd's API v3 over JSON, as Keelson serves it", "version": ETCD_VERSION},
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": paths,
        "definitions": dict(sorted(definitions.items())),
        "securityDefinitions": {"ApiKey": {"type": "apiKey", "name": "Authorization", "in": "header"}},
        "security": [{"ApiKey": []}],
    }


def _operation(path: str, method: Method, definitions: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = _reference(method.response.DESCRIPTOR, definitions)
    if method.server_streams:
        answer = {"type": "object", "properties": {"result": answer, "error": {"$ref": "#/definitions/rpcStatus"}}}
    service = method.service.rpartition(".")[2]
    # Some methods have a former path, too; ids are unique.
    former = path.startswith("/v3/kv/lease/")
    streams = " (a stream of them, one a line)"
    return {
        "summary": f"{method.service}.{method.name}",
        "operationId": f"{service}_{method.name}" + ("2" if former else ""),
        "tags": [service],
        "parameters": [
            {
                "name": "body",
                "in": "body",
                "required": True,
                "description": method.request.DESCRIPTOR.name + (streams if method.client_streams else ""),
                "schema": _reference(method.request.DESCRIPTOR, definitions),
            }
        ],
        "responses": {
            "200": {"description": "A successful response." + (streams if method.server_streams else ""), "schema": answer},
            "default": {"description": "An unexpected error response.", "schema": {"$ref": "#/definitions/rpcStatus"}},
        },
    }


def _reference(described: Descriptor, definitions: dict[str, Any]) -> dict[str, str]:
    name = _name(described)
    if name not in definitions:
        definitions[name] = {}  # messages may hold themselves
        properties = {field.name: _schema(field, definitions) for field in described.fields}
        definitions[name] = {"type": "object", "properties": properties}
    return {"$ref": f"#/definitions/{name}"}


def _schema(field: FieldDescriptor, definitions: dict[str, Any]) -> dict[str, Any]:
    if field.message_type is not None:
        one: dict[str, Any] = _reference(field.message_type, definitions)
    elif field.enum_type is not None:
        one = _enum(field.enum_type, definitions)
    else:
        one = dict(_SCALARS[field.type])
    return {"type": "array", "items": one} if field.is_repeated else one


def _enum(described: EnumDescriptor, definitions: dict[str, Any]) -> dict[str, str]:
    name = _name(described)
    values = [value.name for value in described.values]
    definitions[name] = {"type": "string", "enum": values, "default": values[0]}
    return {"$ref": f"#/definitions/{name}"}


def _name(described: Descriptor | EnumDescriptor) -> str:
    """As grpc-gateway's generator writes it: package and names without dots."""
    package, _, rest = str(described.full_name).partition(".")
    return package + rest.replace(".", "")
