"""Claims and volumes find each other (pkg/controller/volume/persistentvolume/pv_controller.go). Pure: what is there in, what to write out.

The bond has four ends: claimRef of the volume, volumeName of the claim, and the phase of each. They are written in this order, volume first: whoever
finds a bond half made completes it.
"""

from collections.abc import Iterable
from typing import Any

from agents.kit.actions import NORMAL, WARNING, Action, Event, Patch
from agents.kit.volumes import (
    BETA_STORAGE_PROVISIONER,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    CLAIMS,
    NO_PROVISIONER,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
    VOLUMES,
    WAIT,
    claim_ref,
    class_of,
    is_bound,
    refers_to,
    smallest,
)
from apiserver.client.rest import MERGE
from apiserver.machinery.objects import Object, annotations_of, name_of, namespace_of, resource_version_of, uid_of

WAITING = "waiting for first consumer to be created before binding"
NOTHING = "no persistent volumes available for this claim and no storage class is set"


def external_text(provisioner: str) -> str:
    return (
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume "
        "creation is delayed, please verify that the provisioner is running and correctly registered."
    )


def phase_of(obj: Object) -> str:
    return str((obj.get("status") or {}).get("phase") or "")


def claim_phase(claim: Object, phase: str) -> list[Action]:
    """Pending and Lost: nothing is there to be used."""
    if phase_of(claim) == phase:
        return []
    status: dict[str, Any] = {"phase": phase}
    if phase == "Lost":
        status |= {"accessModes": None, "capacity": None}
    return [Patch(CLAIMS, namespace_of(claim), name_of(claim), {"status": status}, MERGE, "status")]


def volume_phase(volume: Object, phase: str, message: str = "") -> list[Action]:
    if phase_of(volume) == phase and ((volume.get("status") or {}).get("message") or "") == message:
        return []
    return [Patch(VOLUMES, "", name_of(volume), {"status": {"phase": phase, "message": message or None}}, MERGE, "status")]


def bind(volume: Object, claim: Object) -> list[Action]:
    """What is missing of the bond of these two."""
    actions: list[Action] = []
    ref = (volume.get("spec") or {}).get("claimRef") or {}
    if ref.get("uid") != uid_of(claim):
        metadata: Object = {"resourceVersion": resource_version_of(volume)}
        if not ref:
            metadata["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
        actions.append(Patch(VOLUMES, "", name_of(volume), {"metadata": metadata, "spec": {"claimRef": claim_ref(claim)}}))
    actions += volume_phase(volume, "Bound")
    spec = claim.get("spec") or {}
    if spec.get("volumeName") != name_of(volume) or BIND_COMPLETED not in annotations_of(claim):
        annotations = {BIND_COMPLETED: "yes"} | ({} if spec.get("volumeName") else {BOUND_BY_CONTROLLER: "yes"})
        patch = {"metadata": {"uid": uid_of(claim), "annotations": annotations}, "spec": {"volumeName": name_of(volume)}}
        actions.append(Patch(CLAIMS, namespace_of(claim), name_of(claim), patch))
    has = volume.get("spec") or {}
    status = {"phase": "Bound", "accessModes": has.get("accessModes"), "capacity": has.get("capacity")}
    now = claim.get("status") or {}
    if any(now.get(field) != value for field, value in status.items()):
        actions.append(Patch(CLAIMS, namespace_of(claim), name_of(claim), {"status": status}, MERGE, "status"))
    return actions


def sync_claim(claim: Object, volumes: Iterable[Object], volume: Object | None, class_: Object | None) -> list[Action]:
    """`volume` is the one that the claim names; `class_` its storage class."""
    if is_bound(claim):
        return _bound_claim(claim, volume)
    if (claim.get("spec") or {}).get("volumeName"):
        return _named_volume(claim, volume)
    return _unbound_claim(claim, volumes, class_)


def _bound_claim(claim: Object, volume: Object | None) -> list[Action]:
    if volume is None:
        lost = Event(claim, WARNING, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
        return [*claim_phase(claim, "Lost"), *([] if phase_of(claim) == "Lost" else [lost])]
    if not (volume.get("spec") or {}).get("claimRef") or refers_to(volume, claim):
        return bind(volume, claim)
    told = "Two claims are bound to the same volume, this one is bound incorrectly"
    return [*claim_phase(claim, "Lost"), *([] if phase_of(claim) == "Lost" else [Event(claim, WARNING, "ClaimMisbound", told)])]


def _named_volume(claim: Object, volume: Object | None) -> list[Action]:
    """The user asked for this volume and no other."""
    if volume is not None and (not (volume.get("spec") or {}).get("claimRef") or refers_to(volume, claim)):
        return bind(volume, claim)
    actions = claim_phase(claim, "Pending")
    if volume is not None:
        told = f'volume "{name_of(volume)}" already bound to a different claim.'
        actions.append(Event(claim, WARNING, "FailedBinding", told))
    return actions


def _unbound_claim(claim: Object, volumes: Iterable[Object], class_: Object | None) -> list[Action]:
    listed = list(volumes)
    meant = next((each for each in listed if (each.get("spec") or {}).get("claimRef") and refers_to(each, claim)), None)
    waits = class_ is not None and class_.get("volumeBindingMode") == WAIT
    found = meant or (None if waits else smallest(listed, claim))
    if found is not None:
        return bind(found, claim)
    actions = claim_phase(claim, "Pending")
    annotations = annotations_of(claim)
    if waits and SELECTED_NODE not in annotations:
        return [*actions, Event(claim, NORMAL, "WaitForFirstConsumer", WAITING)]
    provisioner = (class_ or {}).get("provisioner") or ""
    if provisioner and provisioner != NO_PROVISIONER:
        if annotations.get(STORAGE_PROVISIONER) != provisioner:
            wanted = {STORAGE_PROVISIONER: provisioner, BETA_STORAGE_PROVISIONER: provisioner}
            actions.append(Patch(CLAIMS, namespace_of(claim), name_of(claim), {"metadata": {"annotations": wanted}}))
        return [*actions, Event(claim, NORMAL, "ExternalProvisioning", external_text(provisioner))]
    if class_of(claim) and class_ is None:
        told = f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
        return [*actions, Event(claim, WARNING, "ProvisioningFailed", told)]
    return [*actions, Event(claim, NORMAL, "FailedBinding", NOTHING)]


def sync_volume(volume: Object, claim: Object | None, in_api: bool) -> list[Action]:
    """`claim` is the one of the name in claimRef; `in_api` False: asked for at the server, and not there."""
    ref = (volume.get("spec") or {}).get("claimRef")
    if not ref or not ref.get("uid"):
        # Free, or kept for a claim that has not come yet.
        return volume_phase(volume, "Available")
    if claim is not None and uid_of(claim) == ref["uid"]:
        if (claim.get("spec") or {}).get("volumeName") == name_of(volume):
            return volume_phase(volume, "Bound")
        if not (claim.get("spec") or {}).get("volumeName"):
            return []  # The claim's own turn completes the bond.
        if annotations_of(volume).get(BOUND_BY_CONTROLLER):
            # We chose it for the claim, which took another: it is free again.
            patch = {"metadata": {"annotations": {BOUND_BY_CONTROLLER: None}}, "spec": {"claimRef": None}}
            return [Patch(VOLUMES, "", name_of(volume), patch)]
        return []
    if claim is None and in_api:
        return []
    if phase_of(volume) in ("Released", "Failed"):
        return []
    return volume_phase(volume, "Released")
