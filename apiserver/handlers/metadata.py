"""The rules of metadata, the same for all kinds (apimachinery/pkg/api/validation/objectmeta.go, registry/rest/create.go). Pure: chance comes in."""

from collections.abc import Callable, Sequence
from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object, metadata
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError, Cause, bad_request, forbidden_value, invalid_value, required, too_long

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and nothing that looks like something else."""
GENERATED_BASE_MAX = 58
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
"""Finalizers that say what is to become of dependents."""
ELSEWHERE = ("apiextensions.k8s.io", "apiregistration.k8s.io")
"""Groups whose metadata upstream checks outside of pkg/apis/core/validation: their finalizers may be any qualified name."""
STANDARD_FINALIZERS = ("kubernetes", ORPHAN, FOREGROUND)
ANNOTATIONS_BYTES_MAX = 256 << 10
PATH_SEGMENT_GROUPS = ("rbac.authorization.k8s.io",)
PATH_SEGMENT_KINDS = ("IPAddress", "ComponentStatus", "PriorityLevelConfiguration", "FlowSchema")
LABEL_KINDS = ("Namespace",)
LABEL_1035_KINDS = ("Service",)


def name_faults(resource: Resource, name: str) -> list[str]:
    if resource.group in PATH_SEGMENT_GROUPS or resource.kind in PATH_SEGMENT_KINDS:
        return names.path_segment(name)
    if resource.kind in LABEL_KINDS and not resource.group:
        return names.dns1123_label(name)
    if resource.kind in LABEL_1035_KINDS and not resource.group:
        return names.dns1035_label(name)
    return names.dns1123_subdomain(name)


def prepare_create(obj: Object, resource: Resource, namespace: str, now: str, uid: str, suffix: Callable[[], str]) -> None:
    """What the server sets on everything new, in place. Raises ApiError (400) if body and path name different namespaces."""
    meta = metadata(obj)
    own = meta.get("namespace") or ""
    if resource.namespaced:
        if own and own != namespace:
            raise bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request: expected {namespace!r}, got {own!r}".replace(
                    "'", ""
                )
            )
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)
    if meta.get("resourceVersion"):
        raise ApiError("InternalError", "resourceVersion should not be set on objects to be created")
    for name in ("resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"):
        meta.pop(name, None)
    base = meta.get("generateName") or ""
    if base and not meta.get("name"):
        meta["name"] = base[:GENERATED_BASE_MAX] + suffix()
    meta["uid"] = uid
    meta["creationTimestamp"] = now


def kube_finalizer_faults(finalizer: str, path: str) -> list[Cause]:
    """Of built-in kinds: a name without a domain is one of Kubernetes' own."""
    if "/" in finalizer or finalizer in STANDARD_FINALIZERS:
        return []
    return [invalid_value(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified")]


def validate(obj: Object, resource: Resource, *, custom: bool = False) -> list[Cause]:
    meta = metadata(obj)
    causes = []
    if base := meta.get("generateName"):
        # What comes behind it is a letter or digit: a dash at its end is no fault.
        masked = f"{base[:-2]}a" if len(base) > 1 and base.endswith("-") else base
        causes += [invalid_value("metadata.generateName", base, fault) for fault in name_faults(resource, masked)]
    name = meta.get("name") or ""
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    else:
        causes += [invalid_value("metadata.name", name, fault) for fault in name_faults(resource, name)]
    for key, value in (meta.get("labels") or {}).items():
        causes += [invalid_value("metadata.labels", key, fault) for fault in names.qualified_name(key)]
        causes += [invalid_value("metadata.labels", value, fault) for fault in names.label_value(value)]
    annotations = meta.get("annotations") or {}
    for key in annotations:
        causes += [invalid_value("metadata.annotations", key, fault) for fault in names.qualified_name(key.lower())]
    if sum(len(key) + len(str(value)) for key, value in annotations.items()) > ANNOTATIONS_BYTES_MAX:
        causes.append(too_long("metadata.annotations", ANNOTATIONS_BYTES_MAX))
    finalizers = meta.get("finalizers") or ()
    causes += _owner_faults(meta.get("ownerReferences") or ()) + _finalizer_faults(finalizers)
    if not custom and resource.group not in ELSEWHERE:
        causes += [cause for at, each in enumerate(finalizers) for cause in kube_finalizer_faults(each, f"metadata.finalizers[{at}]")]
    return causes


def _finalizer_faults(finalizers: Sequence[str]) -> list[Cause]:
    at = "metadata.finalizers"
    causes = [invalid_value(at, finalizer, fault) for finalizer in finalizers for fault in names.qualified_name(finalizer)]
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        causes.append(invalid_value(at, list(finalizers), f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"))
    return causes


def _owner_faults(owners: Any) -> list[Cause]:
    at = "metadata.ownerReferences"
    causes = []
    for owner in owners:
        for field, told in (("apiVersion", "version must not be empty"), *((name, "must not be empty") for name in ("kind", "name", "uid"))):
            if not owner.get(field):
                causes.append(invalid_value(f"{at}.{field}", "", told))
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            causes.append(invalid_value(at, owner, "/v1, Kind=Event is disallowed from being an owner"))
    controllers = [f"{owner.get('kind', '')}/{owner.get('name', '')}" for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        told = f'Only one reference can have Controller set to true. Found "true" in references for {controllers[0]} and {controllers[1]}'
        causes.append(invalid_value(at, list(owners), told))
    return causes


IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def prepare_update(new: Object, old: Object) -> None:
    """What a client may leave out and may not change, in place."""
    meta, before = metadata(new), metadata(old)
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if name in before:
            # Left out or changed to nothing means "as it is"; a different value is told by validate_update.
            if not meta.get(name) or name != "uid":
                meta[name] = before[name]
        else:
            meta.pop(name, None)
    meta.pop("selfLink", None)
    if "generation" in before:
        meta["generation"] = before["generation"]
    else:
        meta.pop("generation", None)
    if "generateName" in before and "generateName" not in meta:
        meta["generateName"] = before["generateName"]
    if not meta.get("namespace") and before.get("namespace"):
        meta["namespace"] = before["namespace"]
    if not meta.get("name"):
        meta["name"] = before.get("name", "")


def validate_update(new: Object, old: Object) -> list[Cause]:
    meta, before = metadata(new), metadata(old)
    causes = [
        invalid_value(f"metadata.{name}", meta.get(name), "field is immutable")
        for name in IMMUTABLE
        if (meta.get(name) or None) != (before.get(name) or None)
    ]
    added = [each for each in meta.get("finalizers") or () if each not in (before.get("finalizers") or ())]
    if before.get("deletionTimestamp") and added:
        listed = ", ".join(f'"{each}"' for each in added)
        told = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
        causes.append(forbidden_value("metadata.finalizers", told))
    return causes
