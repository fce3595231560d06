"""Fields that stand twice in a JSON text: decoders keep one of them silently, so strict validation has to look at the text (sigs.k8s.io/json)."""

import json
from typing import Any


class _Pairs(list[tuple[str, Any]]):
    """An object as its pairs, because one of its names came twice."""


def none_for_sure(text: bytes | str, value: Any) -> bool:
    """Whether `value`, decoded from `text`, has everything that stands there: a name that came twice leaves a colon more in the text than in the
    value. Colons that are written as escapes make it doubtful, too: then the answer is no, and `fields` has to look."""
    whole = text.count(":") if isinstance(text, str) else text.count(b":")
    stack: list[Any] = [[value]]
    found = 0
    while stack:
        current = stack.pop()
        if type(current) is dict:
            found += len(current)
            for name in current:
                found += name.count(":")
            current = current.values()
        for element in current:
            kind = type(element)
            if kind is str:
                found += element.count(":")
            elif kind is dict or kind is list:
                stack.append(element)
    return found == whole


def fields(text: bytes | str) -> list[str]:
    """Paths of fields that the text names more than once: `spec.replicas`, `spec.containers[0].image`. Text that is no JSON has none."""
    twice = False

    def pairs(found: list[tuple[str, Any]]) -> Any:
        nonlocal twice
        made = dict(found)
        if len(made) == len(found):
            return made
        twice = True
        return _Pairs(found)

    try:
        whole = json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return []
    if not twice:
        return []
    told: list[str] = []
    _walk(whole, "", told)
    return told


def _walk(value: Any, path: str, told: list[str]) -> None:
    if isinstance(value, _Pairs | dict):
        seen: set[str] = set()
        for name, inner in value.items() if isinstance(value, dict) else value:
            below = f"{path}.{name}" if path else name
            if name in seen and below not in told:
                told.append(below)
            seen.add(name)
            _walk(inner, below, told)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _walk(inner, f"{path}[{index}]", told)
