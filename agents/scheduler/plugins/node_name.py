"""NodeName: a pod that names its node goes nowhere else."""

from agents.scheduler.framework import SKIP, ClusterEvent, Code, CycleState, Plugin, Status, always
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot

REASON = "node(s) didn't match the requested node name"


class NodeName(Plugin):
    name = "NodeName"
    events = ((ClusterEvent("nodes", "add"), always),)
    refusal = Status(Code.UNRESOLVABLE, (REASON,), name)

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        return None if pod.node_name else SKIP

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        return None if pod.node_name in ("", node.name) else self.refusal
