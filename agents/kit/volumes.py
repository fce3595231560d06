"""Which volume can serve which claim, and how each names the other: one rule for the scheduler and for the volume controllers
(component-helpers/storage/volume). Pure."""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from agents.kit.selection import matches
from apiserver.machinery import quantity
from apiserver.machinery.objects import Object, annotations_of, is_terminating, labels_of, name_of, namespace_of, resource_version_of, uid_of
from apiserver.machinery.resources import resource

CLAIMS, VOLUMES, CLASSES = resource("persistentvolumeclaims"), resource("persistentvolumes"), resource("storageclasses.storage.k8s.io")

SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""On a claim, by the scheduler: where its volume has to be made."""
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_STORAGE_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
WAIT = "WaitForFirstConsumer"


def is_bound(claim: Object) -> bool:
    return bool((claim.get("spec") or {}).get("volumeName")) and BIND_COMPLETED in annotations_of(claim)


def class_of(obj: Object) -> str:
    """Of a claim or of a volume; empty for none."""
    return str((obj.get("spec") or {}).get("storageClassName") or "")


@lru_cache(4096)
def _bytes(text: str) -> int:
    return quantity.parse(text).value


def storage_bytes(raw: Mapping[str, Any] | None) -> int:
    text = (raw or {}).get("storage")
    return 0 if text is None else _bytes(str(text))


def requested_bytes(claim: Object) -> int:
    return storage_bytes(((claim.get("spec") or {}).get("resources") or {}).get("requests"))


def capacity_bytes(volume: Object) -> int:
    return storage_bytes((volume.get("spec") or {}).get("capacity"))


def claim_ref(claim: Object) -> Object:
    return {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "namespace": namespace_of(claim),
        "name": name_of(claim),
        "uid": uid_of(claim),
        "resourceVersion": resource_version_of(claim),
    }


def refers_to(volume: Object, claim: Object) -> bool:
    """The volume is meant for the claim, whether or not it knows the claim's uid yet."""
    ref = (volume.get("spec") or {}).get("claimRef") or {}
    if (ref.get("namespace"), ref.get("name")) != (namespace_of(claim), name_of(claim)):
        return False
    return not ref.get("uid") or ref["uid"] == uid_of(claim)


def fits(volume: Object, claim: Object) -> bool:
    """Whether the volume could serve the claim, wherever it lies."""
    spec, wanted = volume.get("spec") or {}, claim.get("spec") or {}
    if (spec.get("volumeMode") or "Filesystem") != (wanted.get("volumeMode") or "Filesystem"):
        return False
    if is_terminating(volume) or capacity_bytes(volume) < requested_bytes(claim):
        return False
    if spec.get("claimRef"):
        return refers_to(volume, claim)
    if ((volume.get("status") or {}).get("phase") or "Available") not in ("Available", "Pending"):
        return False
    if wanted.get("selector") and not matches(wanted["selector"], labels_of(volume)):
        return False
    return class_of(volume) == class_of(claim) and set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ())


def smallest(volumes: Iterable[Object], claim: Object, taken: Collection[str] = ()) -> Object | None:
    """The volume meant for the claim, or else the smallest that fits; none of those in `taken`."""
    best: Object | None = None
    for volume in volumes:
        if name_of(volume) in taken or not fits(volume, claim):
            continue
        if (volume.get("spec") or {}).get("claimRef"):
            return volume
        if best is None or capacity_bytes(volume) < capacity_bytes(best):
            best = volume
    return best
