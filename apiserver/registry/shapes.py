"""A schema made ready for walking objects: one `Shape` per place, made when a walk first comes there and kept.

Four walks, each over the whole object: `normalize` (brings it to the form that Kubernetes' own decoder would leave and names the fields that no
schema knows), `faults` (types), `missing` (required fields), `fill` (zero values where Kubernetes' structs always encode one). Built-in kinds and
custom resources differ in what null means: in the former it is "not there", in the latter a value that must be allowed.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache
from typing import Any

from msgspec import Struct

from apiserver.machinery import quantity
from apiserver.machinery.schema import Node
from apiserver.registry.protobuf import held_by_value, omitted_when_zero

DEPTH_MAX = 512
"""How deep an object may be nested; Python's own stack would end at about twice that."""

TIME = re.compile(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")
BASE64 = re.compile(r"^[A-Za-z0-9+/]*={0,2}$")


class Form(IntEnum):
    ANY = 0
    STRUCT = 1
    MAP = 2
    ARRAY = 3
    STRING = 4
    BYTES = 5
    TIME = 6
    MICRO_TIME = 7
    BOOLEAN = 8
    INTEGER = 9
    NUMBER = 10
    QUANTITY = 11
    INT_OR_STRING = 12


NOT_ASKED = frozenset(("metadata", "status"))
"""The server's to fill."""
EMBEDDED = frozenset(("apiVersion", "kind", "metadata"))
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1


class Fault(Struct, frozen=True):
    """A value of the wrong type. `names` are the fields from the root, list indices left out; `path` has them: `spec.containers[0].image`."""

    names: tuple[str, ...]
    path: str
    value: Any
    form: Form
    shape: "Shape"


class Shape:
    """What may stand at one place of an object."""

    __slots__ = (
        "_extra",
        "_fields",
        "_hollow",
        "bits",
        "custom",
        "form",
        "keeps_unknown",
        "kept",
        "known",
        "node",
        "nullable",
        "omits",
        "required",
        "values",
    )

    def __init__(self, node: Node, *, custom: bool, reference: str = "") -> None:
        raw = node.raw
        self.node = node
        self.custom = custom
        self.form = _form(raw, node.type, custom, reference)
        self.nullable = bool(raw.get("nullable")) if custom else True
        self.required = tuple(raw.get("required") or ())
        self.bits = 32 if raw.get("format") == "int32" else 64
        self.keeps_unknown = node.preserves_unknown_fields
        self.kept = EMBEDDED if raw.get("x-kubernetes-embedded-resource") else frozenset[str]()
        short = ".".join(reference.rsplit(".", 3)[-3:])
        self.values = frozenset[str]() if custom else held_by_value(short)
        self.omits = frozenset[str]() if custom else omitted_when_zero(short)
        """Fields that are gone when they are zero, as if they had never been written."""
        self.known: dict[str, Any] = raw.get("properties") or {}
        self._fields: dict[str, Shape | None] = {}
        self._extra: Shape | None = None
        self._hollow: tuple[str, ...] | None = None

    @property
    def hollow(self) -> tuple[str, ...]:
        """Fields that need not be written and cannot be empty: a pod without a spec is a pod whose spec has no containers."""
        if self._hollow is None:
            inner = ((name, self.field(name)) for name in sorted(self.values - NOT_ASKED) if name not in self.required)
            self._hollow = tuple(name for name, shape in inner if shape is not None and (shape.required or shape.hollow))
        return self._hollow

    def field(self, name: str) -> "Shape | None":
        """The shape of a field or of a map's value; None if no schema knows it."""
        try:
            return self._fields[name]
        except KeyError:
            pass
        if name not in self.known:
            return self.each if self.form is Form.MAP or "additionalProperties" in self.node.raw else None
        node = self.node.field(name)
        assert node is not None
        reference = str(self.known[name].get("$ref", ""))
        found = self._fields[name] = Shape(node, custom=self.custom, reference=reference)
        return found

    @property
    def each(self) -> "Shape | None":
        """The shape of an array's elements or of a map's values."""
        if self._extra is None:
            raw = self.node.raw.get("items" if self.form is Form.ARRAY else "additionalProperties")
            if raw is False:
                return None
            inner = self.node.element if self.form is Form.ARRAY else self.node.additional
            if inner is None:
                return None
            self._extra = Shape(inner, custom=self.custom, reference=str(raw.get("$ref", "")) if isinstance(raw, dict) else "")
        return self._extra


def _form(raw: dict[str, Any], kind: str, custom: bool, reference: str) -> Form:
    if raw.get("x-kubernetes-int-or-string"):
        return Form.INT_OR_STRING
    if kind == "object":
        if "properties" in raw:
            return Form.STRUCT
        if raw.get("additionalProperties") not in (None, True, False):
            return Form.MAP
        return Form.STRUCT if custom else Form.ANY
    if kind == "string" and not custom:
        if raw.get("format") == "byte":
            return Form.BYTES
        if raw.get("format") == "date-time":
            return Form.MICRO_TIME if reference.endswith("MicroTime") else Form.TIME
    if not kind and reference.endswith(".Quantity"):
        return Form.QUANTITY
    if not kind and reference.endswith(".IntOrString"):
        return Form.INT_OR_STRING
    simple = {"array": Form.ARRAY, "string": Form.STRING, "boolean": Form.BOOLEAN, "integer": Form.INTEGER, "number": Form.NUMBER}
    return simple.get(kind, Form.STRUCT if custom and "properties" in raw else Form.ANY)


ZERO: dict[Form, Any] = {
    Form.STRING: "",
    Form.BYTES: "",
    Form.BOOLEAN: False,
    Form.INTEGER: 0,
    Form.NUMBER: 0,
    Form.QUANTITY: "0",
    Form.INT_OR_STRING: 0,
}


def zero(shape: Shape) -> Any:
    """What a Go field of this shape holds before anyone sets it, as JSON; None where that would be null."""
    if shape.form in (Form.STRUCT, Form.MAP):
        return {}
    return [] if shape.form is Form.ARRAY else ZERO.get(shape.form)


def normalize(shape: Shape, value: Any, path: str, unknown: list[str]) -> None:
    """Take out unknown fields (their paths into `unknown`) and, in built-in kinds, nulls; give quantities and times their one spelling. In place."""
    if type(value) is dict:
        if shape.form is Form.STRUCT:
            _normalize_struct(shape, value, path, unknown)
        elif shape.form is Form.MAP:
            inner = shape.each
            assert inner is not None
            for key, element in value.items():
                if element is None and not shape.custom:
                    value[key] = zero(inner)
                elif type(element) in (dict, list):
                    normalize(inner, element, f"{path}.{key}" if path else key, unknown)
                elif inner.form >= Form.TIME:
                    value[key] = spelled(inner, element)
    elif type(value) is list and shape.form is Form.ARRAY:
        inner = shape.each
        if inner is None:
            return
        for index, element in enumerate(value):
            if element is None and not shape.custom:
                value[index] = zero(inner)
            elif type(element) in (dict, list):
                normalize(inner, element, f"{path}[{index}]", unknown)


def _normalize_struct(shape: Shape, value: dict[str, Any], path: str, unknown: list[str]) -> None:
    drop: list[str] = []
    for key, element in value.items():
        inner = shape.field(key)
        if inner is None:
            if shape.keeps_unknown or key in shape.kept:
                continue
            unknown.append(f"{path}.{key}" if path else key)
            drop.append(key)
        elif element is None:
            if not shape.custom and inner.form is not Form.ANY:
                drop.append(key)
        elif not element and key in shape.omits and type(element) is type(zero(inner)):
            drop.append(key)
        elif type(element) in (dict, list):
            normalize(inner, element, f"{path}.{key}" if path else key, unknown)
        elif inner.form in (Form.TIME, Form.MICRO_TIME, Form.QUANTITY):
            value[key] = spelled(inner, element)
    for key in drop:
        del value[key]


def spelled(shape: Shape, value: Any) -> Any:
    """A quantity as string, a time in UTC; what is not one is left for `fault` to find."""
    if shape.form is Form.QUANTITY:
        try:
            return _canonical(value)
        except (ValueError, TypeError):
            return value
    if shape.form in (Form.TIME, Form.MICRO_TIME) and isinstance(value, str) and TIME.match(value):
        micro = shape.form is Form.MICRO_TIME
        if value[-1] == "Z" and (len(value) == (27 if micro else 20)):
            return value
        try:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            return value
        return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{moment.microsecond:06d}Z" if micro else "Z")
    return value


@lru_cache(maxsize=4096)
def _canonical(value: Any) -> str:
    return quantity.canonical(value)


def _is_quantity(_: Shape, value: Any) -> bool:
    try:
        return type(value) is str and bool(_canonical(value))
    except ValueError:
        return False


def faults(shape: Shape, value: Any, names: tuple[str, ...] = (), path: str = "") -> Iterator[Fault]:
    """Every value whose type is not its schema's, in the object's own order."""
    if value is None:
        if not shape.nullable and shape.form is not Form.ANY:
            yield Fault(names, path, value, shape.form, shape)
        return
    form = shape.form
    if form is Form.STRUCT or form is Form.MAP:
        if type(value) is not dict:
            yield Fault(names, path, value, form, shape)
            return
        each = shape.each if form is Form.MAP else None
        for key, element in value.items():
            inner = each or shape.field(key)
            if inner is None or _plainly_right(inner, element):
                continue
            yield from faults(inner, element, (*names, key) if form is Form.STRUCT else names, f"{path}.{key}" if path else key)
    elif form is Form.ARRAY:
        if type(value) is not list:
            yield Fault(names, path, value, form, shape)
            return
        inner = shape.each
        if inner is None:
            return
        for index, element in enumerate(value):
            if not _plainly_right(inner, element):
                yield from faults(inner, element, names, f"{path}[{index}]")
    elif not CHECKS[form](shape, value):
        yield Fault(names, path, value, form, shape)


def _plainly_right(shape: Shape, value: Any) -> bool:
    """Strings, the most frequent value, without a call more."""
    return shape.form is Form.STRING and type(value) is str


def _is_integer(shape: Shape, value: Any) -> bool:
    if shape.custom and type(value) is float:
        return value.is_integer()
    if type(value) is not int:
        return False
    limit = INT32_MAX if shape.bits == 32 and not shape.custom else INT64_MAX
    return -limit - 1 <= value <= limit


def _is_base64(_: Shape, value: Any) -> bool:
    return type(value) is str and len(value) % 4 == 0 and BASE64.match(value) is not None


CHECKS: dict[Form, Callable[[Shape, Any], bool]] = {
    Form.ANY: lambda _, value: True,
    Form.STRING: lambda _, value: type(value) is str,
    Form.BYTES: _is_base64,
    Form.TIME: lambda _, value: type(value) is str and TIME.match(value) is not None,
    Form.MICRO_TIME: lambda _, value: type(value) is str and TIME.match(value) is not None,
    Form.BOOLEAN: lambda _, value: type(value) is bool,
    Form.INTEGER: _is_integer,
    Form.NUMBER: lambda _, value: type(value) in (int, float),
    Form.QUANTITY: _is_quantity,
    Form.INT_OR_STRING: lambda _, value: type(value) in (int, str),
}


def missing(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """Paths of required fields that are not there."""
    if type(value) is dict and shape.form in (Form.STRUCT, Form.MAP):
        for name in shape.required:
            if name not in value:
                yield f"{path}.{name}" if path else name
        for name in shape.hollow:
            if name not in value and (inner := shape.field(name)) is not None:
                yield from missing(inner, {}, f"{path}.{name}" if path else name)
        for key, element in value.items():
            if type(element) in (dict, list) and (inner := shape.field(key)) is not None:
                yield from missing(inner, element, f"{path}.{key}" if path else key)
    elif type(value) is list and shape.form is Form.ARRAY and (inner := shape.each) is not None:
        for index, element in enumerate(value):
            yield from missing(inner, element, f"{path}[{index}]")


def fill(shape: Shape, value: Any) -> None:
    """Give required fields that are not there their zero value, as Go's encoder writes every field without `omitempty`. In place."""
    if type(value) is dict and shape.form in (Form.STRUCT, Form.MAP):
        for name in shape.required:
            if name not in value and (inner := shape.field(name)) is not None and (made := zero(inner)) is not None:
                value[name] = made
        for key, element in value.items():
            if type(element) in (dict, list) and (inner := shape.field(key)) is not None:
                fill(inner, element)
    elif type(value) is list and shape.form is Form.ARRAY and (inner := shape.each) is not None:
        for element in value:
            fill(inner, element)


def depth(value: Any) -> int:
    """How deep an object is nested, without recursion."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [inner for outer in level for inner in (outer.values() if type(outer) is dict else outer) if type(inner) in (dict, list)]
    return deepest
