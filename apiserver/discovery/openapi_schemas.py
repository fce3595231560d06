"""Definitions as OpenAPI documents show them: Kubernetes' own, brought back from the JSON Schema that the package made of them.

The package says `"type": ["string", "null"]` for optional fields, adds the one value that `kind` and `apiVersion` may have, and points into `$defs`;
the API server's documents do none of that (kube-openapi/pkg/spec3). `dialect` is where references point: `components/schemas` in OpenAPI 3,
`definitions` in Swagger 2.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from apiserver.machinery.objects import Object
from apiserver.machinery.schema import definitions

V3 = "components/schemas"
V2 = "definitions"

SPECIAL: dict[str, dict[str, Object]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {V3: {"oneOf": [{"type": "string"}, {"type": "number"}]}, V2: {"type": "string"}},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        V3: {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
        V2: {"type": "string", "format": "int-or-string"},
    },
}


def shown(raw: Any, dialect: str) -> Any:
    """One place of a schema and all below it."""
    if isinstance(raw, list):
        return [shown(each, dialect) for each in raw]
    if not isinstance(raw, dict):
        return raw
    made: Object = {}
    for key, value in raw.items():
        if key == "type" and isinstance(value, list):
            made[key] = value[0]
        elif key == "$ref" and isinstance(value, str):
            made[key] = f"#/{dialect}/{value.rsplit('/', 1)[-1]}"
        elif key == "properties":
            made[key] = {name: shown(_without_enum(name, each), dialect) for name, each in value.items()}
        elif key in ("items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"):
            made[key] = shown(value, dialect)
        else:
            made[key] = value
    if dialect == V3 and "$ref" in made and len(made) > 1:
        # OpenAPI 3.0 ignores what stands beside a reference.
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    return made


def _without_enum(name: str, raw: Any) -> Any:
    if name in ("apiVersion", "kind") and isinstance(raw, dict) and len(raw.get("enum", ())) == 1:
        return {key: value for key, value in raw.items() if key != "enum"}
    return raw


@cache
def definition(name: str, dialect: str) -> Object:
    raw = definitions()[name]
    if name in SPECIAL:
        return {**SPECIAL[name][dialect], **({"description": raw["description"]} if "description" in raw else {})}
    made: Object = shown(raw, dialect)
    return made


@cache
def _direct(name: str) -> frozenset[str]:
    found: set[str] = set()

    def walk(raw: Any) -> None:
        if isinstance(raw, dict):
            if isinstance(raw.get("$ref"), str):
                found.add(raw["$ref"].rsplit("/", 1)[-1])
            for value in raw.values():
                walk(value)
        elif isinstance(raw, list):
            for value in raw:
                walk(value)

    walk(definitions()[name])
    return frozenset(found)


def closure(names: Iterable[str], dialect: str) -> Object:
    """The definitions of these names and of all that they refer to, by name."""
    todo, found = list(names), set[str]()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _direct(name)
    return {name: definition(name, dialect) for name in sorted(found)}


@cache
def _by_kind() -> dict[tuple[str, str, str], str]:
    return {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, raw in definitions().items()
        for gvk in raw.get("x-kubernetes-group-version-kind", ())
    }


def name_of(group: str, version: str, kind: str) -> str:
    """The name of a kind's definition; empty if it has none (the options of exec and its like)."""
    return _by_kind().get((group, version, kind), "")
