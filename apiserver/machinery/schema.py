"""Schemas as patches and validation walk them: Kubernetes' OpenAPI definitions with their `x-kubernetes-` extensions, and custom resources' own.

`built_in` reads the definitions out of kubernetes-validate, which holds them whole. `Node` is one place in a schema; nodes are made as they are first
walked and kept, so that a walk costs a dict lookup a step.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

VERSION = "v1.37.0"
"""The release of Kubernetes whose API this is."""


OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class Node:
    """One place in a schema. `raw` is the definition as it stands there, `$ref` resolved."""

    __slots__ = ("_children", "_definitions", "_element", "raw")

    def __init__(self, raw: dict[str, Any], definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self.raw = self._resolved(raw)
        self._children: dict[str, Node | None] = {}
        self._element: Node | None = None

    def _resolved(self, raw: dict[str, Any]) -> dict[str, Any]:
        reference = raw.get("$ref")
        if raw.get("x-kubernetes-embedded-resource") and OBJECT_META in self._definitions:
            # Whatever a definition says of it, an object has these.
            own = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"$ref": f"#/definitions/{OBJECT_META}"}}
            return {**raw, "properties": {**(raw.get("properties") or {}), **own}}
        if reference is None:
            return raw
        target = self._definitions[reference.rsplit("/", 1)[-1]]
        # What stands beside a reference belongs to the place, not to the type: patch strategies and merge keys among it.
        return {**target, **{key: value for key, value in raw.items() if key != "$ref"}}

    @property
    def type(self) -> str:
        """object, array, string, integer, number, boolean; empty if the schema does not say."""
        found = self.raw.get("type", "")
        if isinstance(found, list):
            return next((each for each in found if each != "null"), "")
        return str(found)

    def field(self, name: str) -> "Node | None":
        """The schema of a field, or of a map's value; None if there is no such field."""
        if name not in self._children:
            raw = (self.raw.get("properties") or {}).get(name)
            if raw is None:
                raw = self.raw.get("additionalProperties")
                raw = {} if raw is True else raw or None
            self._children[name] = None if raw is None else Node(raw, self._definitions)
        return self._children[name]

    @property
    def additional(self) -> "Node | None":
        """The schema of a map's values: of every field that `properties` does not name."""
        raw = self.raw.get("additionalProperties")
        return Node(raw, self._definitions) if isinstance(raw, dict) else None

    @property
    def element(self) -> "Node | None":
        """The schema of an array's elements."""
        if self._element is None and isinstance(self.raw.get("items"), dict):
            self._element = Node(self.raw["items"], self._definitions)
        return self._element

    @property
    def list_type(self) -> str:
        """atomic, set or map; atomic where nothing is said (SIG API machinery, "merge strategy")."""
        return str(self.raw.get("x-kubernetes-list-type", "atomic"))

    @property
    def list_map_keys(self) -> tuple[str, ...]:
        return tuple(self.raw.get("x-kubernetes-list-map-keys", ()))

    @property
    def map_type(self) -> str:
        """granular or atomic."""
        return str(self.raw.get("x-kubernetes-map-type", "granular"))

    @property
    def patch_strategies(self) -> tuple[str, ...]:
        """merge, replace, retainKeys: what strategic merge patch does here."""
        return tuple(each for each in str(self.raw.get("x-kubernetes-patch-strategy", "")).split(",") if each)

    @property
    def patch_merge_key(self) -> str:
        return str(self.raw.get("x-kubernetes-patch-merge-key", ""))

    @property
    def preserves_unknown_fields(self) -> bool:
        return bool(self.raw.get("x-kubernetes-preserve-unknown-fields"))


@cache
def definitions() -> dict[str, Any]:
    """All built-in definitions by their full name (io.k8s.api.apps.v1.Deployment)."""
    # Found, not imported: the package would bring a validator of its own along, which costs a sixth of a second.
    spec = find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("kubernetes-validate, which holds the schemas of all built-in kinds, is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema" / f"{VERSION}-local"
    found: dict[str, Any] = msgspec.json.decode((folder / "_definitions.json").read_bytes())["$defs"]
    return found


@cache
def _names() -> dict[tuple[str, str, str], str]:
    return {
        (each["group"], each["version"], each["kind"]): name
        for name, definition in definitions().items()
        for each in definition.get("x-kubernetes-group-version-kind", ())
    }


def definition_name(group: str, version: str, kind: str) -> str:
    """`io.k8s.api.apps.v1.Deployment`. Raises KeyError."""
    return _names()[group, version, kind]


@cache
def built_in(group: str, version: str, kind: str) -> Node:
    """The schema of a built-in kind. Raises KeyError."""
    return Node(definitions()[_names()[group, version, kind]], definitions())
