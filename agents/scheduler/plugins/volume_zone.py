"""VolumeZone: a volume with zone labels is used in its zone."""

from agents.scheduler.framework import SKIP, ClusterEvent, Code, CycleState, Plugin, Status, always, node_changed
from agents.scheduler.nodeinfo import REGION, ZONE, NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot
from apiserver.machinery.objects import labels_of

REASON = "node(s) had no available volume zone"
KEYS = (ZONE, REGION, "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region")
SEPARATOR = "__"
"""Between the zones of a volume that lies in several."""


class VolumeZone(Plugin):
    name = "VolumeZone"
    events = (
        (ClusterEvent("nodes", "add"), always),
        (ClusterEvent("nodes", "update"), node_changed),
        (ClusterEvent("persistentvolumeclaims", "*"), always),
        (ClusterEvent("persistentvolumes", "*"), always),
        (ClusterEvent("storageclasses.storage.k8s.io", "add"), always),
    )
    refusal = Status(Code.UNRESOLVABLE, (REASON,), name)

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        wanted: list[tuple[str, frozenset[str]]] = []
        for claim, _ in pod.claims:
            found = snapshot.get("persistentvolumeclaims", pod.namespace, claim)
            volume = snapshot.get("persistentvolumes", "", ((found or {}).get("spec") or {}).get("volumeName") or "")
            labels = {} if volume is None else labels_of(volume)
            wanted += [(key, frozenset(labels[key].split(SEPARATOR))) for key in KEYS if key in labels]
        if not wanted:
            return SKIP
        state.values[self.name] = wanted
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        if not any(key in node.labels for key in KEYS):
            # Clusters without zones have one.
            return None
        for key, zones in state.values[self.name]:
            if node.labels.get(key) not in zones:
                return self.refusal
        return None
