"""Does an object match a selector: `machinery.selectors`, with what was parsed kept, because the same few selectors are asked about every pod."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from apiserver.machinery.objects import Object, labels_of
from apiserver.machinery.selectors import NOTHING, Selector, from_label_selector

Labels = Mapping[str, str]
KEPT = 8192


def matches(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """A LabelSelector. None selects nothing, an empty one everything; one that is wrong nothing."""
    return selector is not None and _parsed(msgspec.json.encode(selector)).matches(labels)


@lru_cache(KEPT)
def _parsed(selector: bytes) -> Selector:
    try:
        return from_label_selector(msgspec.json.decode(selector))
    except ValueError:
        return NOTHING


def equals(wanted: Labels | None, labels: Labels) -> bool:
    """A plain map of labels, as services and replication controllers have it."""
    return all(labels.get(key) == value for key, value in (wanted or {}).items())


def is_empty(selector: Mapping[str, Any] | None) -> bool:
    """Whether it selects everything."""
    return selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions")


def matcher(selector: Mapping[str, Any] | None) -> Callable[[Object], bool]:
    if selector is None:
        return lambda obj: False
    parsed = _parsed(msgspec.json.encode(selector))
    return lambda obj: parsed.matches(labels_of(obj))
