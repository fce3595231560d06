"""Whether an applied configuration is of its schema's types: what server-side apply asks before it looks at who owns what
(sigs.k8s.io/structured-merge-diff/typed, validate.go). Its words are its own, and the answer to a fault is a bare 500."""

from collections.abc import Iterator
from typing import Any

from apiserver.machinery import go_values
from apiserver.machinery.fieldset import MissingKey, is_granular_list, shown, steps
from apiserver.machinery.objects import Object
from apiserver.machinery.schema import Node
from apiserver.machinery.status import ApiError

SCALARS = (str, int, float, bool)


def check(config: Object, node: Node) -> None:
    """Raises ApiError (500)."""
    found = [f"{path}: {told}" if path else told for path, told in _faults(config, node, "")]
    if not found:
        return
    meta = config.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    name, namespace = (each if isinstance(each := meta.get(key), str) else "" for key in ("name", "namespace"))
    where = f"{namespace}/{name}; {config.get('apiVersion')}, Kind={config.get('kind')}"
    told = found[0] if len(found) == 1 else "\n".join(("errors:", *(f"  {each}" for each in found)))
    raise ApiError("", f"failed to create typed patch object ({where}): {told}", code=500)


def _faults(value: Any, node: Node | None, path: str) -> Iterator[tuple[str, str]]:
    """(path, what is wrong)."""
    if value is None or node is None:
        return
    kind, raw = node.type, node.raw
    if raw.get("x-kubernetes-int-or-string") or (not kind and "properties" not in raw):
        # Of any type; what it holds is not declared anywhere. A number or string that is an object or list is found by validation.
        return
    if kind == "array":
        if not isinstance(value, list):
            yield path, f"expected list, got &{{{go_values.printed(value)}}}"
        else:
            yield from _list(value, node, path)
    elif kind == "object" or "properties" in raw:
        if not isinstance(value, dict):
            yield path, f"expected map, got &{{{go_values.printed(value)}}}"
        else:
            yield from _map(value, node, path)
    elif raw.get("format") == "date-time" and "description" in raw and isinstance(value, SCALARS):
        return
    elif kind == "string" and not isinstance(value, str):
        yield path, f"expected string, got &value.valueUnstructured{{Value:{go_values.syntax(value)}}}"
    elif kind == "boolean" and not isinstance(value, bool):
        yield path, f"expected boolean, got &{{{go_values.printed(value)}}}"
    elif kind in ("integer", "number") and (isinstance(value, bool) or not isinstance(value, (int, float))):
        yield path, f"expected numeric (int or float), got {go_values.type_of(value)}"


def _map(value: Object, node: Node, path: str) -> Iterator[tuple[str, str]]:
    raw = node.raw
    is_open = node.preserves_unknown_fields or (not raw.get("properties") and not isinstance(raw.get("additionalProperties"), dict))
    for name, each in value.items():
        below = node.field(name)
        if below is None and not is_open:
            yield f"{path}.{name}", "field not declared in schema"
            return  # upstream's walk ends at the first of a map
        yield from _faults(each, below, f"{path}.{name}")


def _list(value: list[Any], node: Node, path: str) -> Iterator[tuple[str, str]]:
    if not is_granular_list(node):
        for index, each in enumerate(value):
            yield from _faults(each, node.element, f"{path}[{index}]")
        return
    seen: set[str] = set()
    for index, each in enumerate(value):
        try:
            step = steps([each], node)[0]
        except MissingKey as wrong:
            yield path, f"element {index}: {str(wrong).partition(': ')[2] or wrong}"
            return
        if step in seen:
            yield path, f"duplicate entries for key {shown((step,))}"
        seen.add(step)
        yield from _faults(each, node.element, path + shown((step,)))
