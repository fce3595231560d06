"""VolumeBinding: claims are bound where the pod can use them (volumebinding/volume_binding.go, binder.go).

Bound claims: their volume must be usable on the node. Unbound ones of a class with WaitForFirstConsumer: the node must have a volume that fits, or
the class must be able to make one there; the choice is written to the API (claimRef of the volume, selected-node of the claim) before the pod is
bound, and the pod waits until the volume controller has bound them. Unbound ones of other classes: the pod waits for the volume controller.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from agents.kit.volumes import (
    BOUND_BY_CONTROLLER,
    NO_PROVISIONER,
    SELECTED_NODE,
    WAIT,
    claim_ref,
    class_of,
    is_bound,
    requested_bytes,
    smallest,
    storage_bytes,
)
from agents.scheduler.framework import SKIP, ClusterEvent, Code, CycleState, Hands, Plugin, Status, always, node_changed
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot
from agents.scheduler.terms import label_matcher, node_term, requirement_holds
from apiserver.machinery.objects import Object, annotations_of, name_of, namespace_of

REASON_BIND = "node(s) didn't find available persistent volumes to bind"
REASON_NODE = "node(s) didn't match PersistentVolume's node affinity"
REASON_SPACE = "node(s) did not have enough free storage"
REASON_GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
REASON_IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"

BIND_TIMEOUT_S = 600.0

CLAIMS, VOLUMES, CLASSES = "persistentvolumeclaims", "persistentvolumes", "storageclasses.storage.k8s.io"


class Choice(Struct, frozen=True):
    """What is to be written if the pod goes to a node: volumes for claims, and claims whose volume is to be made there."""

    static: tuple[tuple[Object, Object], ...]
    """Volume and claim."""
    dynamic: tuple[Object, ...]


class Claims(Struct):
    bound: list[Object]
    to_bind: list[Object]
    snapshot: Snapshot
    choices: dict[str, Choice]
    """By node, as Filter found them."""
    assumed: list[tuple[str, Object, Object]] = []
    """Resource, the object as it was, and as it is assumed to be."""


def usable_on(volume: Object, labels: Mapping[str, str], node: str) -> bool:
    """The volume's required node affinity."""
    required = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
    if required is None:
        return True
    return any(node_term(each).matches(labels, node) for each in required.get("nodeSelectorTerms") or ())


