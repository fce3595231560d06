"""The rules of metadata, the same for all kinds (apimachinery/pkg/api/validation/objectmeta.go, registry/rest/create.go). Pure: chance comes in."""

from collections.abc import Callable

from apiserver.machinery import names
from apiserver.machinery.objects import Object, metadata
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import Cause, bad_request, forbidden_value, invalid_value, required
from apiserver.registry import object_meta

ELSEWHERE = ("apiextensions.k8s.io", "apiregistration.k8s.io")
"""Groups whose metadata upstream checks outside of pkg/apis/core/validation: their finalizers may be any qualified name."""
STANDARD_FINALIZERS = ("kubernetes", object_meta.ORPHAN, object_meta.FOREGROUND)
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
    for name in ("resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"):
        meta.pop(name, None)
    base = meta.get("generateName") or ""
    if base and not meta.get("name"):
        meta["name"] = base[: names.GENERATED_BASE_MAX] + suffix()
    meta["uid"] = uid
    meta["creationTimestamp"] = now


def kube_finalizer_faults(finalizer: str, path: str) -> list[Cause]:
    """Of built-in kinds: a name without a domain is one of Kubernetes' own."""
    if "/" in finalizer or finalizer in STANDARD_FINALIZERS:
        return []
    return [invalid_value(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified")]


def validate(obj: Object, resource: Resource, *, custom: bool = False) -> list[Cause]:
    meta = metadata(obj)
    causes: list[Cause] = []
    if base := meta.get("generateName"):
        # What comes behind it is a letter or digit: a dash at its end is no fault.
        masked = f"{base[:-2]}a" if len(base) > 1 and base.endswith("-") else base
        causes += [invalid_value("metadata.generateName", base, fault) for fault in name_faults(resource, masked)]
    name = meta.get("name") or ""
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    else:
        causes += [invalid_value("metadata.name", name, fault) for fault in name_faults(resource, name)]
    causes += object_meta.faults(meta, "metadata")
    if not custom and resource.group not in ELSEWHERE:
        finalizers = meta.get("finalizers") or ()
        causes += [cause for at, each in enumerate(finalizers) for cause in kube_finalizer_faults(each, f"metadata.finalizers[{at}]")]
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
