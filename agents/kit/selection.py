"""Label selectors as they stand in objects: does an object's set of labels match (apimachinery's metav1.LabelSelectorAsSelector)."""

from collections.abc import Callable, Mapping
from typing import Any

from apiserver.machinery.objects import Object, labels_of

Labels = Mapping[str, str]


def matches(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """A LabelSelector. None selects nothing, an empty one everything. An operator that does not exist matches nothing."""
    if selector is None:
        return False
    if not equals(selector.get("matchLabels"), labels):
        return False
    return all(_holds(each, labels) for each in selector.get("matchExpressions") or ())


def equals(wanted: Labels | None, labels: Labels) -> bool:
    """A plain map of labels, as services and replication controllers have it."""
    return all(labels.get(key) == value for key, value in (wanted or {}).items())


def is_empty(selector: Mapping[str, Any] | None) -> bool:
    """Whether it selects everything."""
    return selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions")


def matcher(selector: Mapping[str, Any] | None) -> Callable[[Object], bool]:
    return lambda obj: matches(selector, labels_of(obj))


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    return False
