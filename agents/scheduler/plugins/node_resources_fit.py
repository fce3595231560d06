"""NodeResourcesFit: requests fit into what is left of the node's allocatable resources. Scores by one of three strategies: LeastAllocated (spread,
the default), MostAllocated (pack), RequestedToCapacityRatio (by a shape)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from agents.scheduler.amounts import amounts, pod_requests
from agents.scheduler.framework import SCORE_MAX, ClusterEvent, Code, CycleState, Plugin, Status
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot
from apiserver.machinery.objects import Object

TOO_MANY_PODS = "Too many pods"
"""The other reasons are `Insufficient RESOURCE`."""

Wanted = tuple[int, int, tuple[tuple[str, int], ...]]
Strategy = Callable[[int, int], int]
"""Requested (with the pod) and allocatable to 0..SCORE_MAX."""


def insufficient(wanted: Wanted, node: NodeInfo) -> Status | None:
    """What is lacking; None if the pod fits. No eviction helps against a request larger than the whole node."""
    cpu, memory, others = wanted
    if len(node.pods) < node.pods_max and (not cpu or cpu <= node.cpu_left) and (not memory or memory <= node.memory_left) and not others:
        return None
    reasons = [] if len(node.pods) < node.pods_max else [TOO_MANY_PODS]
    hopeless = False
    for name, value in (("cpu", cpu), ("memory", memory), *others):
        allocatable = node.allocatable.get(name, 0)
        if value and value > allocatable - node.requested.get(name, 0):
            reasons.append(f"Insufficient {name}")
            hopeless = hopeless or value > allocatable
    if not reasons:
        return None
    return Status(Code.UNRESOLVABLE if hopeless else Code.UNSCHEDULABLE, tuple(reasons), NodeResourcesFit.name)


def least_allocated(requested: int, allocatable: int) -> int:
    return 0 if requested > allocatable else (allocatable - requested) * SCORE_MAX // allocatable


def most_allocated(requested: int, allocatable: int) -> int:
    return min(requested, allocatable) * SCORE_MAX // allocatable


def requested_to_capacity_ratio(shape: Sequence[Mapping[str, int]]) -> Strategy:
    """Straight lines between points of utilization (0..100) and score (0..10), flat outside them."""
    points = [(each["utilization"], each["score"] * SCORE_MAX // 10) for each in shape]
    assert points and points == sorted(points), "profiles.py refuses such shapes"

    def score(requested: int, allocatable: int) -> int:
        share = 100 if requested > allocatable else requested * 100 // allocatable
        if share <= points[0][0]:
            return points[0][1]
        for (x0, y0), (x1, y1) in pairwise(points):
            if share <= x1:
                return y0 + int((y1 - y0) * (share - x0) / (x1 - x0))
        return points[-1][1]

    return score


def frees_resources(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    """A pod that asked for nothing of what we need makes no room, except of pods' number."""
    return old is not None and bool((old.get("spec") or {}).get("nodeName"))


def asks_for_less(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    """A pod was resized: ours, or one that now takes less of its node."""
    if old is None or new is None or (old.get("spec") or {}) == (new.get("spec") or {}):
        return False
    before, now = pod_requests(old.get("spec") or {}), pod_requests(new.get("spec") or {})
    return any(now.get(name, 0) < value for name, value in before.items())


def node_grew(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    if new is None:
        return False
    now = amounts((new.get("status") or {}).get("allocatable"))
    if not all(value <= now.get(name, 0) for name, value in pod.requests.items() if value):
        return False
    before = amounts(((old or {}).get("status") or {}).get("allocatable"))
    return old is None or any(now.get(name, 0) > before.get(name, 0) for name in ("pods", *pod.requests))


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"
    events = (
        (ClusterEvent("pods", "delete"), frees_resources),
        (ClusterEvent("pods", "update"), asks_for_less),
        (ClusterEvent("nodes", "add"), node_grew),
        (ClusterEvent("nodes", "update"), node_grew),
    )

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        args = args or {}
        self.ignored = frozenset(args.get("ignoredResources") or ())
        self.ignored_groups = frozenset(args.get("ignoredResourceGroups") or ())
        strategy = args.get("scoringStrategy") or {}
        kind = strategy.get("type") or "LeastAllocated"
        listed = strategy.get("resources") or ({"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1})
        self.resources = tuple((str(each["name"]), int(str(each.get("weight") or 1))) for each in listed)
        if kind == "RequestedToCapacityRatio":
            self.strategy = requested_to_capacity_ratio((strategy.get("requestedToCapacityRatio") or {}).get("shape") or ())
        else:
            self.strategy = {"LeastAllocated": least_allocated, "MostAllocated": most_allocated}[kind]
        self.plain = self.strategy is least_allocated and self.resources == (("cpu", 1), ("memory", 1))

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        requests = pod.requests
        others = tuple((name, value) for name, value in requests.items() if name not in ("cpu", "memory") and value and not self._ignores(name))
        state.values[self.name] = (requests.get("cpu", 0), requests.get("memory", 0), others)
        return None

    def _ignores(self, name: str) -> bool:
        return name in self.ignored or name.partition("/")[0] in self.ignored_groups

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        return insufficient(state.values[self.name], node)

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        return self._plainly(pod, nodes) if self.plain else [self._weighted(pod, node) for node in nodes]

    def _plainly(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        """LeastAllocated of CPU and memory, weighted alike: what nearly every profile has, without calls in the loop."""
        cpu, memory = pod.nonzero_cpu, pod.nonzero_memory
        scores = []
        for node in nodes:
            has = node.allocatable
            cpus, bytes_ = has.get("cpu", 0), has.get("memory", 0)
            if not cpus or not bytes_:
                scores.append(self._weighted(pod, node))
                continue
            cpu_left, memory_left = cpus - node.nonzero_cpu - cpu, bytes_ - node.nonzero_memory - memory
            scores.append(
                ((cpu_left * SCORE_MAX // cpus if cpu_left > 0 else 0) + (memory_left * SCORE_MAX // bytes_ if memory_left > 0 else 0)) // 2
            )
        return scores

    def _weighted(self, pod: PodInfo, node: NodeInfo) -> int:
        """The slow and obvious rule: each resource's score by its weight; resources that the node lacks, or that are nobody's default and that the
        pod does not ask for, do not count (resource_allocation.go)."""
        total = weights = 0
        for name, weight in self.resources:
            allocatable = node.allocatable.get(name, 0)
            if name == "cpu":
                requested = node.nonzero_cpu + pod.nonzero_cpu
            elif name == "memory":
                requested = node.nonzero_memory + pod.nonzero_memory
            elif pod.requests.get(name):
                requested = node.requested.get(name, 0) + pod.requests[name]
            else:
                continue
            if allocatable:
                total += weight * self.strategy(requested, allocatable)
                weights += weight
        return total // weights if weights else 0