class VolumeBinding(Plugin):
    name = "VolumeBinding"
    events = tuple(
        (ClusterEvent(resource, "*"), node_changed if resource == "nodes" else always)
        for resource in (VOLUMES, CLAIMS, CLASSES, "nodes", "csinodes.storage.k8s.io", "csistoragecapacities.storage.k8s.io")
    )

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        self.bind_timeout_s = float((args or {}).get("bindTimeoutSeconds") or BIND_TIMEOUT_S)

    # --- finding ------------------------------------------------------------------------------------------------------

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        if not pod.claims:
            return SKIP
        known = Claims([], [], snapshot, {})
        immediate = False
        for name, ephemeral in pod.claims:
            claim = snapshot.get(CLAIMS, pod.namespace, name)
            problem = _unusable(claim, name, ephemeral, pod)
            if problem:
                return Status(Code.UNRESOLVABLE, (problem,), self.name)
            assert claim is not None
            if is_bound(claim):
                known.bound.append(claim)
            elif self._waits(claim, snapshot) and not (claim.get("spec") or {}).get("volumeName"):
                known.to_bind.append(claim)
            else:
                immediate = True
        if immediate:
            return Status(Code.UNRESOLVABLE, (REASON_IMMEDIATE,), self.name)
        state.values[self.name] = known
        return None

    def _waits(self, claim: Object, snapshot: Snapshot) -> bool:
        found = snapshot.get(CLASSES, "", class_of(claim))
        return found is not None and found.get("volumeBindingMode") == WAIT

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        known: Claims = state.values[self.name]
        reasons: list[str] = []
        for claim in known.bound:
            volume = known.snapshot.get(VOLUMES, "", claim["spec"]["volumeName"])
            reason = REASON_GONE if volume is None else "" if usable_on(volume, node.labels, node.name) else REASON_NODE
            if reason and reason not in reasons:
                reasons.append(reason)
        if known.to_bind:
            choice, reason = self._choose(known, node)
            if reason:
                reasons.append(reason)
            else:
                known.choices[node.name] = choice
        return Status(Code.UNRESOLVABLE, tuple(reasons), self.name) if reasons else None

    def _choose(self, known: Claims, node: NodeInfo) -> tuple[Choice, str]:
        nothing = Choice((), ())
        static: list[tuple[Object, Object]] = []
        dynamic: list[Object] = []
        # The largest wish first would need more volumes than the smallest: upstream sorts by size as well.
        for claim in sorted(known.to_bind, key=requested_bytes):
            selected = annotations_of(claim).get(SELECTED_NODE)
            if selected is not None:
                if selected != node.name:
                    return nothing, REASON_BIND
                dynamic.append(claim)
                continue
            volume = self._smallest(known.snapshot, claim, node, {name_of(taken) for taken, _ in static})
            if volume is not None:
                static.append((volume, claim))
            else:
                dynamic.append(claim)
        for claim in dynamic:
            reason = self._cannot_make(known.snapshot, claim, node)
            if reason:
                return nothing, reason
        return Choice(tuple(static), tuple(dynamic)), ""

    def _smallest(self, snapshot: Snapshot, claim: Object, node: NodeInfo, taken: set[str]) -> Object | None:
        """A volume meant for the claim, or else the smallest that fits."""
        there = (each for each in snapshot.listed[VOLUMES].values() if usable_on(each, node.labels, node.name))
        return smallest(there, claim, taken)

    def _cannot_make(self, snapshot: Snapshot, claim: Object, node: NodeInfo) -> str:
        found = snapshot.get(CLASSES, "", class_of(claim))
        if found is None or found.get("provisioner") in (None, "", NO_PROVISIONER):
            return REASON_BIND
        if not _allowed(found.get("allowedTopologies") or (), node.labels):
            return REASON_BIND
        driver = snapshot.get("csidrivers.storage.k8s.io", "", found["provisioner"])
        if driver is not None and (driver.get("spec") or {}).get("storageCapacity") and not self._space(snapshot, claim, node):
            return REASON_SPACE
        return ""

    def _space(self, snapshot: Snapshot, claim: Object, node: NodeInfo) -> bool:
        wanted = requested_bytes(claim)
        for capacity in snapshot.listed["csistoragecapacities.storage.k8s.io"].values():
            size = capacity.get("maximumVolumeSize") or capacity.get("capacity")
            if capacity.get("storageClassName") == class_of(claim) and size is not None and storage_bytes({"storage": size}) >= wanted:
                topology = capacity.get("nodeTopology")
                if topology is not None and label_matcher(topology)(node.labels):
                    return True
        return False

    # --- taking -------------------------------------------------------------------------------------------------------

    def reserve(self, state: CycleState, pod: PodInfo, node: str, snapshot: Snapshot) -> Status | None:
        known: Claims | None = state.values.get(self.name)
        choice = None if known is None else known.choices.get(node)
        if known is None or choice is None:
            return None
        for volume, claim in choice.static:
            assumed = {**volume, "spec": {**volume["spec"], "claimRef": claim_ref(claim)}}
            known.assumed.append((VOLUMES, volume, assumed))
        for claim in choice.dynamic:
            metadata = {**claim["metadata"], "annotations": {**annotations_of(claim), SELECTED_NODE: node}}
            known.assumed.append((CLAIMS, claim, {**claim, "metadata": metadata}))
        for resource, _, assumed in known.assumed:
            snapshot.set_object(resource, assumed)
        return None

    def unreserve(self, state: CycleState, pod: PodInfo, node: str, snapshot: Snapshot) -> None:
        known: Claims | None = state.values.get(self.name)
        if known is not None:
            for resource, before, assumed in known.assumed:
                snapshot.restore(resource, before, assumed)
            known.assumed.clear()

    async def pre_bind(self, state: CycleState, pod: PodInfo, node: str, hands: Hands) -> Status | None:
        known: Claims | None = state.values.get(self.name)
        choice = None if known is None else known.choices.get(node)
        if known is None or choice is None:
            return None
        for volume, claim in choice.static:
            await hands.patch(
                VOLUMES,
                "",
                name_of(volume),
                {
                    "metadata": {"resourceVersion": volume["metadata"].get("resourceVersion"), "annotations": {BOUND_BY_CONTROLLER: "yes"}},
                    "spec": {"claimRef": claim_ref(claim)},
                },
            )
        for claim in choice.dynamic:
            if annotations_of(claim).get(SELECTED_NODE) != node:
                annotations = {"metadata": {"annotations": {SELECTED_NODE: node}}}
                await hands.patch(CLAIMS, namespace_of(claim), name_of(claim), annotations)
        names = [name_of(claim) for claim in known.to_bind]

        def settled() -> bool | None:
            claims = [known.snapshot.get(CLAIMS, pod.namespace, name) for name in names]
            if any(claim is None for claim in claims):
                return False
            if any(claim is not None and _given_up(claim, node) for claim in claims):
                return False
            return True if all(claim is not None and is_bound(claim) for claim in claims) else None

        if await hands.wait_until(settled, self.bind_timeout_s):
            return None
        return Status(Code.UNSCHEDULABLE, ("binding volumes: the claims were not bound",), self.name)


def _given_up(claim: Object, node: str) -> bool:
    """The provisioner cannot make the volume there: it has taken the selected node away."""
    return not is_bound(claim) and annotations_of(claim).get(SELECTED_NODE, node) != node


def _unusable(claim: Object | None, name: str, ephemeral: bool, pod: PodInfo) -> str:
    if claim is None:
        if ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return f'persistentvolumeclaim "{name}" not found'
    metadata = claim.get("metadata") or {}
    if (claim.get("status") or {}).get("phase") == "Lost":
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{(claim.get("spec") or {}).get("volumeName")}"'
    if metadata.get("deletionTimestamp"):
        return f'persistentvolumeclaim "{name}" is being deleted'
    if ephemeral and not any(owner.get("controller") and owner.get("uid") == pod.uid for owner in metadata.get("ownerReferences") or ()):
        return f'PVC "{pod.namespace}/{name}" was not created for pod "{pod.key}" (pod is not owner)'
    return ""


def _allowed(terms: Any, labels: Mapping[str, str]) -> bool:
    """allowedTopologies of a class: one of the terms holds; none at all allow everything."""
    if not terms:
        return True
    return any(
        all(requirement_holds(labels, each["key"], "In", each.get("values") or ()) for each in term.get("matchLabelExpressions") or ())
        for term in terms
    )
