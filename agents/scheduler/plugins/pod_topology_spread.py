"""PodTopologySpread: pods of a selector are spread over the values of a node label, hard (DoNotSchedule) or as a score (ScheduleAnyway).

A pod without constraints of its own gets the profile's defaults; the system's are soft: hosts with skew 3, zones with skew 5, over the pods of its
services and of what controls it (podtopologyspread/plugin.go, common.go, filtering.go, scoring.go).
"""

import json
from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from agents.scheduler.counts import NamespaceLabels, Question
from agents.scheduler.framework import SCORE_MAX, SKIP, ClusterEvent, Code, CycleState, Plugin, Status, node_changed, placement_changed
from agents.scheduler.nodeinfo import HOSTNAME, ZONE, NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot
from agents.scheduler.terms import Matcher, label_matcher, untolerated, with_label_keys
from apiserver.machinery.objects import Object, controller_of, namespace_of

REASON = "node(s) didn't match pod topology spread constraints"
REASON_LABEL = f"{REASON} (missing required label)"

SYSTEM_DEFAULTS = (
    {"maxSkew": 3, "topologyKey": HOSTNAME, "whenUnsatisfiable": "ScheduleAnyway"},
    {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "ScheduleAnyway"},
)


class Constraint:
    __slots__ = ("honors_affinity", "honors_taints", "key", "max_skew", "min_domains", "question", "selects", "self_match")

    def __init__(self, raw: Mapping[str, Any], pod: PodInfo, selector: Mapping[str, Any] | None) -> None:
        self.key: str = raw["topologyKey"]
        self.max_skew: int = raw["maxSkew"]
        self.min_domains: int = raw.get("minDomains") or 1
        self.honors_affinity = raw.get("nodeAffinityPolicy") != "Ignore"
        self.honors_taints = raw.get("nodeTaintsPolicy") == "Honor"
        selector = with_label_keys(selector, pod.labels, raw.get("matchLabelKeys") or ())
        self.selects = label_matcher(selector)
        self.self_match = self.selects(pod.labels)
        self.question = _question(pod.namespace, selector, self.selects)

    def includes(self, pod: PodInfo, node: NodeInfo) -> bool:
        """Node inclusion policies: whether the pods of a node count."""
        if self.honors_affinity and not pod.node_matches(node.labels, node.name):
            return False
        return not (self.honors_taints and untolerated(node.hard_taints, pod.tolerations, ("NoSchedule", "NoExecute")))


def _question(namespace: str, selector: Mapping[str, Any] | None, selects: Matcher) -> Question:
    def meant(other: PodInfo, namespace_labels: NamespaceLabels) -> bool:
        return not other.terminating and selects(other.labels)

    return Question(f"spread {namespace} {json.dumps(selector, sort_keys=True)}", namespace, meant)


class Hard:
    """What Filter knows: for each constraint how many pods each value of its key has. Changes as preemption tries what would be."""

    __slots__ = ("_least", "constraints", "counts")

    def __init__(self, constraints: Sequence[Constraint], counts: list[dict[str, int]]) -> None:
        self.constraints = constraints
        self.counts = counts
        self._least: list[int] | None = None

    def clone(self) -> "Hard":
        return Hard(self.constraints, [dict(each) for each in self.counts])

    def least(self) -> list[int]:
        """The global minimum of each constraint; zero while there are fewer domains than wanted."""
        if self._least is None:
            self._least = [
                0 if len(found) < constraint.min_domains else min(found.values(), default=0)
                for constraint, found in zip(self.constraints, self.counts, strict=True)
            ]
        return self._least

    def shift(self, index: int, value: str, by: int) -> None:
        self.counts[index][value] = self.counts[index].get(value, 0) + by
        self._least = None


class Soft:
    __slots__ = ("constraints", "counts", "ignored", "weights")

    def __init__(self, constraints: Sequence[Constraint], counts: list[Mapping[str, int]], weights: list[float], ignored: set[str]) -> None:
        self.constraints = constraints
        self.counts = counts
        self.weights = weights
        self.ignored = ignored


