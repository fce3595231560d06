"""Whether a schema is structural: every place has a type, junctors only limit values, and extensions stand where they may
(apiextensions-apiserver/pkg/apiserver/schema/validation.go and pkg/apis/apiextensions/validation).
"""

from collections.abc import Iterator
from typing import Any

from apiserver.machinery.status import Cause, forbidden_value, invalid_value, not_supported, required, shown
from apiserver.registry import cel_rules, custom_values, formats, patterns

_ABSENT = {
    **dict.fromkeys(("description", "type", "x-kubernetes-list-map-keys", "x-kubernetes-validations"), "empty"),
    **dict.fromkeys(("nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"), "false"),
}
"""How upstream calls what may not be there below a junctor; where it is not listed, undefined."""
DEPTH_MAX = 100
PLACES_MAX = 50_000
TYPES = ("array", "boolean", "integer", "number", "object", "string")
LIST_TYPES = ("atomic", "set", "map")
MAP_TYPES = ("atomic", "granular")
FORBIDDEN = (
    "$ref",
    "definitions",
    "dependencies",
    "deprecated",
    "discriminator",
    "id",
    "patternProperties",
    "readOnly",
    "writeOnly",
    "xml",
    "$schema",
)
IN_JUNCTORS = (
    *("description", "type", "default", "additionalProperties", "nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type"),
    *("x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"),
    "x-kubernetes-validations",
)
"""What may not stand below a junctor: it says what a value is, not what it must keep to."""


def validate(raw: dict[str, Any], path: str) -> list[Cause]:
    """Every fault of a version's schema. `path`: spec.versions[0].schema.openAPIV3Schema"""
    budget = [PLACES_MAX]
    found = list(_place(raw, path, 0, budget))
    if raw.get("type") not in (None, "", "object"):
        found.append(invalid_value(f"{path}.type", raw["type"], "must be object at the root"))
    if budget[0] < 0:
        found.append(forbidden_value(path, f"a schema has at most {PLACES_MAX} places"))
    return found or list(_defaults(raw, path))


def warnings(raw: dict[str, Any]) -> Iterator[str]:
    """Of a valid schema."""
    if raw.get("type") == "string" and raw.get("format") and not formats.supported("string", raw["format"]):
        yield f"unrecognized format {shown(raw['format'])}"
    items = raw.get("items") or {}
    if raw.get("x-kubernetes-list-type") == "set" and items.get("type") == "object":
        yield 'x-kubernetes-list-type: set for items of type "object" is not supported by server-side apply or CEL validation rules'
    for below in ((raw.get("properties") or {}).values(), (items, raw.get("additionalProperties"))):
        for each in below:
            if isinstance(each, dict) and each:
                yield from warnings(each)


