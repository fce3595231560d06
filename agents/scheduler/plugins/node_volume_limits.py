"""NodeVolumeLimits: a CSI driver attaches only so many volumes to a node (CSINode allocatable)."""

from collections.abc import Iterator

from agents.scheduler.framework import SKIP, ClusterEvent, Code, CycleState, Plugin, Status, always
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot

REASON = "node(s) exceed max volume count"

Volume = tuple[str, str]
"""Driver and volume handle (or, of a volume that is yet to be made, its claim)."""


def csi_volumes(pod: PodInfo, snapshot: Snapshot) -> Iterator[Volume]:
    for claim, _ in pod.claims:
        found = snapshot.get("persistentvolumeclaims", pod.namespace, claim)
        spec = (found or {}).get("spec") or {}
        volume = snapshot.get("persistentvolumes", "", spec.get("volumeName") or "")
        if volume is not None:
            csi = (volume.get("spec") or {}).get("csi")
            if csi:
                yield csi["driver"], csi["volumeHandle"]
        elif found is not None:
            made_by = snapshot.get("storageclasses.storage.k8s.io", "", spec.get("storageClassName") or "")
            if made_by is not None:
                yield made_by["provisioner"], f"{pod.namespace}/{claim}"


class NodeVolumeLimits(Plugin):
    name = "NodeVolumeLimits"
    events = (
        (ClusterEvent("csinodes.storage.k8s.io", "*"), always),
        (ClusterEvent("pods", "delete"), always),
        (ClusterEvent("persistentvolumeclaims", "*"), always),
    )
    refusal = Status(Code.UNSCHEDULABLE, (REASON,), name)

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        volumes = set(csi_volumes(pod, snapshot)) if pod.claims else set()
        if not volumes:
            return SKIP
        state.values[self.name] = (snapshot, volumes)
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        snapshot, wanted = state.values[self.name]
        limits = _limits(snapshot, node.name)
        if not any(driver in limits for driver, _ in wanted):
            return None
        there = {volume for other in node.pods.values() for volume in csi_volumes(other, snapshot)}
        for driver in {driver for driver, _ in wanted - there}:
            if driver in limits and sum(1 for each in there | wanted if each[0] == driver) > limits[driver]:
                return self.refusal
        return None


def _limits(snapshot: Snapshot, node: str) -> dict[str, int]:
    drivers = ((snapshot.get("csinodes.storage.k8s.io", "", node) or {}).get("spec") or {}).get("drivers") or ()
    return {each["name"]: each["allocatable"]["count"] for each in drivers if (each.get("allocatable") or {}).get("count") is not None}
