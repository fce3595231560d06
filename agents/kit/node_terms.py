"""Node selector terms and tolerations: which nodes a pod may be on. The scheduler asks, and so does whoever puts pods on nodes himself (daemon sets).

Source: component-helpers/scheduling/corev1 (nodeaffinity, helpers.go). Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

Labels = Mapping[str, str]


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
