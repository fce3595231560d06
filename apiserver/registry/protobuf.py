"""Request bodies in Kubernetes' protobuf: what kubectl's generators, helm and controllers written in Go send.

A body is `k8s\\0` and a runtime.Unknown: the object's apiVersion and kind, and the message of that kind
(apimachinery/pkg/runtime/serializer/protobuf). Field numbers come from protobuf_fields.json.gz (see generate_protobuf.py). Fields that it does not
know are skipped, as every decoder of protobuf does, and told. The outcome is the JSON object that Go would have made of it: zero values of fields
marked `omitempty` are left out, inlined structs are flat.

Bad input is a 400, whatever it is: lengths past the end, numbers of eleven bytes, text that is no UTF-8, messages nested without end.
"""

import base64
import gzip
import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from apiserver.machinery.objects import Object
from apiserver.machinery.status import bad_request

MAGIC = b"k8s\x00"
DEPTH_MAX = 200
"""How deep messages may be nested. The deepest that makes sense are schemas of custom resources."""

UNKNOWN_MAX = 100

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Field = tuple[int, int, Any]
"""Number, wire type, and an int or bytes."""
Known = tuple[str, str, int]
"""JSON name (empty: inlined), kind, and whether Go's JSON leaves a zero value out."""


class Malformed(ValueError):
    pass


@cache
def _table() -> tuple[dict[str, str], dict[str, dict[int, Known]]]:
    raw = json.loads(gzip.decompress(Path(__file__).with_name("protobuf_fields.json.gz").read_bytes()))
    messages = {name: {int(number): (each[0], each[1], each[2]) for number, each in fields.items()} for name, fields in raw["messages"].items()}
    return raw["groups"], messages


@cache
def omitted_when_zero(name: str) -> frozenset[str]:
    """Fields of a type (`core.v1.PodSpec`) that Go's JSON leaves out when they are zero: `hostNetwork: false` is never written, `env: []` neither.
    Structs are always written, those that are spelled as one value among them: quantities, times, numbers that may be names."""
    known = _table()[1].get(name, {})
    found: set[str] = set()
    for json_name, kind, drops_zero in known.values():
        if not json_name:
            found |= omitted_when_zero(kind)
        elif drops_zero and (kind in PLAIN or kind[:2] in ("[]", "{}")):
            found.add(json_name)
    return frozenset(found)


@cache
def held_by_value(name: str) -> frozenset[str]:
    """Fields of a type that are structs and no pointers: in Go they are always there, if only empty, and asked for what they lack."""
    known = _table()[1].get(name, {})
    return frozenset(json_name for json_name, kind, drops_zero in known.values() if drops_zero and json_name and kind in _table()[1])


class Depth:
    """How deep a message stands, and what has been found in the whole body that the table does not know."""

    __slots__ = ("level", "unknown")

    def __init__(self, level: int, unknown: list[str]) -> None:
        self.level = level
        self.unknown = unknown

    def deeper(self) -> "Depth":
        return Depth(self.level + 1, self.unknown)


def decode(body: bytes, unknown: list[str] | None = None) -> Object:
    """The object, with its apiVersion and kind. Fields that the table does not know and that say something are added to `unknown` in words.
    Raises ApiError: 400 for what is none, and for kinds that the table does not know."""
    if not body.startswith(MAGIC):
        raise bad_request("the body is not Kubernetes protobuf: it does not begin with 6b 38 73 00")
    try:
        return _unknown(body[len(MAGIC) :], Depth(0, [] if unknown is None else unknown))
    except Malformed as fault:
        raise bad_request(f"the protobuf body is malformed: {fault}") from None


