"""Applying what a client computes gives what was wanted: kubectl's two-way and three-way diffs, against the server's merge.

The diffs are written here from the description of strategic merge patch, the slow and plain way.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from apiserver.machinery.patches import merge_patch
from apiserver.machinery.schema import Node
from apiserver.machinery.strategic import strategic_patch

NODE = Node(
    {
        "type": "object",
        "properties": {
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "args": {"type": "array", "items": {"type": "string"}},
            "marks": {"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge"},
            "parts": {
                "type": "array",
                "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": "name",
                "items": {"$ref": "#/definitions/Part"},
            },
        },
    },
    {"Part": {"type": "object", "properties": {"name": {"type": "string"}, "value": {}, "below": {"$ref": "#/definitions/Below"}}}, "Below": {}},
)
WORDS = st.sampled_from(["a", "b", "c", "d"])
MAPS = st.dictionaries(WORDS, st.sampled_from(["1", "2"]), max_size=3)
PARTS = st.lists(
    st.fixed_dictionaries({"name": WORDS}, optional={"value": st.integers(0, 2), "below": MAPS}), max_size=4, unique_by=lambda each: each["name"]
)
OBJECTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "labels": MAPS,
        "args": st.lists(WORDS, max_size=3),
        "marks": st.lists(WORDS, max_size=4, unique=True),
        "parts": PARTS,
        "count": st.integers(0, 3),
    },
)
JSON = st.recursive(
    st.booleans() | st.integers(0, 3) | WORDS, lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=3), max_leaves=8
)


def diff(old: Any, new: Any, node: Node | None, *, deletions: bool = True, changes: bool = True) -> dict[str, Any]:
    """The strategic patch from `old` to `new`; a three-way diff is made of one without deletions and one of deletions alone."""
    patch: dict[str, Any] = {}
    for key in new.keys() | old.keys():
        place = node.field(key) if node is not None else None
        if key not in new:
            if deletions:
                patch[key] = None
        elif key not in old:
            if changes:
                patch[key] = new[key]
        elif isinstance(new[key], dict) and isinstance(old[key], dict):
            below = diff(old[key], new[key], place, deletions=deletions, changes=changes)
            if below:
                patch[key] = below
        elif isinstance(new[key], list) and isinstance(old[key], list) and place is not None and "merge" in place.patch_strategies:
            patch |= lists(key, old[key], new[key], place, deletions=deletions, changes=changes)
        elif old[key] != new[key] and changes:
            patch[key] = new[key]
    return patch


def lists(key: str, old: list[Any], new: list[Any], node: Node, *, deletions: bool, changes: bool) -> dict[str, Any]:
    if old == new:
        return {}
    patch: dict[str, Any] = {}
    name = node.patch_merge_key
    if not name:
        gone = [each for each in old if each not in new]
        come = [each for each in new if each not in old]
        if gone and deletions:
            patch[f"$deleteFromPrimitiveList/{key}"] = gone
        if come and changes:
            patch[key] = come
        if patch or changes:
            patch[f"$setElementOrder/{key}"] = new
        return patch
    before = {each[name]: each for each in old}
    elements = []
    for each in new:
        if each[name] not in before:
            if changes:
                elements.append(each)
        elif below := diff(before[each[name]], each, node.element, deletions=deletions, changes=changes):
            elements.append({**below, name: each[name]})
    if deletions:
        names = [each[name] for each in new]
        elements += [{"$patch": "delete", name: each[name]} for each in old if each[name] not in names]
    if elements:
        patch[key] = elements
    if elements or changes:
        patch[f"$setElementOrder/{key}"] = [{name: each[name]} for each in new]
    return patch


@given(OBJECTS, OBJECTS)
def test_a_two_way_patch_gives_what_was_wanted(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert strategic_patch(old, diff(old, new, NODE), NODE) == new


@given(OBJECTS, OBJECTS, MAPS)
def test_a_three_way_patch_keeps_what_others_wrote(last: dict[str, Any], wanted: dict[str, Any], others: dict[str, str]) -> None:
    """Live is what was applied last and a field of somebody else's; what is applied now changes all the rest."""
    live = {**last, "other": others}
    deleted = diff(last, wanted, NODE, changes=False)
    patched = strategic_patch(strategic_patch(live, deleted, NODE), diff(live, wanted, NODE, deletions=False), NODE)
    assert patched == {**wanted, "other": others}


@given(JSON, JSON)
def test_a_merge_patch_gives_what_was_wanted(old: Any, new: Any) -> None:
    def simple(before: Any, after: Any) -> Any:
        if not isinstance(before, dict) or not isinstance(after, dict):
            return after
        patch = {key: None for key in before if key not in after}
        return patch | {key: simple(before[key], after[key]) if key in before else after[key] for key in after}

    if isinstance(old, dict) and isinstance(new, dict):
        assert merge_patch(old, simple(old, new)) == new
    else:
        assert merge_patch(old, new) == new
