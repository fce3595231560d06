"""CEL expressions about a write: the variables that they see, and match conditions (apiserver/pkg/admission/plugin/cel, .../matchconditions)."""

from collections.abc import Mapping
from typing import Any

from apiserver.admission.webhook_client import request_of
from apiserver.machinery.objects import Object
from apiserver.registry.cel import RESERVED, CelError, compile_expression
from apiserver.request import Write

VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables")


def seen(value: Any) -> Any:
    """JSON as expressions see it: fields that are called like a word of the language also have their escaped name."""
    if isinstance(value, dict):
        found = {key: seen(each) for key, each in value.items()}
        for key in RESERVED & found.keys():
            found[f"__{key}__"] = found[key]
        return found
    if isinstance(value, list):
        return [seen(each) for each in value]
    return value


def variables_of(write: Write, namespace: Object | None = None) -> dict[str, Any]:
    """Everything but `params` and `variables`, which are a policy's own, as the namespace is."""
    request = {key: value for key, value in request_of(write, "").items() if key not in ("object", "oldObject", "uid")}
    return {
        "object": seen(write.object),
        "oldObject": seen(write.old_object),
        "request": seen(request),
        "namespaceObject": seen(namespace),
        "params": None,
        "variables": {},
    }


def holds(text: str, variables: Mapping[str, Any]) -> bool:
    """Raises CelError."""
    found = compile_expression(text, VARIABLES).evaluate(dict(variables))
    if not isinstance(found, bool):
        raise CelError("it is neither true nor false")
    return found


def conditions_match(conditions: list[Object], variables: Mapping[str, Any]) -> bool:
    """Whether all match conditions hold. One that is false outweighs those that fail. Raises CelError."""
    failed: CelError | None = None
    for each in conditions:
        try:
            if not holds(str(each.get("expression") or ""), variables):
                return False
        except CelError as wrong:
            failed = failed or CelError(f"match condition {each.get('name')!r}: {wrong}")
    if failed is not None:
        raise failed
    return True