def _unknown(envelope: bytes, depth: Depth) -> Object:
    api_version = kind = encoding = ""
    raw = b""
    for number, wire, value in fields(envelope):
        if number == 1 and wire == BYTES:
            for inner, inner_wire, text in fields(value):
                if inner == 1 and inner_wire == BYTES:
                    api_version = _text(text)
                elif inner == 2 and inner_wire == BYTES:
                    kind = _text(text)
        elif number == 2 and wire == BYTES:
            raw = value
        elif number == 3 and wire == BYTES:
            encoding = _text(value)
    if encoding:
        raise Malformed(f"content encoding {encoding!r} is not known")
    groups, messages = _table()
    name = f"{groups.get(api_version, '?')}.{kind}"
    if name not in messages and kind in ("DeleteOptions", "Status"):
        name = f"meta.v1.{kind}"
    if name not in messages:
        raise bad_request(f'no kind "{kind}" is registered for version "{api_version}" in protobuf')
    return {"apiVersion": api_version, "kind": kind, **_message(name, raw, depth)}


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message in their order. Raises Malformed."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number == 0 or number > 2**29 - 1:
            raise Malformed(f"field number {number}")
        value: Any
        if wire == VARINT:
            value, at = _varint(data, at)
        elif wire == BYTES:
            size, at = _varint(data, at)
            if size > end - at:
                raise Malformed(f"field {number} ends {size - (end - at)} bytes past its message")
            value, at = data[at : at + size], at + size
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            if size > end - at:
                raise Malformed(f"field {number} ends past its message")
            value, at = data[at : at + size], at + size
        else:
            raise Malformed(f"field {number} has wire type {wire}")
        yield number, wire, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise Malformed("a number ends past its message")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
        if shift > 63:
            raise Malformed("a number of more than ten bytes")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None


def _message(name: str, data: bytes, depth: Depth) -> Object:
    """The JSON form of a message of the table."""
    if depth.level > DEPTH_MAX:
        raise Malformed(f"messages are nested deeper than {DEPTH_MAX}")
    known = _table()[1][name]
    made: Object = {}
    for number, wire, raw in fields(data):
        field = known.get(number)
        if field is None:
            # Go writes zero values, too: a client that is newer than this server has not set those.
            if raw and len(depth.unknown) < UNKNOWN_MAX:
                depth.unknown.append(f"unknown field {number} of {name}")
            continue
        json_name, kind, drops_zero = field
        if kind.startswith("[]"):
            made.setdefault(json_name, []).extend(_elements(kind[2:], wire, raw, depth))
        elif kind.startswith("{}"):
            key, value = _entry(kind[2:], _bytes(wire, raw), depth)
            made.setdefault(json_name, {})[key] = value
        elif not json_name:
            made.update(_message(kind, _bytes(wire, raw), depth.deeper()))
        else:
            value = _value(kind, wire, raw, depth)
            if value is not None and not (drops_zero and (value == "" or value == 0)):
                made[json_name] = value
            elif json_name in made:
                # The last of several counts, also if it is zero.
                del made[json_name]
    return made


def _bytes(wire: int, raw: Any) -> bytes:
    if wire != BYTES:
        raise Malformed(f"wire type {wire} where bytes were expected")
    found: bytes = raw
    return found


def _elements(kind: str, wire: int, raw: Any, depth: Depth) -> list[Any]:
    if kind in ("int", "bool") and wire == BYTES:
        # Packed: many numbers in one field.
        found, at = [], 0
        while at < len(raw):
            number, at = _varint(raw, at)
            found.append(bool(number) if kind == "bool" else _signed(number))
        return found
    value = _value(kind, wire, raw, depth)
    return [] if value is None else [value]


def _entry(kind: str, data: bytes, depth: Depth) -> tuple[str, Any]:
    """One pair of a map. Absent parts are zero, as the encoders leave them."""
    key = ""
    wire, raw = (VARINT, 0) if kind in ("int", "bool") else (BYTES, b"")
    for number, its_wire, value in fields(data):
        if number == 1:
            key = _text(_bytes(its_wire, value))
        elif number == 2:
            wire, raw = its_wire, value
    return key, _value(kind, wire, raw, depth)


