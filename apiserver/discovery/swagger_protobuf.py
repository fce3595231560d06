"""The Swagger 2 document in protobuf (google/gnostic-models, openapiv2/OpenAPIv2.proto): kubectl reads it so for what /openapi/v3 does not answer, a
`kind: List` in a file among it, and releases before 1.27 for everything. Pure.

A message is a table of its fields: JSON name -> (number, how the value is encoded). Extensions (`x-...`) go into `vendor_extension`, their values as
YAML text, of which JSON is a part. Fields that our documents never have are not in the tables.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from apiserver.machinery.objects import Object

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
MEDIA_TYPES = (MEDIA_TYPE, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
"""The second is what clients ask for; it is no valid media type, so servers answer the first."""

Encode = Callable[[int, Any], bytes]
"""(field number, value) -> the field, tag included."""
Fields = Mapping[str, tuple[int, Encode]]


def encoded(document: Object) -> bytes:
    return _message(DOCUMENT, document)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _text(number: int, value: Any) -> bytes:
    return _bytes(number, str(value).encode())


def _boolean(number: int, value: Any) -> bytes:
    return _varint(number << 3) + (b"\x01" if value else b"\x00")


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _any(number: int, value: Any) -> bytes:
    return _bytes(number, _text(2, msgspec.json.encode(value).decode()))


def _message(fields: Fields, value: Object, extensions: int = 0) -> bytes:
    parts = []
    for name, each in value.items():
        if name in fields:
            number, encode = fields[name]
            parts.append(encode(number, each))
        elif extensions and name.startswith("x-"):
            parts.append(_bytes(extensions, _text(1, name) + _any(2, each)))
    return b"".join(parts)


def _of(fields: Callable[[], Fields], extensions: int = 0) -> Encode:
    return lambda number, value: _bytes(number, _message(fields(), value, extensions))


def _named(inner: int, encode: Encode) -> Encode:
    """A map: a message whose field `inner` repeats pairs of a name and a value."""

    def pairs(number: int, value: Object) -> bytes:
        return _bytes(number, b"".join(_bytes(inner, _text(1, name) + encode(2, each)) for name, each in value.items()))

    return pairs


def _type(number: int, value: Any) -> bytes:
    return _bytes(number, _texts(1, [value] if isinstance(value, str) else value))


def _items(number: int, value: Object) -> bytes:
    return _bytes(number, _schema(1, value))


def _additional(number: int, value: Any) -> bytes:
    return _bytes(number, _boolean(2, value) if isinstance(value, bool) else _schema(1, value))


def _each(encode: Encode) -> Encode:
    return lambda number, values: b"".join(encode(number, value) for value in values)


def _parameters(number: int, values: Iterable[Object]) -> bytes:
    """ParametersItem: a Parameter, which is one of the body or one of five others; path and query are the ones there are."""
    found = []
    for value in values:
        if value["in"] == "body":
            inner = _bytes(1, _message(BODY, value))
        else:
            # Both have the same fields; those of the query are one further on, behind allow_empty_value.
            inner = _bytes(2, _bytes(4, _message(PATH, value)) if value["in"] == "path" else _bytes(3, _message(QUERY, value)))
        found.append(_bytes(number, _bytes(1, inner)))
    return b"".join(found)


def _responses(number: int, value: Object) -> bytes:
    return _bytes(number, b"".join(_bytes(1, _text(1, code) + _bytes(2, _bytes(1, _message(RESPONSE, each)))) for code, each in value.items()))


def _response_schema(number: int, value: Object) -> bytes:
    return _bytes(number, _schema(1, value))


SCHEMA: dict[str, tuple[int, Encode]] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "pattern": (13, _text),
    "required": (19, _texts),
    "enum": (20, _each(_any)),
    "additionalProperties": (21, _additional),
    "type": (22, _type),
    "items": (23, _items),
}
_schema: Encode = _of(lambda: SCHEMA, extensions=31)
SCHEMA |= {"allOf": (24, _each(_schema)), "properties": (25, _named(1, _schema))}
BODY: Fields = {"description": (1, _text), "name": (2, _text), "in": (3, _text), "required": (4, _boolean), "schema": (5, _schema)}
PATH: Fields = {"required": (1, _boolean), "in": (2, _text), "description": (3, _text), "name": (4, _text), "type": (5, _text), "format": (6, _text)}
QUERY: Fields = {**PATH, "type": (6, _text), "format": (7, _text)}
RESPONSE: Fields = {"description": (1, _text), "schema": (2, _response_schema)}
OPERATION: Fields = {
    "tags": (1, _texts),
    "summary": (2, _text),
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _texts),
    "consumes": (7, _texts),
    "parameters": (8, _parameters),
    "responses": (9, _responses),
    "schemes": (10, _texts),
    "deprecated": (11, _boolean),
}
_operation: Encode = _of(lambda: OPERATION, extensions=13)
VERBS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
PATH_ITEM: Fields = {**{verb: (number, _operation) for verb, number in VERBS.items()}, "parameters": (9, _parameters)}
INFO: Fields = {"title": (1, _text), "version": (2, _text)}
DOCUMENT: Fields = {
    "swagger": (1, _text),
    "info": (2, _of(lambda: INFO)),
    "paths": (8, _named(2, _of(lambda: PATH_ITEM, extensions=10))),
    "definitions": (9, _named(1, _schema)),
}
