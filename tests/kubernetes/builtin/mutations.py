"""Every way in which one field of a manifest may be odd: walked over a rich manifest, this asks for each field what a server says of it."""

import copy
from collections.abc import Iterator
from typing import Any

ODD = "Not_A name!"
LONG = "x" * 300
GONE = object()


def values(value: Any) -> Iterator[tuple[str, Any]]:
    """Odd values in the place of a good one; each with what to call it."""
    yield "gone", GONE
    if isinstance(value, bool):
        yield "flipped", not value
    elif isinstance(value, int):
        for odd in (-1, 0, 1, 70000, 2**31 - 1):
            if odd != value:
                yield str(odd), odd
    elif isinstance(value, str):
        yield "empty", ""
        yield "odd", ODD
        yield "long", LONG
        yield "upper", value.upper() + "X"
    elif isinstance(value, list):
        yield "emptied", []
        if value:
            yield "doubled", [*value, copy.deepcopy(value[0])]
    elif isinstance(value, dict):
        yield "emptied", {}


def wrong_types(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bool | int):
        yield "as text", "word"
    elif isinstance(value, str):
        yield "as number", 5
        yield "as object", {}
    elif isinstance(value, list):
        yield "as object", {}
    else:
        yield "as list", []
    yield "null", None


def mutations(manifest: Any, skip: tuple[str, ...] = ("kind", "apiVersion"), types: bool = False) -> Iterator[tuple[str, Any]]:
    """(what is odd, the manifest with it)."""
    for path in _paths(manifest):
        told = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
        if told in skip:
            continue
        value = _at(manifest, path)
        for name, odd in (wrong_types if types else values)(value):
            changed = copy.deepcopy(manifest)
            _put(changed, path, odd)
            yield f"{told} {name}", changed


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*at, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    parent = _at(value, path[:-1])
    if new is GONE:
        del parent[path[-1]]
    else:
        parent[path[-1]] = new