def _value(kind: str, wire: int, raw: Any, depth: Depth) -> Any:
    simple = SIMPLE.get(kind)
    if simple is not None:
        return simple(wire, raw)
    data = _bytes(wire, raw)
    if kind == "Raw":
        return _raw(data, depth)
    if kind.startswith("<[]"):
        # A named list is a message with one repeated field.
        inner = kind[3:-1]
        return [each for number, its_wire, value in fields(data) if number == 1 for each in _elements(inner, its_wire, value, depth)]
    if kind in ALTERNATIVES:
        return _alternative(kind, data, depth)
    return _message(kind, data, depth.deeper())


def _varint_of(convert: Callable[[int], Any]) -> Callable[[int, Any], Any]:
    def read(wire: int, raw: Any) -> Any:
        if wire != VARINT:
            raise Malformed(f"wire type {wire} where a number was expected")
        return convert(raw)

    return read


def _double(wire: int, raw: Any) -> float:
    if wire != FIXED64:
        raise Malformed(f"wire type {wire} where a double was expected")
    value = float(struct.unpack("<d", raw)[0])
    if value - value != 0:
        raise Malformed("a number is not finite")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _quantity(wire: int, raw: Any) -> str:
    return next((_text(_bytes(its, value)) for number, its, value in fields(_bytes(wire, raw)) if number == 1), "0")


def _int_or_string(wire: int, raw: Any) -> Any:
    kind, number_value, text = 0, 0, ""
    for number, its, value in fields(_bytes(wire, raw)):
        if number == 1 and its == VARINT:
            kind = value
        elif number == 2 and its == VARINT:
            number_value = _signed(value)
        elif number == 3 and its == BYTES:
            text = _text(value)
    return text if kind == 1 else number_value


def _moment(wire: int, raw: Any) -> datetime | None:
    seconds = nanos = 0
    found = False
    for number, its, value in fields(_bytes(wire, raw)):
        if its != VARINT:
            raise Malformed("a time's parts are numbers")
        found = True
        if number == 1:
            seconds = _signed(value)
        elif number == 2:
            nanos = _signed(value)
    if not found:
        return None
    try:
        return EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise Malformed("a time lies outside of the years 1 to 9999") from None


def _time(wire: int, raw: Any) -> str | None:
    moment = _moment(wire, raw)
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _micro_time(wire: int, raw: Any) -> str | None:
    moment = _moment(wire, raw)
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"


def _duration(wire: int, raw: Any) -> str:
    nanos = next((_signed(value) for number, its, value in fields(_bytes(wire, raw)) if number == 1 and its == VARINT), 0)
    return f"{nanos / 1e9:g}s"


PLAIN = frozenset(("string", "bytes", "int", "bool", "double"))
SIMPLE: dict[str, Callable[[int, Any], Any]] = {
    "string": lambda wire, raw: _text(_bytes(wire, raw)),
    "bytes": lambda wire, raw: base64.b64encode(_bytes(wire, raw)).decode(),
    "int": _varint_of(_signed),
    "bool": _varint_of(bool),
    "double": _double,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
    "Time": _time,
    "MicroTime": _micro_time,
    "Duration": _duration,
}


def _raw(data: bytes, depth: Depth) -> Any:
    """RawExtension, JSON, FieldsV1: bytes that are JSON themselves, or again an object in protobuf."""
    raw = next((_bytes(wire, value) for number, wire, value in fields(data) if number == 1), b"")
    if not raw:
        return None
    if raw.startswith(MAGIC):
        if depth.level >= DEPTH_MAX:
            raise Malformed(f"messages are nested deeper than {DEPTH_MAX}")
        return _unknown(raw[len(MAGIC) :], depth.deeper())
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise Malformed("an embedded object is not JSON") from None


ALTERNATIVES = frozenset(f"apiextensions.v1.JSONSchemaPropsOr{each}" for each in ("Bool", "Array", "StringArray"))


def _alternative(kind: str, data: bytes, depth: Depth) -> Any:
    """A schema, or what may stand in its place: a boolean, a list of schemas, a list of names."""
    found = _message(kind, data, depth.deeper())
    if found.get("schema") is not None:
        return found["schema"]
    if kind.endswith("OrBool"):
        return bool(found.get("allows"))
    return found.get("property" if kind.endswith("StringArray") else "jSONSchemas", [])