def _place(raw: dict[str, Any], path: str, depth: int, budget: list[int]) -> Iterator[Cause]:
    budget[0] -= 1
    if depth > DEPTH_MAX or budget[0] < 0:
        if depth > DEPTH_MAX:
            yield forbidden_value(path, f"a schema is at most {DEPTH_MAX} levels deep")
        return
    kind = raw.get("type", "")
    yield from _type_faults(raw, kind, path, depth)
    for name in FORBIDDEN:
        if raw.get(name):
            yield forbidden_value(f"{path}.{name}", f"{name} is not supported")
    if raw.get("uniqueItems"):
        yield forbidden_value(f"{path}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")
    if raw.get("properties") and isinstance(raw.get("additionalProperties"), dict):
        yield forbidden_value(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    yield from _pattern(raw, path)
    yield from _extension_faults(raw, kind, path)
    yield from _junctors(raw, path, depth)
    yield from cel_rules.faults_of(raw, path)
    for name, below in (raw.get("properties") or {}).items():
        if depth == 0 and name in ("apiVersion", "kind", "metadata"):
            yield from _meta_faults(name, below, f"{path}.properties[{name}]")
        if depth == 0 and name == "metadata" and set(below.get("properties") or ()) - {"name", "generateName"}:
            yield forbidden_value(
                f"{path}.properties[metadata]", "must not specify anything other than name and generateName, but metadata is implicitly specified"
            )
        yield from _place(below, f"{path}.properties[{name}]", depth + 1, budget)
    if isinstance(raw.get("items"), dict):
        yield from _place(raw["items"], f"{path}.items", depth + 1, budget)
    elif isinstance(raw.get("items"), list):
        yield forbidden_value(f"{path}.items", "items must be a schema object and not an array")
    elif kind == "array":
        yield required(f"{path}.items", "must be specified")
    if isinstance(raw.get("additionalProperties"), dict):
        yield from _place(raw["additionalProperties"], f"{path}.additionalProperties", depth + 1, budget)


def _meta_faults(name: str, raw: dict[str, Any], path: str) -> Iterator[Cause]:
    """What every object has says nobody anew."""
    wanted = "object" if name == "metadata" else "string"
    if raw.get("type") and raw["type"] != wanted:
        yield invalid_value(f"{path}.type", raw["type"], f"must be {wanted}")
    if name == "metadata":
        for field, below in (raw.get("properties") or {}).items():
            if below.get("default") is not None:
                yield forbidden_value(f"{path}.properties[{field}].default", "must not be set in top-level metadata")


def _pattern(raw: dict[str, Any], path: str) -> Iterator[Cause]:
    if raw.get("pattern"):
        try:
            patterns.compiled(raw["pattern"])
        except patterns.BadPattern as wrong:
            yield invalid_value(f"{path}.pattern", raw["pattern"], f"must be a valid regular expression, but isn't: {wrong}")


def _type_faults(raw: dict[str, Any], kind: str, path: str, depth: int) -> Iterator[Cause]:
    free = raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
    if not kind:
        if depth == 0:
            yield required(f"{path}.type", "must not be empty at the root")
        elif not free and not raw.get("$ref"):
            parent = "items" if path.endswith(".items") else "additionalProperties" if path.endswith(".additionalProperties") else ""
            where = "for specified array items" if parent == "items" else "for specified object fields"
            yield required(f"{path}.type", f"must not be empty {where}")
    elif kind not in TYPES:
        yield not_supported(f"{path}.type", kind, TYPES)


def _extension_faults(raw: dict[str, Any], kind: str, path: str) -> Iterator[Cause]:
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        yield invalid_value(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    if raw.get("x-kubernetes-embedded-resource"):
        if kind != "object":
            yield invalid_value(f"{path}.type", kind, "must be object if x-kubernetes-embedded-resource is true")
        if not raw.get("properties") and not raw.get("x-kubernetes-preserve-unknown-fields"):
            yield required(
                f"{path}.properties", "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
            )
    list_type, keys = raw.get("x-kubernetes-list-type"), raw.get("x-kubernetes-list-map-keys") or ()
    if list_type is not None:
        if kind != "array":
            yield invalid_value(f"{path}.type", kind, "must be array if x-kubernetes-list-type is specified")
        if list_type not in LIST_TYPES:
            yield not_supported(f"{path}.x-kubernetes-list-type", list_type, LIST_TYPES)
    if list_type == "map":
        yield from _map_keys(raw, keys, path)
    elif keys and list_type is None:
        yield required(f"{path}.x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is non-empty")
    elif keys:
        yield invalid_value(f"{path}.x-kubernetes-list-type", list_type, "must be map if x-kubernetes-list-map-keys is non-empty")
    if list_type == "set":
        yield from _set_items(raw.get("items") or {}, f"{path}.items")
    map_type = raw.get("x-kubernetes-map-type")
    if map_type is not None and map_type not in MAP_TYPES:
        yield not_supported(f"{path}.x-kubernetes-map-type", map_type, MAP_TYPES)
    elif map_type is not None and kind != "object":
        yield invalid_value(f"{path}.type", kind, "must be object if x-kubernetes-map-type is specified")


def _set_items(items: dict[str, Any], path: str) -> Iterator[Cause]:
    """Elements of a set are compared as wholes."""
    if items.get("nullable"):
        yield forbidden_value(f"{path}.nullable", "cannot be nullable when x-kubernetes-list-type is set")
    for kind, name in (("array", "x-kubernetes-list-type"), ("object", "x-kubernetes-map-type")):
        if items.get("type") == kind and items.get(name) != "atomic":
            told = "must be atomic as item of a list with x-kubernetes-list-type=set"
            yield invalid_value(f"{path}.{name}", items.get(name), told)


def _map_keys(raw: dict[str, Any], keys: Any, path: str) -> Iterator[Cause]:
    if not keys:
        yield required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
        return
    items = raw.get("items") if isinstance(raw.get("items"), dict) else {}
    properties = (items or {}).get("properties") or {}
    where = f"{path}.x-kubernetes-list-map-keys"
    if (items or {}).get("type") != "object":
        yield invalid_value(f"{path}.items.type", (items or {}).get("type") or "", "must be object if parent array's x-kubernetes-list-type is map")
        return
    if len(set(keys)) != len(keys):
        yield invalid_value(where, keys, "must not contain duplicate entries")
    if not set(keys) <= set(properties):
        yield invalid_value(where, keys, "entries must all be names of item properties")
    for key in dict.fromkeys(keys):
        if key not in properties:
            continue
        if properties[key].get("type") in ("array", "object"):
            yield invalid_value(
                f"{path}.items.properties[{key}].type",
                properties[key]["type"],
                "must be a scalar type if parent array's x-kubernetes-list-type is map",
            )
        elif key not in ((items or {}).get("required") or ()) and "default" not in properties[key]:
            yield required(
                f"{path}.items.properties[{key}].default",
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            )


def _junctors(raw: dict[str, Any], path: str, depth: int) -> Iterator[Cause]:
    for name in custom_values.JUNCTORS:
        below = raw.get(name)
        for number, each in enumerate(below if isinstance(below, list) else [below] if below else ()):
            where = f"{path}.{name}[{number}]" if isinstance(below, list) else f"{path}.{name}"
            yield from _inside_junctor(each, raw, where, depth + 1)


def _inside_junctor(raw: dict[str, Any], outer: dict[str, Any], path: str, depth: int) -> Iterator[Cause]:
    if depth > DEPTH_MAX:
        yield forbidden_value(path, f"a schema is at most {DEPTH_MAX} levels deep")
        return
    yield from _pattern(raw, path)
    int_or_string = bool(outer.get("x-kubernetes-int-or-string"))
    for name in IN_JUNCTORS:
        if raw.get(name) and not (name == "type" and int_or_string):
            yield forbidden_value(f"{path}.{name}", f"must be {_ABSENT.get(name, 'undefined')} to be structural")
    properties = outer.get("properties") or {}
    for name, each in (raw.get("properties") or {}).items():
        if name not in properties and not outer.get("x-kubernetes-preserve-unknown-fields"):
            yield required(f"{path.rpartition('.')[0]}.properties[{name}]", f"because it is defined in {path}.properties[{name}]")
        yield from _inside_junctor(each, properties.get(name) or {}, f"{path}.properties[{name}]", depth + 1)
    for name in custom_values.JUNCTORS:
        below = raw.get(name)
        for number, each in enumerate(below if isinstance(below, list) else [below] if below else ()):
            yield from _inside_junctor(each, outer, f"{path}.{name}[{number}]", depth + 1)


def _defaults(raw: dict[str, Any], path: str) -> Iterator[Cause]:
    """A default must be valid by the schema that it stands in."""
    if "default" in raw and raw["default"] is not None:
        yield from custom_values.faults(raw, raw["default"], root=f"{path}.default")
    for name, below in (raw.get("properties") or {}).items():
        yield from _defaults(below, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if isinstance(raw.get(name), dict):
            yield from _defaults(raw[name], f"{path}.{name}")
