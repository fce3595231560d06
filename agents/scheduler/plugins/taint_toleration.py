"""TaintToleration: NoSchedule and NoExecute taints must be tolerated; nodes with fewer untolerated PreferNoSchedule taints are better."""

from collections.abc import Sequence

from agents.scheduler.framework import SKIP, ClusterEvent, Code, CycleState, Plugin, Status, normalized, own_pod
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot
from agents.scheduler.terms import untolerated
from apiserver.machinery.objects import Object

REASON = "node(s) had untolerated taint(s)"


def tolerated_now(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    """The node's taints are such that the pod can go there, and (for an update) were not before."""
    if new is None:
        return False
    return _tolerates(pod, new) and (old is None or not _tolerates(pod, old))


def _tolerates(pod: PodInfo, node: Object) -> bool:
    taints = [(each["key"], each.get("value") or "", each["effect"]) for each in (node.get("spec") or {}).get("taints") or ()]
    return untolerated(taints, pod.tolerations, ("NoSchedule", "NoExecute")) is None


class TaintToleration(Plugin):
    name = "TaintToleration"
    events = (
        (ClusterEvent("nodes", "add"), tolerated_now),
        (ClusterEvent("nodes", "update"), tolerated_now),
        (ClusterEvent("pods", "update"), own_pod),
    )
    refusal = Status(Code.UNRESOLVABLE, (REASON,), name)

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        if node.hard_taints and untolerated(node.hard_taints, pod.tolerations, ("NoSchedule", "NoExecute")):
            return self.refusal
        return None

    def pre_score(self, state: CycleState, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Status | None:
        # Without such taints all nodes are as good as each other.
        return None if snapshot.soft_taints else SKIP

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        relevant = [each for each in pod.tolerations if each.effect in ("", "PreferNoSchedule")]
        return [sum(1 for taint in node.soft_taints if not any(each.tolerates(*taint) for each in relevant)) for node in nodes]

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], scores: list[int]) -> list[int]:
        return normalized(scores, reverse=True)
