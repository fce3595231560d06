"""What the API server does with the schema of every kind: one `Checker` per kind, for built-in kinds and custom resources alike.

    checker = check(resource("deployments.apps"))
    checker.decode(obj, validation="Strict", text=body)   # all of the next three, as a write needs it: warnings come back, faults are raised
    checker.prune(obj)      # paths of unknown fields, which are gone afterwards
    checker.types(obj)      # wrong types, which stop a decoder; a custom resource's own values are judged later (custom_values.py)
    checker.default(obj)    # Kubernetes' defaults
    checker.required(obj)   # required fields that are not there, after defaulting

Texts are those of Kubernetes' decoder (apimachinery/pkg/runtime/serializer/json, apiserver/pkg/endpoints/handlers/rest.go transformDecodeError).
"""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource
from apiserver.machinery.schema import Node, built_in, definition_name, definitions
from apiserver.machinery.status import ApiError, Cause, bad_request, shown
from apiserver.registry import duplicates, embedded, go_types
from apiserver.registry.go_types import Told
from apiserver.registry.shapes import DEPTH_MAX, Form, Shape, depth, faults, fill, missing, normalize
from apiserver.registry.sound import complete, sound

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
UNKNOWN_MAX = 100
"""How many unknown fields one answer names."""

Defaults = Callable[[Object], None]


@cache
def object_meta() -> Node:
    return Node(definitions()[OBJECT_META], definitions())


class Checker:
    """`custom`: the schema is a custom resource's, where null is a value, and of types its metadata's alone are looked at."""

    def __init__(self, kind: str, version: str, node: Node, *, custom: bool = False, defaults: Defaults | None = None, name: str = "") -> None:
        self.kind = kind
        self.version = version
        self.custom = custom
        self.shape = Shape(node, custom=custom, reference=name)
        self._meta = Shape(object_meta(), custom=False, reference=OBJECT_META) if custom else None
        self._defaults = defaults
        self._embeds = custom and embedded.has_any(node.raw)

    def decode(self, obj: Object, *, validation: str = "Strict", text: bytes | str | None = None, told: Told = go_types.told) -> list[str]:
        """Bring a client's object to its form; warnings for the client. `validation`: Strict, Warn or Ignore; `text`: the JSON that came, to find
        fields that stand in it twice. Raises ApiError (400)."""
        if depth(obj) > DEPTH_MAX:
            raise bad_request(f"the object is nested deeper than {DEPTH_MAX} levels")
        twice: list[str] = []
        if text is not None and validation != "Ignore" and not duplicates.none_for_sure(text, obj):
            twice = duplicates.fields(text)
        if not twice and not self._embeds and self._is_sound(obj):
            return []
        unknown = self.prune(obj)
        self.types(obj, told)
        if self.custom:
            prune_nulls(self.shape.node.raw, obj)
            unknown += self._embedded(obj)
        found = [f'duplicate field "{path}"' for path in twice] + [f'unknown field "{path}"' for path in unknown]
        if found and validation == "Strict":
            raise self.undecodable("strict decoding error: " + ", ".join(found[:UNKNOWN_MAX]))
        return found[:UNKNOWN_MAX] if validation == "Warn" else []

    def _is_sound(self, obj: Object) -> bool:
        if self._meta is None:
            return sound(self.shape, obj)
        rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
        return sound(self._meta, obj.get("metadata") or {}) and sound(self.shape, rest)

    def undecodable(self, why: str) -> ApiError:
        return bad_request(f'{self.kind} in version "{self.version}" cannot be handled as a {self.kind}: {why}')

    def prune(self, obj: Object) -> list[str]:
        """Take out what the schema does not know, and tell its paths; in built-in kinds also every null. In place."""
        unknown: list[str] = []
        if self._meta is None:
            normalize(self.shape, obj, "", unknown)
            return unknown
        kept: Object = {key: obj.pop(key) for key in ("apiVersion", "kind", "metadata") if key in obj}
        normalize(self.shape, obj, "", unknown)
        if isinstance(kept.get("metadata"), dict):
            normalize(self._meta, kept["metadata"], "metadata", unknown)
        rest = dict(obj)
        obj.clear()
        obj.update(kept)
        obj.update(rest)
        return unknown

    def types(self, obj: Object, told: Told = go_types.told) -> None:
        """Raises the 400 of a decoder for wrong types: anywhere in a built-in kind; in the metadata of a custom resource, whose other values are
        its strategy's to judge."""
        if self._meta is None:
            fault = next(faults(self.shape, obj), None)
            if fault is not None:
                raise self.undecodable(told(self.kind, fault))
        elif (why := self._undecodable_metadata(obj.get("metadata") or {})) is not None:
            raise self.undecodable(why)

    def _undecodable_metadata(self, metadata: Object) -> str | None:
        assert self._meta is not None
        fault = next(faults(self._meta, metadata), None)
        return go_types.told("ObjectMeta", fault) if fault is not None else None

    def _embedded(self, obj: Object) -> list[str]:
        """Unknown fields in the metadata of embedded objects, which are gone afterwards. Raises ApiError (400) for metadata that is none."""
        if not self._embeds:
            return []
        assert self._meta is not None
        unknown: list[str] = []
        for path, each in embedded.found(self.shape.node.raw, obj):
            given = each.get("metadata")
            if given is None:
                continue
            if not isinstance(given, dict):
                raise self.undecodable(f"{path}.metadata: Invalid value: {shown(given)}: must be an object")
            if (told := self._undecodable_metadata(given)) is not None:
                raise self.undecodable(f"{path}.metadata: Invalid value: {shown(dict(sorted(given.items())))}: {told}")
            normalize(self._meta, given, f"{path}.metadata", unknown)
        return unknown

    def required(self, obj: Object) -> list[Cause]:
        """Required fields of a built-in kind that are not there (not those of a status: `fill` gives them their zero value)."""
        if self.custom or complete(self.shape, obj):
            return []
        rest = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
        return [
            Cause("FieldValueRequired", "Required value", path)
            for path in missing(self.shape, rest)
            if path not in ("metadata", "status", "apiVersion", "kind")
        ]

    def default(self, obj: Object) -> None:
        """Kubernetes' defaults of a built-in kind, the schema's own `default`s of a custom resource. In place."""
        if self.custom:
            default_structural(self.shape, obj)
        elif self._defaults is not None:
            self._defaults(obj)
        if not self.custom and isinstance(obj.get("status"), dict) and (status := self.shape.field("status")) is not None:
            fill(status, obj["status"])

    def empty(self, field: str) -> Object | None:
        """What Go writes of a struct that nobody set: its required fields, zero. None if the kind has no such field."""
        shape = self.shape.field(field)
        if shape is None or shape.form is not Form.STRUCT:
            return None
        made: Object = {}
        fill(shape, made)
        return made


