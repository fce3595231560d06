"""What Kubernetes' decoder calls a type, for the errors that clients show: `int32`, `[]v1.Container`, `map[string]string`.

The texts are those of Go's encoding/json, UnmarshalTypeError; people paste them into search engines.
"""

import re
from collections.abc import Callable
from typing import Any

from apiserver.machinery.schema import definitions
from apiserver.registry.shapes import Fault, Form

QUANTITY_FAULT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
GO_KINDS: dict[type, str] = {str: "string", bool: "bool", int: "int64", float: "float64", list: "slice", dict: "map"}
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
SIMPLE = {Form.STRING: "string", Form.BOOLEAN: "bool", Form.NUMBER: "float64", Form.BYTES: "[]uint8", Form.INT_OR_STRING: "int32"}


Told = Callable[[str, Fault], str]
"""(the object's kind, a value of the wrong type in it) -> what a client is told."""


def restored(kind: str, fault: Fault) -> str:
    """The same in a strategic merge patch, which another converter of Kubernetes reads (runtime.DefaultUnstructuredConverter)."""
    came = GO_KINDS.get(type(fault.value), "invalid")
    if fault.form is Form.STRUCT:
        return f"cannot restore struct from: {came}"
    if fault.form in (Form.ARRAY, Form.MAP):
        return f"cannot restore {'slice' if fault.form is Form.ARRAY else 'map'} from {came}"
    if fault.form is Form.INTEGER:
        return f"unrecognized type: int{fault.shape.bits}"
    return f"unrecognized type: {SIMPLE[fault.form]}" if fault.form in (Form.STRING, Form.BOOLEAN) else told(kind, fault)


def told(kind: str, fault: Fault) -> str:
    """The decoder's words for a value of the wrong type in an object of `kind`."""
    form, value = fault.form, fault.value
    if form is Form.QUANTITY and isinstance(value, str):
        return QUANTITY_FAULT
    if form in (Form.TIME, Form.MICRO_TIME) and isinstance(value, str):
        layout = "2006-01-02T15:04:05Z07:00" if form is Form.TIME else "2006-01-02T15:04:05.000000Z07:00"
        return f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'
    if form is Form.BYTES and isinstance(value, str):
        bad = re.match(r"[A-Za-z0-9+/]*", value)
        return f"illegal base64 data at input byte {bad.end() if bad else 0}"
    owner, target = _owner(kind, fault)
    came = _came(value, form)
    return f"json: cannot unmarshal {came} into Go struct field {owner}.{'.'.join(fault.names)} of type {target}"


def printed(value: Any) -> str:
    """A value as Go's %+v prints it: `map[spec:map[replicas:many]]`."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{printed(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(printed, value))}]"
    return {None: "<nil>", True: "true", False: "false"}.get(value, str(value)) if value is None or isinstance(value, bool) else str(value)


def _came(value: Any, form: Form) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value}" if form is Form.INTEGER else "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _owner(kind: str, fault: Fault) -> tuple[str, str]:
    """The Go struct that holds the field and the field's Go type, found by walking the definitions again: errors may take their time."""
    form = fault.form
    raw: Any = (
        definitions()[OBJECT_META]
        if kind == "ObjectMeta"
        else next(
            (each for each in definitions().values() if any(gvk["kind"] == kind for gvk in each.get("x-kubernetes-group-version-kind", ()))), {}
        )
    )
    owner, place = kind, raw
    for name in fault.names:
        while (inner := _target(place)) is not place:
            place = inner
        if "properties" not in place and "items" in place:
            place = place["items"]
            owner = _short(place) or owner
            place = _target(place)
        place = (place.get("properties") or {}).get(name, {})
        if name != fault.names[-1]:
            owner = _short(place) or _short(place.get("items") or {}) or owner
    if form is Form.INTEGER:
        return owner, f"int{fault.shape.bits}"
    # A fault inside of a list or map is of the element, not of the field.
    inside = fault.path.endswith("]") or (fault.names and not fault.path.endswith(fault.names[-1]))
    return owner, SIMPLE.get(form) or _go_type((place.get("items") or place.get("additionalProperties") or place) if inside else place)


def _target(raw: Any) -> Any:
    return definitions()[raw["$ref"].rsplit("/", 1)[-1]] if "$ref" in raw else raw


def _short(raw: Any) -> str:
    return str(raw.get("$ref", "")).rsplit(".", 1)[-1]


def _go_type(raw: Any) -> str:
    if "$ref" in raw:
        package, kind = raw["$ref"].rsplit("/", 1)[-1].split(".")[-2:]
        return f"{package}.{kind}"
    if "items" in raw:
        return f"[]{_go_type(raw['items'])}"
    if isinstance(raw.get("additionalProperties"), dict):
        return f"map[string]{_go_type(raw['additionalProperties'])}"
    kind = raw.get("type", "")
    kind = kind[0] if isinstance(kind, list) else kind
    return {"boolean": "bool", "integer": "int32", "number": "float64", "object": "map[string]interface {}"}.get(kind, kind or "interface {}")
