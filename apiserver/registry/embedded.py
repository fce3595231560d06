"""`x-kubernetes-embedded-resource`: objects inside of a custom resource. Their metadata is decoded as any object's, and they must say what they are
(apiextensions-apiserver/pkg/apiserver/schema/objectmeta)."""

from collections.abc import Iterator
from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, invalid_value, required
from apiserver.registry import object_meta

EMBEDDED = "x-kubernetes-embedded-resource"


def has_any(raw: dict[str, Any]) -> bool:
    """Whether the schema embeds objects anywhere, so that others need not be searched."""
    below = [*(raw.get("properties") or {}).values(), raw.get("items"), raw.get("additionalProperties")]
    return bool(raw.get(EMBEDDED)) or any(has_any(each) for each in below if isinstance(each, dict))


def found(raw: dict[str, Any], value: Any, path: str = "") -> Iterator[tuple[str, Object]]:
    """Every embedded object with its path."""
    if isinstance(value, dict):
        if raw.get(EMBEDDED):
            yield path, value
        properties, extra = raw.get("properties") or {}, raw.get("additionalProperties")
        for name, each in value.items():
            if name in properties:
                yield from found(properties[name], each, f"{path}.{name}" if path else name)
            elif isinstance(extra, dict):
                yield from found(extra, each, f"{path}[{name}]")
    elif isinstance(value, list) and isinstance(raw.get("items"), dict):
        for index, each in enumerate(value):
            yield from found(raw["items"], each, f"{path}[{index}]")


def faults(raw: dict[str, Any], value: Any) -> Iterator[Cause]:
    for path, each in found(raw, value):
        for name in ("apiVersion", "kind"):
            if name not in each:
                yield required(f"{path}.{name}")
            elif not isinstance(each[name], str):
                yield invalid_value(f"{path}.{name}", each[name], "must be a string")
            elif not each[name]:
                yield invalid_value(f"{path}.{name}", "", "must not be empty")
            elif name == "apiVersion" and each[name].count("/") > 1:
                yield invalid_value(f"{path}.{name}", each[name], f"unexpected GroupVersion string: {each[name]}")
            elif name == "kind" and (wrong := names.dns1035_label(each[name].lower())):
                yield invalid_value(f"{path}.{name}", each[name], "may have mixed case, but should otherwise match: " + ",".join(wrong))
        if isinstance(each.get("metadata"), dict):
            meta, at = each["metadata"], f"{path}.metadata"
            if meta.get("name"):
                yield from (invalid_value(f"{at}.name", meta["name"], wrong) for wrong in names.path_segment(meta["name"]))
            yield from object_meta.faults(meta, at)
