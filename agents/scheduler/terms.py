"""Node selector terms, label selectors, tolerations and pod affinity terms, read once per pod and then only evaluated: as closures and tuples,
because a cycle asks them thousands of times.

Sources: component-helpers/scheduling/corev1 (nodeaffinity, helpers.go), kube-scheduler/framework (AffinityTerm).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents.kit.node_terms import NodeTerm as NodeTerm
from agents.kit.node_terms import Taint as Taint
from agents.kit.node_terms import Toleration as Toleration
from agents.kit.node_terms import node_term as node_term
from agents.kit.node_terms import requirement_holds as requirement_holds
from agents.kit.node_terms import tolerations_of as tolerations_of
from agents.kit.node_terms import untolerated as untolerated
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
