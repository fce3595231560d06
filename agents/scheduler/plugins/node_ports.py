"""NodePorts: a port of the node is taken once."""

from agents.scheduler.framework import SKIP, ClusterEvent, Code, CycleState, Plugin, Status, always
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot
from apiserver.machinery.objects import Object

REASON = "node(s) didn't have free ports for the requested pod ports"


def frees_a_port(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    if old is None:
        return False
    wanted = {port[1:] for port in pod.host_ports}
    return any(port[1:] in wanted for port in PodInfo(old).host_ports)


class NodePorts(Plugin):
    name = "NodePorts"
    events = ((ClusterEvent("pods", "delete"), frees_a_port), (ClusterEvent("nodes", "add"), always))
    refusal = Status(Code.UNSCHEDULABLE, (REASON,), name)

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        return None if pod.host_ports else SKIP

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        return self.refusal if any(node.port_taken(port) for port in pod.host_ports) else None