def concerns_pod(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    """Only pods of the same namespace are counted."""
    return namespace_of(new or old or {}) == pod.namespace and placement_changed(pod, old, new)


class PodTopologySpread(Plugin):
    name = "PodTopologySpread"
    events = (
        (ClusterEvent("pods", "*"), concerns_pod),
        (ClusterEvent("nodes", "*"), node_changed),
    )
    refusal = Status(Code.UNSCHEDULABLE, (REASON,), name)
    refusal_label = Status(Code.UNRESOLVABLE, (REASON_LABEL,), name)

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        args = args or {}
        self.system_defaulted = args.get("defaultingType", "System") == "System"
        self.defaults: Sequence[Mapping[str, Any]] = SYSTEM_DEFAULTS if self.system_defaulted else args.get("defaultConstraints") or ()

    def constraints(self, pod: PodInfo, snapshot: Snapshot, action: str) -> list[Constraint]:
        if pod.spread:
            return [Constraint(each, pod, each.get("labelSelector")) for each in pod.spread if each["whenUnsatisfiable"] == action]
        wanted = [each for each in self.defaults if each["whenUnsatisfiable"] == action]
        selector = default_selector(pod, snapshot) if wanted else None
        return [] if selector is None else [Constraint(each, pod, selector) for each in wanted]

    # --- hard ---------------------------------------------------------------------------------------------------------

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        constraints = self.constraints(pod, snapshot, "DoNotSchedule")
        if not constraints:
            return SKIP
        asked = [snapshot.count(each.question) for each in constraints]
        counts: list[dict[str, int]] = [{} for _ in constraints]
        keys = [each.key for each in constraints]
        anywhere = not pod.node_selector and pod.node_required is None and not any(each.honors_taints for each in constraints)
        for node in snapshot.order:
            labels = node.labels
            for key in keys:
                if key not in labels:
                    break
            else:
                for constraint, on_nodes, count in zip(constraints, asked, counts, strict=True):
                    if anywhere or constraint.includes(pod, node):
                        value = labels[constraint.key]
                        count[value] = count.get(value, 0) + on_nodes.get(node.name, 0)
        state.values[self.name] = Hard(constraints, counts)
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        hard: Hard = state.values[self.name]
        for constraint, counts, least in zip(hard.constraints, hard.counts, hard.least(), strict=True):
            value = node.labels.get(constraint.key)
            if value is None:
                return self.refusal_label
            if counts.get(value, 0) + constraint.self_match - least > constraint.max_skew:
                return self.refusal
        return None

    def pod_added(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> None:
        self._shift(state, pod, other, node, 1)

    def pod_removed(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> None:
        self._shift(state, pod, other, node, -1)

    def _shift(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo, by: int) -> None:
        hard: Hard | None = state.values.get(self.name)
        if hard is None or other.namespace != pod.namespace or not all(each.key in node.labels for each in hard.constraints):
            return
        for index, constraint in enumerate(hard.constraints):
            if not other.terminating and constraint.selects(other.labels) and constraint.includes(pod, node):
                hard.shift(index, node.labels[constraint.key], by)

    # --- soft ---------------------------------------------------------------------------------------------------------

    def pre_score(self, state: CycleState, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Status | None:
        constraints = self.constraints(pod, snapshot, "ScheduleAnyway")
        if not constraints:
            return SKIP
        # The system's defaults also spread over hosts where nodes have no zones.
        strict = bool(pod.spread) or not self.system_defaulted
        ignored = {node.name for node in nodes if strict and not all(each.key in node.labels for each in constraints)}
        counts: list[Mapping[str, int]] = []
        weights: list[float] = []
        for constraint in constraints:
            asked = snapshot.count(constraint.question)
            if constraint.key == HOSTNAME:
                # One value a node: the count of the node is the count of the value.
                counts.append(asked)
                weights.append(log(len(nodes) - len(ignored) + 2))
                continue
            of_value: dict[str, int] = {node.labels.get(constraint.key, ""): 0 for node in nodes if node.name not in ignored}
            for name, count in asked.items():
                node = snapshot.nodes[name]
                value = node.labels.get(constraint.key, "")
                if value not in of_value or node.node is None or (strict and not all(each.key in node.labels for each in constraints)):
                    continue
                if constraint.includes(pod, node):
                    of_value[value] += count
            counts.append(of_value)
            weights.append(log(len(of_value) + 2))
        state.values[f"score {self.name}"] = Soft(constraints, counts, weights, ignored)
        return None

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        soft: Soft = state.values[f"score {self.name}"]
        totals = [0.0] * len(nodes)
        for constraint, counts, weight in zip(soft.constraints, soft.counts, soft.weights, strict=True):
            key, extra = constraint.key, constraint.max_skew - 1
            if key == HOSTNAME:
                totals = [
                    total + counts.get(node.name, 0) * weight + extra if key in node.labels else total
                    for total, node in zip(totals, nodes, strict=True)
                ]
            else:
                totals = [
                    total + counts.get(node.labels[key], 0) * weight + extra if key in node.labels else total
                    for total, node in zip(totals, nodes, strict=True)
                ]
        return [int(total + 0.5) for total in totals]

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], scores: list[int]) -> list[int]:
        ignored = state.values[f"score {self.name}"].ignored
        if ignored:
            counted = [score for node, score in zip(nodes, scores, strict=True) if node.name not in ignored]
        else:
            counted = scores
        least, most = min(counted, default=0), max(counted, default=0)
        scaled = [SCORE_MAX * (most + least - score) // most if most else SCORE_MAX for score in scores]
        return [0 if node.name in ignored else score for node, score in zip(nodes, scaled, strict=True)] if ignored else scaled


def default_selector(pod: PodInfo, snapshot: Snapshot) -> Mapping[str, Any] | None:
    """What selects the pods that belong together: all services of the pod and its controller (plugins/helper/spread.go). None: nothing does."""
    labels: dict[str, str] = {}
    expressions: list[Any] = []
    for service in snapshot.in_namespace("services", pod.namespace):
        selector = (service.get("spec") or {}).get("selector") or {}
        if selector and all(pod.labels.get(key) == value for key, value in selector.items()):
            labels.update(selector)
    owner = controller_of(pod.pod)
    if owner is not None:
        resource = {"ReplicaSet": "replicasets.apps", "StatefulSet": "statefulsets.apps", "ReplicationController": "replicationcontrollers"}
        found = snapshot.get(resource[owner["kind"]], pod.namespace, owner["name"]) if owner.get("kind") in resource else None
        selector = ((found or {}).get("spec") or {}).get("selector") or {}
        if owner.get("kind") == "ReplicationController":
            labels.update(selector)
        else:
            labels.update(selector.get("matchLabels") or {})
            expressions += selector.get("matchExpressions") or ()
    if not labels and not expressions:
        return None
    return {"matchLabels": labels, "matchExpressions": expressions}
