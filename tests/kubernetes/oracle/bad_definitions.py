"""Definitions with one fault each, sent as dry runs of creation: by name, what is changed in a definition that is right.

A change is (path, value); a path is its keys separated by dots, numbers are positions in lists, and DROP takes the value away.
"""

import copy
from collections.abc import Iterator
from typing import Any

from tests.kubernetes.oracle.definitions import GROUP, definition
from tests.kubernetes.oracle.memory import DEFINED
from tests.kubernetes.oracle.requests import Object, Request, ask

DROP = object()
SCHEMA = "spec.versions.0.schema.openAPIV3Schema"
SPEC = f"{SCHEMA}.properties.spec"
X = "x-kubernetes-"
Change = tuple[str, Any]


def right() -> Object:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "maxLength": 5},
                    "list": {"type": "array", "items": {"type": "string"}},
                    "map": {"type": "array", "items": {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}}},
                },
            }
        },
    }
    return definition("things", "Thing", "Namespaced", [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}])


def _property(schema: Any) -> Change:
    return (f"{SPEC}.properties.tried", schema)


def _rules(*rules: Any) -> Change:
    return (f"{SPEC}.{X}validations", list(rules))


def _column(**changes: Any) -> Change:
    return ("spec.versions.0.additionalPrinterColumns", [{"name": "A", "type": "string", "jsonPath": ".spec.text"} | changes])


