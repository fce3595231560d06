"""VolumeRestrictions: disks that can be attached once, and claims that one pod alone may use (ReadWriteOncePod)."""

from collections.abc import Mapping
from typing import Any

from agents.scheduler.framework import SKIP, ClusterEvent, Code, CycleState, Plugin, Status, always
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot

REASON_DISK = "node(s) had no available disk"
REASON_ONE_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"

Disk = tuple[str, str, bool]
"""Kind, what names it, whether it is mounted read-only."""


def disks_of(pod: PodInfo) -> list[Disk]:
    found: list[Disk] = []
    for volume in (pod.pod.get("spec") or {}).get("volumes") or ():
        for kind, name in (("gcePersistentDisk", "pdName"), ("awsElasticBlockStore", "volumeID"), ("iscsi", "iqn")):
            if volume.get(kind):
                # EBS volumes cannot be shared at all.
                found.append((kind, volume[kind][name], bool(volume[kind].get("readOnly")) and kind != "awsElasticBlockStore"))
        if volume.get("rbd"):
            found += _rbd(volume["rbd"])
    return found


def _rbd(rbd: Mapping[str, Any]) -> list[Disk]:
    names = [f"{monitor}/{rbd.get('pool') or 'rbd'}/{rbd['image']}" for monitor in rbd.get("monitors") or ()]
    return [("rbd", name, bool(rbd.get("readOnly"))) for name in names]


def conflict(ours: list[Disk], theirs: list[Disk]) -> bool:
    """The same disk twice, unless both only read."""
    return any(a[:2] == b[:2] and not (a[2] and b[2]) for a in ours for b in theirs)


class OnePod:
    """How many other pods use the pod's ReadWriteOncePod claims."""

    __slots__ = ("claims", "disks", "users")

    def __init__(self, claims: frozenset[str], users: int, disks: list[Disk]) -> None:
        self.claims = claims
        self.users = users
        self.disks = disks

    def clone(self) -> "OnePod":
        return OnePod(self.claims, self.users, self.disks)


class VolumeRestrictions(Plugin):
    name = "VolumeRestrictions"
    events = (
        (ClusterEvent("pods", "delete"), always),
        (ClusterEvent("nodes", "add"), always),
        (ClusterEvent("persistentvolumeclaims", "*"), always),
    )
    refusal_disk = Status(Code.UNSCHEDULABLE, (REASON_DISK,), name)
    refusal_one_pod = Status(Code.UNSCHEDULABLE, (REASON_ONE_POD,), name)

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        single = set()
        for claim, _ in pod.claims:
            found = snapshot.get("persistentvolumeclaims", pod.namespace, claim)
            if found is not None and "ReadWriteOncePod" in ((found.get("spec") or {}).get("accessModes") or ()):
                single.add(claim)
        disks = disks_of(pod)
        if not single and not disks:
            return SKIP
        users = sum(len(snapshot.claim_users.get(f"{pod.namespace}/{claim}", set()) - {pod.uid}) for claim in single)
        state.values[self.name] = OnePod(frozenset(single), users, disks)
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        known: OnePod = state.values[self.name]
        if known.disks and any(conflict(known.disks, disks_of(other)) for other in node.pods.values()):
            return self.refusal_disk
        return self.refusal_one_pod if known.users else None

    def pod_added(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> None:
        self._shift(state, pod, other, 1)

    def pod_removed(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> None:
        self._shift(state, pod, other, -1)

    def _shift(self, state: CycleState, pod: PodInfo, other: PodInfo, by: int) -> None:
        known: OnePod | None = state.values.get(self.name)
        if known is not None and other.namespace == pod.namespace:
            known.users += by * sum(1 for claim, _ in other.claims if claim in known.claims)
