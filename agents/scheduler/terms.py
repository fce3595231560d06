"""Node selector terms, label selectors, tolerations and pod affinity terms, read once per pod and then only evaluated: as closures and tuples,
because a cycle asks them thousands of times.

Sources: component-helpers/scheduling/corev1 (nodeaffinity, helpers.go), kube-scheduler/framework (AffinityTerm).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from apiserver.machinery import selectors

Labels = Mapping[str, str]
Matcher = Callable[[Labels], bool]


def label_matcher(selector: Mapping[str, Any] | None) -> Matcher:
    """A metav1.LabelSelector as a function. None matches nothing, an empty one everything."""
    if selector is None:
        return lambda labels: False
    wanted = tuple((selector.get("matchLabels") or {}).items())
    if selector.get("matchExpressions"):
        return selectors.from_label_selector(dict(selector)).matches
    if len(wanted) == 1:
        # What nearly all selectors are: one comparison.
        ((only, value),) = wanted
        return lambda labels: labels.get(only) == value
    return lambda labels: all(labels.get(key) == value for key, value in wanted)


class NodeTerm(Struct, frozen=True):
    """One NodeSelectorTerm: all its requirements hold, and it has at least one (an empty term matches no node)."""

    labels: tuple[tuple[str, str, tuple[str, ...]], ...]
    names: tuple[tuple[str, tuple[str, ...]], ...]
    """matchFields; metadata.name is the only field there is."""

    def matches(self, labels: Labels, name: str) -> bool:
        if not self.labels and not self.names:
            return False
        return all(requirement_holds(labels, *each) for each in self.labels) and all(
            (name in values) == (operator == "In") for operator, values in self.names
        )


def node_term(raw: Mapping[str, Any]) -> NodeTerm:
    return NodeTerm(
        tuple((each["key"], each["operator"], tuple(each.get("values") or ())) for each in raw.get("matchExpressions") or ()),
        tuple((each["operator"], tuple(each.get("values") or ())) for each in raw.get("matchFields") or ()),
    )


def requirement_holds(labels: Labels, key: str, operator: str, values: Sequence[str]) -> bool:
    """One NodeSelectorRequirement (apimachinery labels.Requirement). Gt and Lt compare integers; what is none does not match."""
    found = labels.get(key)
    if operator == "In":
        return found in values
    if operator == "NotIn":
        return found not in values
    if operator == "Exists":
        return found is not None
    if operator == "DoesNotExist":
        return found is None
    if operator in ("Gt", "Lt") and found is not None and len(values) == 1:
        try:
            ours, theirs = int(found), int(values[0])
        except ValueError:
            return False
        return ours > theirs if operator == "Gt" else ours < theirs
    return False


class Toleration(Struct, frozen=True):
    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, key: str, value: str, effect: str) -> bool:
        """core/v1 Toleration.ToleratesTaint. An empty key with Exists tolerates everything, an empty effect all effects."""
        if self.effect and self.effect != effect:
            return False
        if self.key and self.key != key:
            return False
        if self.operator in ("", "Equal"):
            return self.value == value
        if self.operator == "Exists":
            return True
        if self.operator in ("Lt", "Gt"):
            try:
                ours, theirs = int(self.value), int(value)
            except ValueError:
                return False
            return theirs < ours if self.operator == "Lt" else theirs > ours
        return False


Taint = tuple[str, str, str]
"""Key, value, effect."""


def tolerations_of(raw: Sequence[Mapping[str, Any]]) -> tuple[Toleration, ...]:
    return tuple(Toleration(each.get("key", ""), each.get("operator", ""), each.get("value", ""), each.get("effect", "")) for each in raw)


def untolerated(taints: Sequence[Taint], tolerations: Sequence[Toleration], effects: tuple[str, ...]) -> Taint | None:
    """The first taint with one of the effects that nothing tolerates."""
    for taint in taints:
        if taint[2] in effects and not any(each.tolerates(*taint) for each in tolerations):
            return taint
    return None


class AffinityTerm:
    """A PodAffinityTerm of one pod: which pods it means, and in which topology."""

    __slots__ = ("matches_labels", "namespace_matcher", "namespaces", "text", "topology_key", "weight")

    def __init__(self, raw: Mapping[str, Any], namespace: str, own_labels: Labels, weight: int = 0) -> None:
        self.topology_key: str = raw.get("topologyKey", "")
        own = own_labels if raw.get("matchLabelKeys") or raw.get("mismatchLabelKeys") else None
        self.text = json.dumps((namespace, own, raw), sort_keys=True)
        """Terms with the same text mean the same pods."""
        self.weight = weight
        self.namespaces = frozenset(raw.get("namespaces") or ())
        namespace_selector = raw.get("namespaceSelector")
        self.namespace_matcher = None if namespace_selector is None else label_matcher(namespace_selector)
        if not self.namespaces and namespace_selector is None:
            self.namespaces = frozenset((namespace,))
        self.matches_labels = label_matcher(_with_label_keys(raw, own_labels))

    def matches(self, namespace: str, labels: Labels, namespace_labels: Labels) -> bool:
        """Whether a pod with these labels, in a namespace with those, is meant."""
        if namespace not in self.namespaces and (self.namespace_matcher is None or not self.namespace_matcher(namespace_labels)):
            return False
        return self.matches_labels(labels)


def _with_label_keys(raw: Mapping[str, Any], own_labels: Labels) -> Mapping[str, Any] | None:
    """matchLabelKeys and mismatchLabelKeys, if the API server has not merged them into the selector already."""
    selector = raw.get("labelSelector")
    return with_label_keys(selector, own_labels, raw.get("matchLabelKeys") or (), raw.get("mismatchLabelKeys") or ())


def with_label_keys(
    selector: Mapping[str, Any] | None, own_labels: Labels, matching: Sequence[str], mismatching: Sequence[str] = ()
) -> Mapping[str, Any] | None:
    if selector is None or not (matching or mismatching):
        return selector
    wanted = list(selector.get("matchExpressions") or ())
    for keys, operator in ((matching, "In"), (mismatching, "NotIn")):
        for key in keys:
            extra = {"key": key, "operator": operator, "values": [own_labels.get(key, "")]}
            if key in own_labels and extra not in wanted:
                wanted.append(extra)
    return {**selector, "matchExpressions": wanted}
