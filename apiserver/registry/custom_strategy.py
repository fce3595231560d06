"""What a write of a custom resource goes through: values and CEL rules of its version's schema (apiextensions registry/customresource)."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from apiserver.machinery import go_values
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, invalid_value
from apiserver.registry import cel_rules, custom_values, embedded, list_types
from apiserver.registry.registry import Path, Scale
from apiserver.registry.strategy import Strategy

CAUSES_MAX = 100
"""How many faults one answer tells."""
BLOCKING = frozenset(("FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"))
"""Rules may trust that values are what the schema says: after such a fault none is asked."""
UNCHECKED = Cause(
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
    "<nil>",
)
INT32_MAX = 2**31 - 1


class CustomStrategy(Strategy):
    unconditional_update = False

    def __init__(self, schema: Object, *, has_status: bool, scale: Scale | None = None) -> None:
        self.has_status = has_status
        self._schema = schema
        self._scale = scale
        self._status: Object = (schema.get("properties") or {}).get("status") or {}
        self._rules = cel_rules.compiled(schema)
        self._embeds = embedded.has_any(schema)

    def spec_of(self, obj: Object) -> Any:
        """Without a status of its own, all but metadata is what counts."""
        left_out = ("metadata", "apiVersion", "kind", *(("status",) if self.has_status else ()))
        return {key: value for key, value in obj.items() if key not in left_out}

    def validate(self, obj: Object) -> list[Cause]:
        return self._with_rules([*self._values(obj, None), *list_types.faults(self._schema, obj)], obj, None)

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        return self._with_rules([*self._values(new, old), *self._lists(new, old)], new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        found: list[Cause] = []
        if "status" in new:
            before = old.get("status", custom_values.MISSING)
            found += islice(custom_values.faults(self._status, new["status"], "", before, root="status"), CAUSES_MAX)
        found += self._scale_status(new)
        return self._with_rules([*found, *self._lists(new, old)], new, old)

    def _values(self, new: Object, old: Object | None) -> Iterator[Cause]:
        before = custom_values.MISSING if old is None else old
        yield from islice(custom_values.faults(self._schema, new, "", before), CAUSES_MAX)
        if self._scale is not None:
            yield from _replicas(new, self._scale.spec_replicas)
            yield from self._scale_status(new)
        if self._embeds:
            yield from embedded.faults(self._schema, new)

    def _lists(self, new: Object, old: Object) -> list[Cause]:
        """Of an object whose lists were wrong already, they are not looked at."""
        found = list(list_types.faults(self._schema, new))
        return [] if found and any(True for _ in list_types.faults(self._schema, old)) else found

    def _scale_status(self, new: Object) -> Iterator[Cause]:
        if self._scale is None:
            return
        yield from _replicas(new, self._scale.status_replicas)
        if self._scale.selector:
            value, told = _nested(new, self._scale.selector, str)
            if told:
                yield invalid_value(_dotted(self._scale.selector), value or "", told)

    def _with_rules(self, found: list[Cause], new: Object, old: Object | None) -> list[Cause]:
        if self._rules is None:
            return found
        if any(each.reason in BLOCKING for each in found):
            return [*found, UNCHECKED]
        before = cel_rules.MISSING if old is None else _seen(old)
        return [*found, *islice(cel_rules.validate(self._rules, _seen(new), before), CAUSES_MAX)]


def _dotted(path: Path) -> str:
    return "." + ".".join(path)


def _replicas(obj: Object, path: Path) -> Iterator[Cause]:
    value, told = _nested(obj, path, int)
    if told:
        yield invalid_value(_dotted(path), 0, told)
    elif value is not None and value < 0:
        yield invalid_value(_dotted(path), value, "should be a non-negative integer")
    elif value is not None and value > INT32_MAX:
        yield invalid_value(_dotted(path), value, f"should be less than or equal to {INT32_MAX}")


def _nested(obj: Object, path: Path, wanted: type) -> tuple[Any, str]:
    """The value at a path, None if there is none; and why it cannot be had (apimachinery unstructured.NestedInt64)."""
    value: Any = obj
    for name in path:
        if value is None:
            return None, ""
        if not isinstance(value, dict):
            return None, _inaccessible(path, value, "map[string]interface{}")
        if name not in value:
            return None, ""
        value = value[name]
    expected = go_values.TYPES[wanted]
    return (value, "") if go_values.type_of(value) == expected else (None, _inaccessible(path, value, expected))


def _inaccessible(path: Path, value: Any, expected: str) -> str:
    return f"{_dotted(path)} accessor error: {go_values.printed(value)} is of the type {go_values.type_of(value)}, expected {expected}"


def _seen(obj: Object) -> Object:
    """What rules at the root see: of metadata only the names."""
    meta = obj.get("metadata") or {}
    return {**obj, "metadata": {name: meta[name] for name in ("name", "generateName") if name in meta}}
