"""What any object's metadata must keep to (apimachinery/pkg/api/validation/objectmeta.go)."""

from collections.abc import Sequence
from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, invalid_value, required, too_long

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
"""Finalizers that say what is to become of dependents."""
ANNOTATIONS_BYTES_MAX = 256 << 10


def faults(meta: Object, at: str) -> list[Cause]:
    """All of it but the name, of which kinds have rules of their own. `at`: the metadata's path."""
    causes = []
    for key, value in (meta.get("labels") or {}).items():
        causes += [invalid_value(f"{at}.labels", key, fault) for fault in names.qualified_name(key)]
        causes += [invalid_value(f"{at}.labels", value, fault) for fault in names.label_value(value)]
    annotations = meta.get("annotations") or {}
    for key in annotations:
        causes += [invalid_value(f"{at}.annotations", key, fault) for fault in names.qualified_name(key.lower())]
    if sum(len(key) + len(str(value)) for key, value in annotations.items()) > ANNOTATIONS_BYTES_MAX:
        causes.append(too_long(f"{at}.annotations", ANNOTATIONS_BYTES_MAX))
    return causes + _owner_faults(meta.get("ownerReferences") or (), f"{at}.ownerReferences") + _finalizer_faults(meta.get("finalizers") or (), at)


def _finalizer_faults(finalizers: Sequence[str], at: str) -> list[Cause]:
    causes = [invalid_value(f"{at}.finalizers", finalizer, fault) for finalizer in finalizers for fault in names.qualified_name(finalizer)]
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        causes.append(invalid_value(f"{at}.finalizers", list(finalizers), f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"))
    return causes


def _owner_faults(owners: Any, at: str) -> list[Cause]:
    causes = []
    for number, owner in enumerate(owners):
        causes += [required(f"{at}[{number}].{name}", "must not be empty") for name in ("apiVersion", "kind", "name", "uid") if not owner.get(name)]
        version = owner.get("apiVersion") or "v1"
        if version.count("/") > 1 or version.endswith("/"):
            causes.append(invalid_value(f"{at}[{number}].apiVersion", version, "must be <group>/<version> or <version>"))
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            causes.append(invalid_value(f"{at}[{number}]", owner, "/v1, Kind=Event is disallowed from being an owner"))
    controllers = [f"{owner.get('kind', '')}/{owner.get('name', '')}" for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        told = f'Only one reference can have Controller set to true. Found "true" in references for {controllers[0]} and {controllers[1]}'
        causes.append(invalid_value(at, list(owners), told))
    return causes