def prune_nulls(raw: dict[str, Any], value: Any) -> None:
    """Take out every null that may not be one and has no default to become (apiextensions structural/defaulting/prunenulls.go). In place."""
    if type(value) is dict:
        properties, extra = raw.get("properties") or {}, raw.get("additionalProperties")
        for name in list(value):
            below = properties.get(name, extra)
            if not isinstance(below, dict):
                continue
            if value[name] is None and not below.get("nullable") and "default" not in below:
                del value[name]
            elif type(value[name]) in (dict, list):
                prune_nulls(below, value[name])
    elif type(value) is list and isinstance(raw.get("items"), dict):
        for each in value:
            prune_nulls(raw["items"], each)


def default_structural(shape: Shape, value: Any) -> None:
    """Set the schema's `default`s, outside in, so that a default object's own fields get theirs (apiextensions structural/defaulting). In place."""
    if type(value) is dict:
        for name, raw in shape.known.items():
            if "default" not in raw:
                continue
            if name not in value or (value[name] is None and not raw.get("nullable")):
                value[name] = copy.deepcopy(raw["default"])
        for key, element in value.items():
            if type(element) in (dict, list) and (inner := shape.field(key)) is not None:
                default_structural(inner, element)
    elif type(value) is list and shape.form is Form.ARRAY and (inner := shape.each) is not None:
        for element in value:
            default_structural(inner, element)


@cache
def check(resource: Resource) -> Checker:
    """The checker of a built-in resource. Raises KeyError."""
    return check_kind(resource.group, resource.version, resource.kind)


@cache
def check_kind(group: str, version: str, kind: str) -> Checker:
    """The checker of a built-in kind, also of those that are no resource: Scale, Eviction, TokenRequest, DeleteOptions. Raises KeyError."""
    from apiserver.registry.defaults import defaults_of

    name = definition_name(group, version, kind)
    return Checker(kind, version, built_in(group, version, kind), defaults=defaults_of(group, version, kind), name=name)


def custom(kind: str, version: str, schema: dict[str, Any]) -> Checker:
    """The checker of a custom resource with this structural schema (openAPIV3Schema)."""
    return Checker(kind, version, Node(schema, {}), custom=True)