CHANGES: dict[str, tuple[Change, ...]] = {
    "right": (),
    "no group": (("spec.group", DROP),),
    "empty group": (("spec.group", ""),),
    "group without a dot": (("spec.group", "nodot"), ("metadata.name", "things.nodot")),
    "bad group": (("spec.group", "A_b.c"), ("metadata.name", "things.A_b.c")),
    "another name": (("metadata.name", "others." + GROUP),),
    "no name": (("metadata.name", DROP),),
    "protected group": (("spec.group", "a.k8s.io"), ("metadata.name", "things.a.k8s.io")),
    "unapproved": (("spec.group", "a.k8s.io"), ("metadata.name", "things.a.k8s.io"), ("metadata.annotations", {"api-approved.kubernetes.io": "x"})),
    "approved": (
        ("spec.group", "a.k8s.io"),
        ("metadata.name", "things.a.k8s.io"),
        ("metadata.annotations", {"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/1"}),
    ),
    "no scope": (("spec.scope", DROP),),
    "other scope": (("spec.scope", "Galaxy"),),
    "no names": (("spec.names", {}),),
    "no plural": (("spec.names.plural", DROP),),
    "no kind": (("spec.names.kind", DROP),),
    "bad kind": (("spec.names.kind", "Th ing"),),
    "bad plural": (("spec.names.plural", "Things"), ("metadata.name", "Things." + GROUP)),
    "bad singular": (("spec.names.singular", "Thing"),),
    "bad list kind": (("spec.names.listKind", "1Things"),),
    "kind is list kind": (("spec.names.listKind", "Thing"),),
    "bad short names": (("spec.names.shortNames", ["Ab", "a.b", ""]),),
    "bad categories": (("spec.names.categories", ["All", "a b"]),),
    "no versions": (("spec.versions", []),),
    "versions missing": (("spec.versions", DROP),),
    "bad version name": (("spec.versions.0.name", "V1"),),
    "no version name": (("spec.versions.0.name", DROP),),
    "nothing stored": (("spec.versions.0.storage", False),),
    "storage missing": (("spec.versions.0.storage", DROP),),
    "served missing": (("spec.versions.0.served", DROP),),
    "nothing served": (("spec.versions.0.served", False),),
    "deprecated": (("spec.versions.0.deprecated", True),),
    "warning without deprecation": (("spec.versions.0.deprecationWarning", "old"),),
    "long warning": (("spec.versions.0.deprecated", True), ("spec.versions.0.deprecationWarning", "x" * 257)),
    "empty warning": (("spec.versions.0.deprecated", True), ("spec.versions.0.deprecationWarning", "")),
    "no schema": (("spec.versions.0.schema", DROP),),
    "empty schema": (("spec.versions.0.schema", {}),),
    "schema of nothing": ((SCHEMA, {}),),
    "schema of a string": ((SCHEMA, {"type": "string"}),),
    "all is preserved": ((SCHEMA, {"type": "object", f"{X}preserve-unknown-fields": True}),),
    "preserveUnknownFields": (("spec.preserveUnknownFields", True),),
    "preserveUnknownFields false": (("spec.preserveUnknownFields", False),),
    "unknown field": (("spec.unknown", 1),),
    "unknown keyword": ((f"{SPEC}.unknown", 1),),
    "property without type": (_property({}),),
    "unknown type": (_property({"type": "text"}),),
    "list of types": (_property({"type": ["string"]}),),
    "list without items": (_property({"type": "array"}),),
    "items of a list": (_property({"type": "array", "items": [{"type": "string"}]}),),
    "unique items": (_property({"type": "array", "items": {"type": "string"}, "uniqueItems": True}),),
    "properties and additional": (
        _property({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
    ),
    "additional false": (_property({"type": "object", "additionalProperties": False}),),
    "additional true": (_property({"type": "object", "additionalProperties": True}),),
    "reference": (_property({"$ref": "#/definitions/x"}),),
    "definitions": ((f"{SCHEMA}.definitions", {"a": {"type": "string"}}),),
    "dependencies": (_property({"type": "object", "dependencies": {"a": ["b"]}}),),
    "pattern properties": (_property({"type": "object", "patternProperties": {"a": {"type": "string"}}}),),
    "id": (_property({"type": "string", "id": "x"}),),
    "discriminator": (_property({"type": "string", "discriminator": "x"}),),
    "read only": (_property({"type": "string", "readOnly": True}),),
    "xml": (_property({"type": "string", "xml": {}}),),
    "nullable alone": (_property({"nullable": True}),),
    "bad pattern": (_property({"type": "string", "pattern": "("}),),
    "pattern of another dialect": (_property({"type": "string", "pattern": "(?=a)"}),),
    "unknown format": (_property({"type": "string", "format": "telephone"}),),
    "negative length": (_property({"type": "string", "maxLength": -1}),),
    "minimum above maximum": (_property({"type": "integer", "minimum": 3, "maximum": 1}),),
    "enum of another type": (_property({"type": "string", "enum": [1]}),),
    "enum twice": (_property({"type": "string", "enum": ["a", "a"]}),),
    "default of another type": (_property({"type": "string", "default": 1}),),
    "default outside the enum": (_property({"type": "string", "enum": ["a"], "default": "b"}),),
    "default with unknown fields": (_property({"type": "object", "properties": {"a": {"type": "string"}}, "default": {"b": 1}}),),
    "default breaks a rule": (_property({"type": "string", "default": "b", f"{X}validations": [{"rule": "self == 'a'"}]}),),
    "null default": (_property({"type": "string", "default": None}),),
    "nullable default": (_property({"type": "string", "nullable": True, "default": None}),),
    "default in metadata": ((f"{SCHEMA}.properties.metadata", {"type": "object", "properties": {"name": {"type": "string", "default": "x"}}}),),
    "labels in metadata": ((f"{SCHEMA}.properties.metadata", {"type": "object", "properties": {"labels": {"type": "object"}}}),),
    "pattern of the name": ((f"{SCHEMA}.properties.metadata", {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}}),),
    "metadata of a string": ((f"{SCHEMA}.properties.metadata", {"type": "string"}),),
    "kind of an integer": ((f"{SCHEMA}.properties.kind", {"type": "integer"}),),
    "type below anyOf": (_property({"type": "string", "anyOf": [{"type": "string"}]}),),
    "pattern below anyOf": (_property({"type": "string", "anyOf": [{"pattern": "a"}]}),),
    "default below allOf": (_property({"type": "string", "allOf": [{"default": "a"}]}),),
    "unknown below anyOf": (_property({"type": "object", "properties": {}, "anyOf": [{"properties": {"a": {"pattern": "x"}}}]}),),
    "description below not": (_property({"type": "string", "not": {"description": "x"}}),),
    "preserve below anyOf": (_property({"type": "object", "anyOf": [{f"{X}preserve-unknown-fields": True}]}),),
    "required and unknown": (_property({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]}),),
    "int or string": (_property({f"{X}int-or-string": True}),),
    "int or string typed": (_property({f"{X}int-or-string": True, "type": "string"}),),
    "int or string spelled": (_property({f"{X}int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),),
    "int or string spelled otherwise": (_property({f"{X}int-or-string": True, "anyOf": [{"type": "string"}, {"type": "integer"}]}),),
    "embedded": (_property({"type": "object", f"{X}embedded-resource": True}),),
    "embedded with fields": (_property({"type": "object", f"{X}embedded-resource": True, "properties": {"a": {"type": "string"}}}),),
    "embedded string": (_property({"type": "string", f"{X}embedded-resource": True}),),
    "preserve false": (_property({"type": "object", f"{X}preserve-unknown-fields": False}),),
    "preserve a string": (_property({"type": "string", f"{X}preserve-unknown-fields": True}),),
    "set of maps": (_property({"type": "array", f"{X}list-type": "set", "items": {"type": "object", "properties": {}}}),),
    "set of atomic maps": (_property({"type": "array", f"{X}list-type": "set", "items": {"type": "object", f"{X}map-type": "atomic"}}),),
    "set of nullable": (_property({"type": "array", f"{X}list-type": "set", "items": {"type": "string", "nullable": True}}),),
    "list type of a string": (_property({"type": "string", f"{X}list-type": "set"}),),
    "unknown list type": (_property({"type": "array", "items": {"type": "string"}, f"{X}list-type": "heap"}),),
    "unknown map type": (_property({"type": "object", f"{X}map-type": "heap"}),),
    "map type of a string": (_property({"type": "string", f"{X}map-type": "atomic"}),),
    "map without keys": ((f"{SPEC}.properties.map.{X}list-type", "map"),),
    "keys without map": ((f"{SPEC}.properties.map.{X}list-map-keys", ["key"]),),
    "map with keys": ((f"{SPEC}.properties.map.{X}list-type", "map"), (f"{SPEC}.properties.map.{X}list-map-keys", ["key"])),
    "map with unknown keys": ((f"{SPEC}.properties.map.{X}list-type", "map"), (f"{SPEC}.properties.map.{X}list-map-keys", ["no"])),
    "map with keys twice": ((f"{SPEC}.properties.map.{X}list-type", "map"), (f"{SPEC}.properties.map.{X}list-map-keys", ["key", "key"])),
    "map with optional keys": (
        (f"{SPEC}.properties.map.{X}list-type", "map"),
        (f"{SPEC}.properties.map.{X}list-map-keys", ["key"]),
        (f"{SPEC}.properties.map.items.required", DROP),
    ),
    "map of strings": ((f"{SPEC}.properties.list.{X}list-type", "map"), (f"{SPEC}.properties.list.{X}list-map-keys", ["key"])),
    "map with keys of maps": (
        (f"{SPEC}.properties.map.{X}list-type", "map"),
        (f"{SPEC}.properties.map.{X}list-map-keys", ["key"]),
        (f"{SPEC}.properties.map.items.properties.key", {"type": "object", "properties": {}}),
    ),
    "rule": (_rules({"rule": "self.text == 'a'"}),),
    "empty rule": (_rules({"rule": ""}),),
    "rule missing": (_rules({}),),
    "blank rule": (_rules({"rule": "  "}),),
    "rule of no boolean": (_rules({"rule": "self.text"}),),
    "rule with a mistake": (_rules({"rule": "self.text =="}),),
    "rule of an unknown field": (_rules({"rule": "self.nope == 1"}),),
    "rule of wrong types": (_rules({"rule": "self.text == 1"}),),
    "rule with an unknown function": (_rules({"rule": "self.text.nope()"}),),
    "rule with a message of lines": (_rules({"rule": "true", "message": "a\nb"}),),
    "rule with a blank message": (_rules({"rule": "true", "message": " "}),),
    "long message": (_rules({"rule": "true", "message": "x" * 2049}),),
    "rule of lines needs a message": (_rules({"rule": "true &&\ntrue"}),),
    "rule with an unknown reason": (_rules({"rule": "true", "reason": "Whim"}),),
    "rule with a field path": (_rules({"rule": "true", "fieldPath": ".text"}),),
    "rule with an unknown path": (_rules({"rule": "true", "fieldPath": ".nope"}),),
    "rule with a bad path": (_rules({"rule": "true", "fieldPath": "text["}),),
    "rule with a path into a list": (_rules({"rule": "true", "fieldPath": ".list[0]"}),),
    "message expression": (_rules({"rule": "true", "messageExpression": "'a' + self.text"}),),
    "message expression of a number": (_rules({"rule": "true", "messageExpression": "1"}),),
    "message expression with a mistake": (_rules({"rule": "true", "messageExpression": "'a' +"}),),
    "blank message expression": (_rules({"rule": "true", "messageExpression": " "}),),
    "transition rule in a list": (_property({"type": "array", "items": {"type": "string", f"{X}validations": [{"rule": "self == oldSelf"}]}}),),
    "optional old self": (_rules({"rule": "!oldSelf.hasValue() || true", "optionalOldSelf": True}),),
    "optional old self without transition": (_rules({"rule": "true", "optionalOldSelf": True}),),
    "too dear": (
        _property({"type": "array", "items": {"type": "array", "items": {"type": "string", f"{X}validations": [{"rule": "self.contains('x')"}]}}}),
    ),
    "rules below anyOf": (_property({"type": "string", "anyOf": [{f"{X}validations": [{"rule": "true"}]}]}),),
    "no column name": (_column(name=""),),
    "no column type": (_column(type=""),),
    "unknown column type": (_column(type="text"),),
    "unknown column format": (_column(format="x"),),
    "no column path": (_column(jsonPath=""),),
    "bad column path": (_column(jsonPath="{.x}"),),
    "column path with a mistake": (_column(jsonPath=".spec["),),
    "scale without paths": (("spec.versions.0.subresources", {"scale": {}}),),
    "scale with paths elsewhere": (
        ("spec.versions.0.subresources", {"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ".spec.a", "labelSelectorPath": ".a"}}),
    ),
    "scale with lists": (("spec.versions.0.subresources", {"scale": {"specReplicasPath": ".spec.a[0]", "statusReplicasPath": ".status.a[*]"}}),),
    "status with fields": (("spec.versions.0.subresources", {"status": {"x": 1}}),),
    "selectable": (("spec.versions.0.selectableFields", [{"jsonPath": ".spec.text"}]),),
    "selectable twice": (("spec.versions.0.selectableFields", [{"jsonPath": ".spec.text"}] * 2),),
    "selectable unknown": (("spec.versions.0.selectableFields", [{"jsonPath": ".spec.nope"}]),),
    "selectable list": (("spec.versions.0.selectableFields", [{"jsonPath": ".spec.list"}]),),
    "selectable metadata": (("spec.versions.0.selectableFields", [{"jsonPath": ".metadata.name"}]),),
    "selectable nothing": (("spec.versions.0.selectableFields", [{"jsonPath": ""}]),),
    "selectable too many": (("spec.versions.0.selectableFields", [{"jsonPath": ".spec.text"}] * 9),),
    "conversion none": (("spec.conversion", {"strategy": "None"}),),
    "conversion unknown": (("spec.conversion", {"strategy": "Magic"}),),
    "conversion missing": (("spec.conversion", {}),),
    "webhook missing": (("spec.conversion", {"strategy": "Webhook"}),),
    "webhook without versions": (("spec.conversion", {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://example.com/x"}}}),),
    "webhook without client": (("spec.conversion", {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}}),),
    "webhook of unknown versions": (
        (
            "spec.conversion",
            {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v7"], "clientConfig": {"url": "https://example.com/x"}}},
        ),
    ),
    "webhook with both": (
        (
            "spec.conversion",
            {
                "strategy": "Webhook",
                "webhook": {
                    "conversionReviewVersions": ["v1"],
                    "clientConfig": {"url": "http://example.com/x?y", "service": {"name": "", "namespace": "", "port": 99999}},
                },
            },
        ),
    ),
    "webhook without strategy": (("spec.conversion", {"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),),
}


def changed(whole: Object, changes: tuple[Change, ...]) -> Object:
    made = copy.deepcopy(whole)
    for path, value in changes:
        *way, last = path.split(".")
        at: Any = made
        for step in way:
            at = at[int(step)] if isinstance(at, list) else at[step]
        if value is DROP:
            del at[last]
        else:
            at[int(last) if isinstance(at, list) else last] = value
    return made


def requests() -> Iterator[tuple[str, Request]]:
    for name, changes in CHANGES.items():
        yield name, ask("POST", DEFINED, changed(right(), changes), query=[("dryRun", "All")])
