"""InterPodAffinity: pods that want to be, or not to be, in the same topology as other pods; what running pods refuse counts as well
(interpodaffinity/filtering.go, scoring.go)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agents.scheduler.counts import NamespaceLabels, Question
from agents.scheduler.framework import SCORE_MAX, SKIP, ClusterEvent, Code, CycleState, Plugin, Status, always, node_changed, placement_changed
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot
from agents.scheduler.terms import AffinityTerm

REASON_EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"
REASON_AFFINITY = "node(s) didn't match pod affinity rules"
REASON_ANTI = "node(s) didn't match pod anti-affinity rules"

Pair = tuple[str, str]
"""Topology key and value."""
Pairs = dict[Pair, int]


class Rules:
    """What Filter knows; preemption shifts it."""

    __slots__ = ("affinity", "anti", "existing", "keys", "own_match", "snapshot")

    def __init__(self, existing: Pairs, affinity: Pairs, anti: Pairs, own_match: bool, snapshot: Snapshot) -> None:
        self.existing = existing
        """Where running pods do not want this one."""
        self.affinity = affinity
        """Where pods are that all its required affinity terms mean."""
        self.anti = anti
        """Where pods are that a required anti-affinity term means."""
        self.own_match = own_match
        """Whether its affinity means itself: then it may be the first of its kind."""
        self.snapshot = snapshot
        self.keys = {key for key, _ in existing}
        """The topology keys in `existing`; trying without some pods makes it smaller only, and with others adds to it in `_shift_rules`."""

    def clone(self) -> "Rules":
        return Rules(dict(self.existing), dict(self.affinity), dict(self.anti), self.own_match, self.snapshot)


def means(term: AffinityTerm, pod: PodInfo, snapshot: Snapshot) -> bool:
    return term.matches(pod.namespace, pod.labels, snapshot.namespace_labels(pod.namespace))


def all_mean(terms: Sequence[AffinityTerm], pod: PodInfo, snapshot: Snapshot) -> bool:
    return bool(terms) and all(means(term, pod, snapshot) for term in terms)


def _shift(pairs: Pairs, pair: Pair, by: int) -> None:
    count = pairs.get(pair, 0) + by
    if count:
        pairs[pair] = count
    else:
        pairs.pop(pair, None)


def _add_counts(pairs: Pairs, key: str, counts: Mapping[str, int], snapshot: Snapshot, by: int = 1) -> None:
    for name, count in counts.items():
        value = snapshot.nodes[name].labels.get(key)
        if value is not None:
            _shift(pairs, (key, value), by * count)


class InterPodAffinity(Plugin):
    name = "InterPodAffinity"
    events = (
        (ClusterEvent("pods", "*"), placement_changed),
        (ClusterEvent("nodes", "add"), always),
        (ClusterEvent("nodes", "update"), node_changed),
        (ClusterEvent("namespaces", "*"), always),
    )
    refusal_existing = Status(Code.UNSCHEDULABLE, (REASON_EXISTING,), name)
    refusal_affinity = Status(Code.UNRESOLVABLE, (REASON_AFFINITY,), name)
    refusal_anti = Status(Code.UNSCHEDULABLE, (REASON_ANTI,), name)

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        args = args or {}
        self.hard_weight = int(args.get("hardPodAffinityWeight", 1))
        self.ignores_existing = bool(args.get("ignorePreferredTermsOfExistingPods"))

    # --- required -----------------------------------------------------------------------------------------------------

    def pre_filter(self, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
        existing: Pairs = {}
        # Pods of one workload have the same terms: each is asked once.
        asked: dict[str, bool] = {}
        for node in snapshot.with_required_anti_affinity.values():
            for other in node.with_required_anti_affinity.values():
                self._refuses(existing, other, pod, node, snapshot, 1, asked)
        if not existing and not pod.affinity_required and not pod.anti_required:
            return SKIP
        affinity: Pairs = {}
        anti: Pairs = {}
        if pod.affinity_required:
            terms = pod.affinity_required
            counts = snapshot.count(_question(pod, "podAffinity", None, terms))
            for term in terms:
                _add_counts(affinity, term.topology_key, counts, snapshot)
        for index, term in enumerate(pod.anti_required):
            _add_counts(anti, term.topology_key, snapshot.count(_question(pod, "podAntiAffinity", index, (term,))), snapshot)
        state.values[self.name] = Rules(existing, affinity, anti, all_mean(pod.affinity_required, pod, snapshot), snapshot)
        return None

    def _refuses(self, existing: Pairs, other: PodInfo, pod: PodInfo, node: NodeInfo, snapshot: Snapshot, by: int, asked: dict[str, bool]) -> None:
        for term in other.anti_required:
            value = node.labels.get(term.topology_key)
            if value is None:
                continue
            meant = asked.get(term.text)
            if meant is None:
                meant = asked[term.text] = means(term, pod, snapshot)
            if meant:
                _shift(existing, (term.topology_key, value), by)

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        rules: Rules = state.values[self.name]
        labels = node.labels
        if pod.affinity_required and not self._near(rules, pod, labels):
            return self.refusal_affinity
        for term in pod.anti_required:
            if rules.anti and (term.topology_key, labels.get(term.topology_key, "")) in rules.anti and term.topology_key in labels:
                return self.refusal_anti
        for key in rules.keys:
            if (key, labels.get(key)) in rules.existing:
                return self.refusal_existing
        return None

    def _near(self, rules: Rules, pod: PodInfo, labels: Mapping[str, str]) -> bool:
        found = True
        for term in pod.affinity_required:
            value = labels.get(term.topology_key)
            if value is None:
                return False
            found = found and (term.topology_key, value) in rules.affinity
        return found or (not rules.affinity and rules.own_match)

    def pod_added(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> None:
        self._shift_rules(state, pod, other, node, 1)

    def pod_removed(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> None:
        self._shift_rules(state, pod, other, node, -1)

    def _shift_rules(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo, by: int) -> None:
        rules: Rules | None = state.values.get(self.name)
        if rules is None:
            return
        snapshot = rules.snapshot
        self._refuses(rules.existing, other, pod, node, snapshot, by, {})
        rules.keys.update(key for key, _ in rules.existing)
        if all_mean(pod.affinity_required, other, snapshot):
            for term in pod.affinity_required:
                if term.topology_key in node.labels:
                    _shift(rules.affinity, (term.topology_key, node.labels[term.topology_key]), by)
        for term in pod.anti_required:
            if term.topology_key in node.labels and means(term, other, snapshot):
                _shift(rules.anti, (term.topology_key, node.labels[term.topology_key]), by)

    # --- preferred ----------------------------------------------------------------------------------------------------

    def pre_score(self, state: CycleState, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Status | None:
        prefers = bool(pod.affinity_preferred or pod.anti_preferred)
        if not prefers and (self.ignores_existing or not snapshot.with_affinity):
            return SKIP
        pairs: Pairs = {}
        for field, terms, sign in (("podAffinity", pod.affinity_preferred, 1), ("podAntiAffinity", pod.anti_preferred, -1)):
            for index, term in enumerate(terms):
                counts = snapshot.count(_question(pod, f"{field} preferred", index, (term,)))
                _add_counts(pairs, term.topology_key, counts, snapshot, sign * term.weight)
        if prefers or not self.ignores_existing:
            asked: dict[str, bool] = {}
            for node in snapshot.with_affinity.values():
                for other in node.with_affinity.values():
                    self._existing_wish(pairs, other, pod, node, snapshot, asked)
        if not pairs:
            return SKIP
        state.values[f"score {self.name}"] = pairs
        return None

    def _existing_wish(self, pairs: Pairs, other: PodInfo, pod: PodInfo, node: NodeInfo, snapshot: Snapshot, asked: dict[str, bool]) -> None:
        """What a running pod would like of where this one goes; its required affinity counts as a wish of the profile's weight."""
        if not (other.affinity_required or other.affinity_preferred or other.anti_preferred):
            return
        wishes: list[tuple[AffinityTerm, int]] = []
        if self.hard_weight:
            wishes += [(term, self.hard_weight) for term in other.affinity_required]
        wishes += [(term, term.weight) for term in other.affinity_preferred]
        wishes += [(term, -term.weight) for term in other.anti_preferred]
        for term, weight in wishes:
            value = node.labels.get(term.topology_key)
            if value is None:
                continue
            meant = asked.get(term.text)
            if meant is None:
                meant = asked[term.text] = means(term, pod, snapshot)
            if meant:
                _shift(pairs, (term.topology_key, value), weight)

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        by_key: dict[str, dict[str, int]] = {}
        for (key, value), weight in state.values[f"score {self.name}"].items():
            by_key.setdefault(key, {})[value] = weight
        return [sum(weights.get(node.labels.get(key, ""), 0) for key, weights in by_key.items() if key in node.labels) for node in nodes]

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], scores: list[int]) -> list[int]:
        least, most = min(scores), max(scores)
        if most == least:
            return [0] * len(scores)
        return [int(SCORE_MAX * (score - least) / (most - least)) for score in scores]


def _question(pod: PodInfo, field: str, index: int | None, terms: Sequence[AffinityTerm]) -> Question:
    """Pods that all of `terms` mean. The key is the terms' text, with the pod's labels where the terms refer to them."""
    kind, _, preferred = field.partition(" ")
    rules = ((pod.pod.get("spec") or {}).get("affinity") or {}).get(kind) or {}
    raw = rules.get(f"{'preferred' if preferred else 'required'}DuringSchedulingIgnoredDuringExecution") or []
    chosen: list[Any] = raw if index is None else [raw[index]]
    text = json.dumps([each.get("podAffinityTerm", each) for each in chosen], sort_keys=True)
    own = json.dumps(pod.labels, sort_keys=True) if "LabelKeys" in text else ""
    namespaces = {namespace for term in terms for namespace in term.namespaces}
    single = len(namespaces) == 1 and all(term.namespace_matcher is None for term in terms)

    def meant(other: PodInfo, namespace_labels: NamespaceLabels) -> bool:
        labels = namespace_labels(other.namespace)
        return all(term.matches(other.namespace, other.labels, labels) for term in terms)

    return Question(f"affinity {pod.namespace} {own} {text}", next(iter(namespaces)) if single else None, meant)
