"""NodeResourcesBalancedAllocation: nodes are better whose resources would be used to like shares with the pod there (balanced_allocation.go)."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from agents.scheduler.framework import SCORE_MAX, SKIP, CycleState, Plugin, Status
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot


def balance(shares: Sequence[float]) -> int:
    """100 for equal shares of use, less by their standard deviation."""
    if len(shares) == 2:
        deviation = abs(shares[0] - shares[1]) / 2
    elif len(shares) > 2:
        mean = sum(shares) / len(shares)
        deviation = sqrt(sum((share - mean) ** 2 for share in shares) / len(shares))
    else:
        deviation = 0.0
    return int((1 - deviation) * SCORE_MAX)


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        listed = (args or {}).get("resources") or ({"name": "cpu"}, {"name": "memory"})
        self.resources = tuple(each["name"] for each in listed)
        self.plain = self.resources == ("cpu", "memory")

    def pre_score(self, state: CycleState, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Status | None:
        # A pod that asks for none of them changes no balance.
        return None if any(pod.requests.get(name) for name in self.resources) else SKIP

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        if not self.plain:
            return [balance(self._shares(pod, node)) for node in nodes]
        cpu, memory = pod.requests.get("cpu", 0), pod.requests.get("memory", 0)
        scores = []
        for node in nodes:
            cpus, bytes_ = node.allocatable.get("cpu", 0), node.allocatable.get("memory", 0)
            if not cpus or not bytes_:
                scores.append(balance(self._shares(pod, node)))
                continue
            one, other = 1 - (node.cpu_left - cpu) / cpus, 1 - (node.memory_left - memory) / bytes_
            one, other = (one if one < 1.0 else 1.0), (other if other < 1.0 else 1.0)
            scores.append(int((1 - (one - other if one > other else other - one) / 2) * SCORE_MAX))
        return scores

    def _shares(self, pod: PodInfo, node: NodeInfo) -> list[float]:
        shares = []
        for name in self.resources:
            allocatable = node.allocatable.get(name, 0)
            if allocatable and (name in ("cpu", "memory") or pod.requests.get(name)):
                requested = node.requested.get(name, 0) + pod.requests.get(name, 0)
                shares.append(min(1 - (allocatable - requested) / allocatable, 1.0))
        return shares
