"""Sets of field paths, in the form that managedFields keeps them in (FieldsV1; sigs.k8s.io/structured-merge-diff/fieldpath).

A set is the nested dict itself, so nothing is decoded to work with it. Steps are `f:NAME`, `k:{...}` (a list element by its keys), `v:VALUE` (an
element of a set) and `i:N`. A step with an empty dict below is a member; a member with more below says so with `.`:

    {"f:spec": {"f:replicas": {}, "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}}

Sets are never changed in place except by `insert`; results may share parts with their arguments.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from apiserver.machinery.schema import Node

FieldSet = dict[str, Any]
SELF = "."
DEPTH_MAX = 256
"""Deeper sets are refused when they are read from a client."""

KEY_DEFAULTS = {"protocol": "TCP"}
"""Keys of list elements that may be left out: upstream's schema carries these defaults, the published definitions do not."""

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class MissingKey(ValueError):
    """A list element without a key that tells it from others; the message is structured-merge-diff's."""


def has_self(node: FieldSet) -> bool:
    """Whether what this dict stands for is itself a member."""
    return not node or SELF in node


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Both; neither is empty at an inner place, where empty means "a member"."""
    if not right:
        return left
    if not left:
        return right
    return _union(left, right)


def _union(left: FieldSet, right: FieldSet) -> FieldSet:
    found = dict(left)
    for step, below in right.items():
        mine = found.get(step)
        if mine is None:
            found[step] = below
        elif step != SELF and mine is not below:
            found[step] = _joined(mine, below)
    return found


def _joined(left: FieldSet, right: FieldSet) -> FieldSet:
    if not left and not right:
        return left
    if not left:
        return {SELF: {}, **right}
    if not right:
        return {SELF: {}, **left}
    return _union(left, right)


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in `left` and not in `right`."""
    if not right:
        return left
    found: FieldSet = {}
    for step, below in left.items():
        if step == SELF:
            continue
        other = right.get(step)
        if other is None:
            found[step] = below
            continue
        member = has_self(below) and not has_self(other)
        rest = difference({key: each for key, each in below.items() if key != SELF}, {key: each for key, each in other.items() if key != SELF})
        if rest:
            found[step] = {SELF: {}, **rest} if member else rest
        elif member:
            found[step] = {}
    return found


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in both."""
    found: FieldSet = {}
    for step, below in left.items():
        other = right.get(step)
        if other is None or step == SELF:
            continue
        member = has_self(below) and has_self(other)
        rest = intersection(below, other)
        if rest:
            found[step] = {SELF: {}, **rest} if member else rest
        elif member:
            found[step] = {}
    return found


def insert(into: FieldSet, path: tuple[str, ...]) -> None:
    """Makes `path` a member of a set that nobody else has."""
    for at, step in enumerate(path):
        last = at == len(path) - 1
        below = into.get(step)
        if below is None:
            below = into[step] = {} if last else {"": {}}
            below.pop("", None)
        elif last:
            if below:
                below.setdefault(SELF, {})
        elif not below:
            below[SELF] = {}
        into = below


def members(fields: FieldSet, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every member's path."""
    for step, below in fields.items():
        if step == SELF:
            yield path
        elif not below:
            yield (*path, step)
        else:
            yield from members(below, (*path, step))


def shown(path: tuple[str, ...]) -> str:
    """A path as messages print it: .spec.containers[name="a"].image"""
    return "".join(_shown(step) for step in path)


def _shown(step: str) -> str:
    kind, _, rest = step.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys = msgspec.json.decode(rest)
        return "[" + ",".join(f"{key}={_text(value)}" for key, value in keys.items()) + "]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def check(fields: Any, depth: int = 0) -> bool:
    """Whether something from a client is a set of fields."""
    if not isinstance(fields, dict) or depth > DEPTH_MAX:
        return False
    for step, below in fields.items():
        if step == SELF:
            if below:
                return False
            continue
        if step[:2] not in ("f:", "k:", "v:", "i:") or not check(below, depth + 1):
            return False
        if step[0] in "kv" and not _is_json(step[2:], step[0] == "k"):
            return False
    return True


def _is_json(text: str, must_be_object: bool) -> bool:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return isinstance(found, dict) or not must_be_object


def is_granular_list(node: Node | None) -> bool:
    return node is not None and node.list_type in ("map", "set")


def is_granular_map(node: Node | None) -> bool:
    return node is None or node.map_type != "atomic"


def steps(elements: list[Any], node: Node) -> list[str]:
    """The step of each element of a granular list. Raises MissingKey."""
    if node.list_type == "set":
        return [f"v:{_encode_sorted(each).decode()}" for each in elements]
    keys = node.list_map_keys
    element = node.element
    if len(keys) == 1 and keys[0] not in KEY_DEFAULTS:
        # The common case, one text key, without the general way's cost.
        key = keys[0]
        quick = [each.get(key) if isinstance(each, dict) else None for each in elements]
        if all(isinstance(each, str) and each.isascii() and each.isalnum() for each in quick):
            return [f'k:{{"{key}":"{each}"}}' for each in quick]
    return [f"k:{_encode_sorted(_keys(at, each, keys, element)).decode()}" for at, each in enumerate(elements)]


def _keys(at: int, element: Any, keys: tuple[str, ...], node: Node | None) -> dict[str, Any]:
    if not isinstance(element, dict):
        raise MissingKey(f"element {at}: associative list with keys may not have non-map elements")
    found: dict[str, Any] = {}
    for key in keys:
        value = element.get(key)
        if value is None:
            value = _default_of(key, node)
        if value is None:
            raise MissingKey(
                f'element {at}: associative list with keys has an element that omits key field "{key}" (and doesn\'t have default value)'
            )
        found[key] = value
    return found


def _default_of(key: str, node: Node | None) -> Any:
    field = node.field(key) if node is not None else None
    default = field.raw.get("default") if field is not None else None
    return KEY_DEFAULTS.get(key) if default is None else default
