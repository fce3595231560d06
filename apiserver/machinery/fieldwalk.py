"""Objects and sets of fields together: which fields an object has, what changed between two, merging, and taking fields away.

The rules are structured-merge-diff's (package typed): maps and structs are granular unless the schema says atomic; lists are atomic unless it
says map or set; where there is no schema, maps are granular and lists atomic. Equal parts are compared whole, in C, so an unchanged object costs
next to nothing.
"""

from typing import Any

from msgspec import Struct

from apiserver.machinery.fieldset import SELF, FieldSet, has_self, is_granular_list, is_granular_map, steps
from apiserver.machinery.objects import Object
from apiserver.machinery.schema import Node

ALWAYS_THERE = frozenset(
    (
        "metadata",
        "spec",
        "status",
        "template",
        "strategy",
        "updateStrategy",
        "resources",
        "loadBalancer",
        "involvedObject",
        "source",
        "containers",
        "names",
    )
)
"""Fields that Go's empty objects have (structs by value, lists without omitempty): writing into them does not own them themselves. Only of built-in
kinds."""


class Comparison(Struct):
    """Which fields came, changed, went."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet

    @property
    def is_same(self) -> bool:
        return not (self.added or self.modified or self.removed)


def fields_of(value: Object, node: Node | None) -> FieldSet:
    """Every field that an applied configuration names, and so wants to own. Raises MissingKey."""
    return _fields(value, node) or {}


def _fields(value: Any, node: Node | None) -> FieldSet:
    """What lies below; empty where the place itself is what is owned."""
    if isinstance(value, dict) and is_granular_map(node):
        declared = _declared(node)
        found: FieldSet = {}
        for key, each in value.items():
            below = _fields(each, node.field(key) if node is not None else None)
            # The key of a map is owned itself; a struct's field only if nothing lies below it.
            found[f"f:{key}"] = {SELF: {}, **below} if below and key not in declared else below
        return found
    if isinstance(value, list) and node is not None and is_granular_list(node):
        element = node.element
        found = {}
        for step, each in zip(steps(value, node), value, strict=True):
            below = _fields(each, element)
            found[step] = {SELF: {}, **below} if below else {}
        return found
    return {}


def _declared(node: Node | None) -> Any:
    return (node.raw.get("properties") or ()) if node is not None else ()


def compare(old: Object, new: Object, node: Node | None) -> Comparison:
    """What an update from `old` to `new` does. Raises MissingKey."""
    found = Comparison({}, {}, {})
    built_in = node is not None and "x-kubernetes-group-version-kind" in node.raw
    _compare_map(old, new, node, found.added, found.modified, found.removed, built_in)
    return found


def _compare_map(old: Object, new: Object, node: Node | None, added: FieldSet, modified: FieldSet, removed: FieldSet, built_in: bool) -> None:
    for key, value in new.items():
        before = old.get(key, SELF)
        if before is SELF:
            below = _whole(value, node.field(key) if node is not None else None, built_in)
            if built_in and key in ALWAYS_THERE and below:
                below.pop(SELF, None)
            added[f"f:{key}"] = below
        elif before != value:
            _compare(f"f:{key}", before, value, node.field(key) if node is not None else None, added, modified, removed, built_in)
    for key, value in old.items():
        if key not in new:
            removed[f"f:{key}"] = _whole(value, node.field(key) if node is not None else None, built_in)


def _compare(step: str, old: Any, new: Any, node: Node | None, added: FieldSet, modified: FieldSet, removed: FieldSet, built_in: bool) -> None:
    """Two values that differ, at one step below the sets given."""
    come: FieldSet = {}
    changed: FieldSet = {}
    gone: FieldSet = {}
    if isinstance(old, dict) and isinstance(new, dict) and (old or new) and is_granular_map(node):
        _compare_map(old, new, node, come, changed, gone, built_in)
    elif isinstance(old, list) and isinstance(new, list) and node is not None and is_granular_list(node):
        _compare_list(old, new, node, come, changed, gone, built_in)
    else:
        modified[step] = _whole(new, node, built_in)
        return
    for found, into in ((come, added), (changed, modified), (gone, removed)):
        if found:
            into[step] = found


def _compare_list(old: list[Any], new: list[Any], node: Node, added: FieldSet, modified: FieldSet, removed: FieldSet, built_in: bool) -> None:
    before = dict(zip(steps(old, node), old, strict=True))
    after = dict(zip(steps(new, node), new, strict=True))
    for step, value in after.items():
        if step not in before:
            added[step] = _whole(value, node.element, built_in)
        elif before[step] != value:
            _compare(step, before[step], value, node.element, added, modified, removed, built_in)
    for step, value in before.items():
        if step not in after:
            removed[step] = _whole(value, node.element, built_in)


def _whole(value: Any, node: Node | None, built_in: bool) -> FieldSet:
    """A value that came or went whole: all that lies below it, and itself."""
    found: FieldSet = {}
    if isinstance(value, dict) and value and is_granular_map(node):
        found[SELF] = {}
        for key, each in value.items():
            below = _whole(each, node.field(key) if node is not None else None, built_in)
            if built_in and key in ALWAYS_THERE and below:
                below.pop(SELF, None)
            found[f"f:{key}"] = below
    elif isinstance(value, list) and value and node is not None and is_granular_list(node):
        found[SELF] = {}
        for step, each in zip(steps(value, node), value, strict=True):
            found[step] = _whole(each, node.element, built_in)
    return found


def merge(live: Object, config: Object, node: Node | None, *, nulls: bool = False) -> Object:
    """`live` with what `config` says; a null takes the field away, or is a value as any other with `nulls`. Nothing given is changed; what did not
    change is shared. Raises MissingKey."""
    found = dict(live)
    for key, value in config.items():
        if value is None and not nulls:
            found.pop(key, None)
        elif key in found:
            found[key] = _merge(found[key], value, node.field(key) if node is not None else None, nulls)
        else:
            found[key] = value if nulls else _without_nulls(value)
    return found


def _merge(live: Any, config: Any, node: Node | None, nulls: bool) -> Any:
    if isinstance(live, dict) and isinstance(config, dict) and is_granular_map(node):
        return merge(live, config, node, nulls=nulls)
    if isinstance(live, list) and isinstance(config, list) and node is not None and is_granular_list(node):
        return _merge_list(live, config, node, nulls)
    return config if nulls else _without_nulls(config)


def _merge_list(live: list[Any], config: list[Any], node: Node, nulls: bool) -> list[Any]:
    """What the configuration names stands in its order; what only the live list has comes as early as the order of the live list lets it."""
    before = dict(zip(steps(live, node), live, strict=True))
    wanted = dict(zip(steps(config, node), config, strict=True))
    rest = list(before)
    rest.reverse()
    found: list[Any] = []
    taken: set[str] = set()
    for step, value in wanted.items():
        while rest and (rest[-1] not in wanted or rest[-1] in taken):
            passed = rest.pop()
            if passed not in wanted:
                found.append(before[passed])
        taken.add(step)
        found.append(_merge(before[step], value, node.element, nulls) if step in before else value if nulls else _without_nulls(value))
    return found + [before[step] for step in reversed(rest) if step not in wanted]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


def prune(value: Object, last: FieldSet, owned: FieldSet, node: Node | None) -> Object:
    """`value` without what `last` owned and nobody owns any more (`owned` is the union of all sets of now). Nothing given is changed."""
    found: Object = _prune(value, last, owned, node)
    return found


def _prune(value: Any, last: FieldSet, owned: FieldSet, node: Node | None) -> Any:
    if isinstance(value, dict) and is_granular_map(node):
        declared = _declared(node)
        found = {}
        for key, each in value.items():
            step = f"f:{key}"
            kept, below = _kept(step, each, last, owned, node.field(key) if node is not None else None, key in declared)
            if kept:
                found[key] = below
        return found
    if isinstance(value, list) and node is not None and is_granular_list(node):
        kept_elements = []
        for step, each in zip(steps(value, node), value, strict=True):
            kept, below = _kept(step, each, last, owned, node.element, False)
            if kept:
                kept_elements.append(below)
        return kept_elements
    return value


def _kept(step: str, value: Any, last: FieldSet, owned: FieldSet, node: Node | None, declared: bool) -> tuple[bool, Any]:
    """Whether a field stays, and what of it. A struct's field counts as owned by whoever owns anything below it; a list's element does not."""
    was = last.get(step)
    if was is None:
        return True, value
    now = owned.get(step)
    was_member = declared or has_self(was)
    is_member = now is not None and (declared or has_self(now))
    if was_member and not is_member:
        return False, None
    below = _prune(value, was, now or {}, node)
    if not below and value and isinstance(value, (dict, list)) and not (now is not None and not now):
        return False, None
    return True, below
