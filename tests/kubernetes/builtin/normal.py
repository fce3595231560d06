"""Answers as plain values that two servers can be compared by: what is chance or clock is taken out, and fields that the older one does not know."""

import re
from typing import Any

UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
GENERATED = re.compile(r"\b(kube-api-access-)[a-z0-9]{5}\b")
ADDRESS = re.compile(r"\b10\.0\.\d+\.\d+\b")
DROPPED = {"resourceVersion", "selfLink", "managedFields"}


class Schema:
    """Fields by kind, out of a server's own Swagger document."""

    def __init__(self, document: Any) -> None:
        self.definitions = document.get("definitions", {})
        self.kinds = {
            (f"{kind['group']}/{kind['version']}".lstrip("/"), kind["kind"]): name
            for name, definition in self.definitions.items()
            for kind in definition.get("x-kubernetes-group-version-kind", ())
        }

    def prune(self, value: Any, definition: Any) -> Any:
        """`value` without what `definition` does not know."""
        if "$ref" in definition:
            definition = self.definitions[definition["$ref"].rpartition("/")[2]]
        if isinstance(value, list) and "items" in definition:
            return [self.prune(item, definition["items"]) for item in value]
        if not isinstance(value, dict):
            return value
        if "properties" in definition:
            return {key: self.prune(item, definition["properties"][key]) for key, item in value.items() if key in definition["properties"]}
        if isinstance(definition.get("additionalProperties"), dict):
            return {key: self.prune(item, definition["additionalProperties"]) for key, item in value.items()}
        return value


RENAMED = (("policy/v1", "", 21, "policy/v1beta1"), ("batch/v1", "CronJob", 21, "batch/v1beta1"))
"""Version and kind of today, since which minor, and what it was before."""


def older_version(minor: int, api_version: str, kind: str) -> str:
    """Under which version Kubernetes 1.`minor` has a kind of today."""
    for version, of, since, before in RENAMED:
        if version == api_version and of in kind and minor < since:
            return before
    return api_version


def plain(value: Any, schema: Schema, minor: int, *, newer: bool) -> Any:
    if isinstance(value, dict) and "kind" in value and value["kind"] != "Status":
        if newer:
            value = {**value, "apiVersion": older_version(minor, str(value.get("apiVersion")), str(value["kind"]))}
        name = schema.kinds.get((str(value.get("apiVersion")), str(value["kind"])))
        if name is not None:
            value = schema.prune(value, schema.definitions[name])
    return _settled(value)


def _settled(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        if "generateName" in value and "name" in value and str(value["name"]).startswith(value["generateName"]):
            value = {**value, "name": f"{value['generateName']}<{len(value['name']) - len(value['generateName'])}>"}
        kept = {name: _settled(item, name) for name, item in value.items() if name not in DROPPED}
        if kept.get("details") == {}:
            del kept["details"]
        if isinstance(kept.get("causes"), list):
            # Go walks a map in any order, and so tells its faults.
            kept["causes"].sort(key=str)
        return kept
    if isinstance(value, list):
        if key == "items":
            # Upstream leaves out what all items of a list have in common.
            value = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} if isinstance(item, dict) else item for item in value]
        return [_settled(item) for item in value]
    if key in ("nodePort", "healthCheckNodePort") and isinstance(value, int) and value:
        return "<port>"
    if isinstance(value, str):
        return GENERATED.sub(r"\1<5>", ADDRESS.sub("<ip>", TIME.sub("<time>", UID.sub("<uid>", value))))
    return value
