"""What a write of a custom resource goes through: values and CEL rules of its version's schema (apiextensions registry/customresource)."""

from itertools import islice
from typing import Any

from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause
from apiserver.registry import cel_rules, custom_values
from apiserver.registry.strategy import Strategy

CAUSES_MAX = 100
"""How many faults one answer tells."""


class CustomStrategy(Strategy):
    unconditional_update = False

    def __init__(self, schema: Object, *, has_status: bool) -> None:
        self.has_status = has_status
        self._schema = schema
        self._rules = cel_rules.compiled(schema)

    def spec_of(self, obj: Object) -> Any:
        """Without a status of its own, all but metadata is what counts."""
        left_out = ("metadata", "apiVersion", "kind", *(("status",) if self.has_status else ()))
        return {key: value for key, value in obj.items() if key not in left_out}

    def validate(self, obj: Object) -> list[Cause]:
        return self._faults(obj, None)

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        return self._faults(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        return self._faults(new, old)

    def _faults(self, new: Object, old: Object | None) -> list[Cause]:
        before = custom_values.MISSING if old is None else _bare(old)
        found = list(islice(custom_values.faults(self._schema, _bare(new), "", before), CAUSES_MAX))
        # Rules may trust that values are what the schema says.
        if not found and self._rules is not None:
            before = cel_rules.MISSING if old is None else _seen(old)
            found = list(islice(cel_rules.validate(self._rules, _seen(new), before), CAUSES_MAX))
        return found


def _bare(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}


def _seen(obj: Object) -> Object:
    """What rules at the root see: of metadata only the names."""
    meta = obj.get("metadata") or {}
    return {**obj, "metadata": {name: meta[name] for name in ("name", "generateName") if name in meta}}
