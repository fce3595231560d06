"""NodeUnschedulable: no pods on cordoned nodes, unless they tolerate the taint that stands for it."""

from agents.scheduler.framework import ClusterEvent, Code, CycleState, Plugin, Status, own_pod
from agents.scheduler.nodeinfo import UNSCHEDULABLE_TAINT, NodeInfo
from agents.scheduler.podinfo import PodInfo
from apiserver.machinery.objects import Object

REASON = "node(s) were unschedulable"


def became_schedulable(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    return new is not None and not (new.get("spec") or {}).get("unschedulable")


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"
    events = (
        (ClusterEvent("nodes", "add"), became_schedulable),
        (ClusterEvent("nodes", "update"), became_schedulable),
        (ClusterEvent("pods", "update"), own_pod),
    )
    refusal = Status(Code.UNRESOLVABLE, (REASON,), name)

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        if node.unschedulable and not any(each.tolerates(*UNSCHEDULABLE_TAINT) for each in pod.tolerations):
            return self.refusal
        return None
