"""Texts as the genuine server (k8s.io/apiextensions-apiserver v0.37.2) told them."""

from typing import Any

import pytest

from apiserver.machinery import go_values
from apiserver.machinery.status import shown
from apiserver.registry import custom_values, embedded, list_types


def wrong(path: str, came: str, wanted: str) -> str:
    return f'{path}: Invalid value: "{came}": {path} in body must be of type {wanted}: "{came}"'


def told(raw: dict[str, Any], value: Any, path: str = "spec.x", **more: Any) -> list[str]:
    return [each.text() for each in custom_values.faults(raw, value, path, **more)]


TEXT = {"type": "string", "maxLength": 3, "minLength": 1, "pattern": "^[a-z]*$"}
ZERO = "spec.x: Invalid value: 0: spec.x in body"
COMPOSED = '<nil>: Invalid value: "": '


@pytest.mark.parametrize(
    ("raw", "value", "expected"),
    [
        ({"type": "string"}, 1, [wrong("spec.x", "integer", "string")]),
        ({"type": "string"}, None, [wrong("spec.x", "null", "string")]),
        ({"type": "string", "nullable": True}, None, []),
        ({"type": "integer"}, 3.0, []),
        ({"x-kubernetes-int-or-string": True}, 1.5, [wrong("spec.x", "number", "integer,string")]),
        (
            {"type": "integer", "format": "int64"},
            1.5,
            [
                wrong("spec.x", "float64", "int64"),
                f"{COMPOSED}Checked value must be of type integer with format int64 in spec.x",
            ],
        ),
        ({"type": "integer", "format": "int32"}, 2**40, [f"{COMPOSED}Checked value must be of type integer with format int32 in spec.x"]),
        (
            {"type": "string", "format": "date"},
            "2020-13-02",
            [wrong("spec.x", "2020-13-02", "date")],
        ),
        ({"type": "string", "format": "date-time"}, 5, [wrong("spec.x", "int64", "date-time")]),
        ({"type": "string", "format": "telephone"}, "x", []),
        (TEXT, "ABCD", ["spec.x: Too long: may not be more than 3 bytes"]),
        (TEXT, "", ['spec.x: Invalid value: "": spec.x in body should be at least 1 chars long']),
        (TEXT, "A", ["spec.x: Invalid value: \"A\": spec.x in body should match '^[a-z]*$'"]),
        (
            {"type": "array", "minItems": 1, "items": {"type": "string"}},
            [],
            [f"{ZERO} should have at least 1 items"],
        ),
        ({"type": "number", "multipleOf": 0.5}, 0.3, ["spec.x: Invalid value: 0.3: spec.x in body should be a multiple of 0.5"]),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, 0, [f"{ZERO} should be greater than 0"]),
        ({"type": "object", "required": ["a"]}, {}, ["spec.x.a: Required value"]),
        (
            {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"a": 1, "b": 1},
            [f'{COMPOSED}"spec.x" must validate one and only one schema (oneOf). Found 2 valid alternatives'],
        ),
        (
            {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {},
            [f'{COMPOSED}"spec.x" must validate one and only one schema (oneOf). Found none valid', "spec.x.a: Required value"],
        ),
        (
            {"type": "string", "enum": ["a"]},
            1,
            [
                wrong("spec.x", "integer", "string"),
                'spec.x: Unsupported value: 1: supported values: "a"',
            ],
        ),
    ],
)
def test_values(raw: dict[str, Any], value: Any, expected: list[str]) -> None:
    assert told(raw, value) == expected


def test_all_that_is_wrong_is_told_at_once() -> None:
    raw = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer", "minimum": 1}}, "required": ["c"]}
    assert told(raw, {"a": 1, "b": 0}) == [
        wrong("spec.x.a", "integer", "string"),
        "spec.x.b: Invalid value: 0: spec.x.b in body should be greater than or equal to 1",
        "spec.x.c: Required value",
    ]


def test_what_is_as_it_was_is_passed_over() -> None:
    raw = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    assert told(raw, {"a": 1, "b": 2}, old={"a": 1, "b": 3}) == [wrong("spec.x.b", "integer", "string")]


def test_a_status_by_itself_is_named_by_its_own_fields() -> None:
    raw = {"type": "object", "properties": {"phase": {"type": "string", "enum": ["Up"]}, "size": {"type": "integer"}}}
    assert told(raw, {"phase": "Down", "size": "1"}, "", root="status") == [
        'status.phase: Unsupported value: "Down": supported values: "Up"',
        'status.size: Invalid value: "string": size in body must be of type integer: "string"',
    ]


def test_lists() -> None:
    pairs = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "port"], "items": {"type": "object"}}
    assert [each.text() for each in list_types.faults(pairs, [{"name": "a", "port": 1}, {"port": 1, "name": "a"}, {"name": "a"}], "ports")] == [
        'ports[1]: Duplicate value: {"name":"a","port":1}'
    ]
    one = {"properties": {"tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}
    assert [each.text() for each in list_types.faults(one, {"tags": ["a", "b", "a", "a"]})] == ['tags[2]: Duplicate value: "a"']


def test_embedded_objects_say_what_they_are() -> None:
    raw = {"type": "object", "properties": {"held": {"type": "object", "x-kubernetes-embedded-resource": True}}}
    assert embedded.has_any(raw)
    assert [each.text() for each in embedded.faults(raw, {"held": {"apiVersion": "a/b/c", "kind": ""}})] == [
        'held.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
        'held.kind: Invalid value: "": must not be empty',
    ]
    found = list(embedded.faults(raw, {"held": {"kind": "Thing", "metadata": {"labels": {"a": "-"}}}}))
    assert [each.field for each in found] == ["held.apiVersion", "held.metadata.labels"]


@pytest.mark.parametrize("value", [1e308, 10**400], ids=["float", "integer"])
def test_a_number_that_is_beyond_what_can_be_reckoned_with_is_a_fault_of_the_value(value: float) -> None:
    expected = f"spec.x: Invalid value: {shown(value)}: spec.x in body should be a multiple of 0.1"
    assert told({"type": "number", "multipleOf": 0.1}, value) == [expected]
    assert told({"type": "integer"}, value)[-1] == f"{COMPOSED}Checked value must be of type integer (default format) in spec.x"
    assert go_values.printed(value)
