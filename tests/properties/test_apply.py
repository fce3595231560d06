"""The laws of server-side apply, over random objects and random managers."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apiserver.machinery import fieldmanager, fieldset, fieldwalk
from apiserver.machinery.schema import Node
from apiserver.machinery.status import ApiError

NODE = Node(
    {
        "type": "object",
        "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "args": {"type": "array", "items": {"type": "string"}},
            "marks": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "atom": {"type": "object", "x-kubernetes-map-type": "atomic"},
            "spec": {"type": "object", "properties": {"size": {"type": "integer"}, "color": {"type": "string"}}},
            "parts": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "integer"}}},
            },
        },
    },
    {},
)
WORDS = st.sampled_from(["a", "b", "c"])
MAPS = st.dictionaries(WORDS, st.sampled_from(["1", "2"]), min_size=1, max_size=3)
PARTS = st.lists(
    st.fixed_dictionaries({"name": WORDS}, optional={"value": st.integers(0, 2)}), min_size=1, max_size=3, unique_by=lambda each: each["name"]
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "labels": MAPS,
    "args": st.lists(WORDS, min_size=1, max_size=3),
    "marks": st.lists(WORDS, min_size=1, max_size=3, unique=True),
    "atom": MAPS,
    "spec": st.fixed_dictionaries({"size": st.integers(0, 2)}, optional={"color": WORDS}),
    "parts": PARTS,
    "free": st.integers(0, 2),
}
CONFIGS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}, optional=FIELDS)
MANAGERS = st.sampled_from(["ann", "bob"])


def applied(live: dict[str, Any] | None, config: dict[str, Any], manager: str, *, force: bool = False) -> dict[str, Any]:
    return fieldmanager.apply(live, {"apiVersion": "v1", "kind": "Thing", **config}, manager=manager, now="t", node=NODE, force=force)


def owned(obj: dict[str, Any], manager: str) -> dict[str, Any]:
    return next((each["fieldsV1"] for each in obj["metadata"].get("managedFields", ()) if each["manager"] == manager), {})


def bare(obj: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in ("metadata", "apiVersion", "kind")}


def history(steps: list[tuple[str, dict[str, Any]]]) -> dict[str, Any] | None:
    live = None
    for manager, config in steps:
        live = applied(live, config, manager, force=True)
    return live


HISTORIES = st.lists(st.tuples(MANAGERS, CONFIGS), max_size=4).map(history)


@given(HISTORIES, CONFIGS, MANAGERS)
def test_applying_again_changes_nothing(live: dict[str, Any] | None, config: dict[str, Any], manager: str) -> None:
    assume(config)
    once = applied(live, config, manager, force=True)
    assert applied(once, config, manager) is once


@given(HISTORIES, CONFIGS, MANAGERS)
def test_what_is_applied_is_there_and_owned(live: dict[str, Any] | None, config: dict[str, Any], manager: str) -> None:
    new = applied(live, config, manager, force=True)
    found = fieldwalk.compare(fieldwalk.merge(new, config, NODE), new, NODE)
    assert found.is_same
    assert not fieldset.difference(fieldwalk.fields_of(config, NODE), owned(new, manager))


@given(HISTORIES, CONFIGS, MANAGERS)
def test_force_takes_what_was_changed_from_all_others(live: dict[str, Any] | None, config: dict[str, Any], manager: str) -> None:
    try:
        applied(live, config, manager)
    except ApiError as conflict:
        new = applied(live, config, manager, force=True)
        other = "bob" if manager == "ann" else "ann"
        told = {each.field for each in conflict.causes}
        assert told
        assert not told & {fieldset.shown(path) for path in fieldset.members(owned(new, other))}
    else:
        assert applied(live, config, manager, force=True) == applied(live, config, manager)


def test_a_set_that_is_applied_in_another_order_has_it() -> None:
    live = applied(applied(None, {"marks": ["a", "b"]}, "ann"), {"marks": ["b", "a"]}, "ann")
    assert bare(live) == {"marks": ["b", "a"]}


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), MANAGERS, max_size=5), st.data())
def test_managers_of_different_fields_never_conflict(owners: dict[str, str], data: st.DataObject) -> None:
    live: dict[str, Any] | None = None
    wanted: dict[str, Any] = {}
    for _ in range(2):
        for manager in ("ann", "bob"):
            config = {name: data.draw(FIELDS[name]) for name, owner in owners.items() if owner == manager}
            live = applied(live, config, manager)
            wanted |= config
    assert live is not None
    assert bare(live) == wanted


@given(CONFIGS, CONFIGS)
def test_one_manager_alone_gets_exactly_what_it_applied_last(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = applied(applied(None, first, "ann"), second, "ann")
    assert bare(live) == second


@given(HISTORIES, MANAGERS)
def test_who_applies_nothing_owns_nothing_and_leaves_the_others_theirs(live: dict[str, Any] | None, manager: str) -> None:
    assume(live is not None)
    assert live is not None
    other = "bob" if manager == "ann" else "ann"
    new = applied(live, {}, manager)
    assert not owned(new, manager)
    assert fieldset.difference(owned(live, other), owned(new, other)) == {}


@given(CONFIGS, CONFIGS)
def test_sets(left: dict[str, Any], right: dict[str, Any]) -> None:
    one, other = fieldwalk.fields_of(left, NODE), fieldwalk.fields_of(right, NODE)
    mine, theirs = set(fieldset.members(one)), set(fieldset.members(other))
    assert set(fieldset.members(fieldset.union(one, other))) == mine | theirs
    assert set(fieldset.members(fieldset.intersection(one, other))) == mine & theirs
    assert set(fieldset.members(fieldset.difference(one, other))) == mine - theirs


def test_conflict_is_told() -> None:
    with pytest.raises(ApiError):
        applied(applied(None, {"free": 1}, "ann"), {"free": 2}, "bob")
