"""NodeAffinity: nodeSelector and required node affinity must hold, preferred terms that hold add their weight. `addedAffinity` of a profile holds
for all its pods."""

from collections.abc import Mapping, Sequence
from typing import Any

from agents.scheduler.framework import SKIP, ClusterEvent, Code, CycleState, Plugin, Status, normalized, own_pod
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot
from agents.scheduler.terms import node_term
from apiserver.machinery.objects import Object, labels_of, name_of

REASON = "node(s) didn't match Pod's node affinity/selector"
REASON_CONFLICT = "pod affinity terms conflict"
REASON_ENFORCED = "node(s) didn't match scheduler-enforced node affinity"


def matches_now(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    if new is None:
        return False
    now = pod.node_matches(labels_of(new), name_of(new))
    return now and (old is None or not pod.node_matches(labels_of(old), name_of(old)))


class NodeAffinity(Plugin):
    name = "NodeAffinity"
    events = (
        (ClusterEvent("nodes", "add"), matches_now),
        (ClusterEvent("nodes", "update"), matches_now),
        (ClusterEvent("pods", "update"), own_pod),
    )
    refusal = Status(Code.UNRESOLVABLE, (REASON,), name)
    refusal_enforced = Status(Code.UNRESOLVABLE, (REASON_ENFORCED,), name)

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        added = ((args or {}).get("addedAffinity")) or {}
        required = added.get("requiredDuringSchedulingIgnoredDuringExecution")
        self.added = None if required is None else [node_term(each) for each in required.get("nodeSelectorTerms") or ()]
        preferred = added.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        self.added_preferred = tuple((each["weight"], node_term(each.get("preference") or {})) for each in preferred)

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        if self.added is None and not pod.node_selector and pod.node_required is None:
            return SKIP
        names = _named_nodes(pod)
        if names is not None:
            if not names:
                return Status(Code.UNRESOLVABLE, (REASON_CONFLICT,), self.name)
            state.narrow(names, self.name)
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        if self.added is not None and not any(term.matches(node.labels, node.name) for term in self.added):
            return self.refusal_enforced
        return None if pod.node_matches(node.labels, node.name) else self.refusal

    def pre_score(self, state: CycleState, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Status | None:
        return None if pod.node_preferred or self.added_preferred else SKIP

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        terms = (*pod.node_preferred, *self.added_preferred)
        return [sum(weight for weight, term in terms if term.matches(node.labels, node.name)) for node in nodes]

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], scores: list[int]) -> list[int]:
        return normalized(scores)


def _named_nodes(pod: PodInfo) -> set[str] | None:
    """If every term names its nodes (as daemon sets' pods do), these are the only ones in question. An empty set: the terms exclude each other."""
    if not pod.node_required:
        return None
    union: set[str] = set()
    for term in pod.node_required:
        named = [set(values) for operator, values in term.names if operator == "In"]
        if not named:
            return None
        union |= set.intersection(*named)
    return union
