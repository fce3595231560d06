"""Conditions in a status: one of each type."""

from collections.abc import Sequence
from typing import Any

from apiserver.machinery.objects import Object


def condition(status: Object, type_: str) -> Object | None:
    return next((each for each in status.get("conditions") or () if each.get("type") == type_), None)


def is_true(obj: Object, type_: str) -> bool:
    found = condition(obj.get("status") or {}, type_)
    return found is not None and found.get("status") == "True"


def without(conditions: Sequence[Object], type_: str) -> list[Object]:
    return [each for each in conditions if each.get("type") != type_]


def with_condition(conditions: Sequence[Object], new: Object, now: str, **times: Any) -> list[Object]:
    """`new` in its place. `lastTransitionTime` moves only with `status`; the same status and reason again changes nothing."""
    before = next((each for each in conditions if each.get("type") == new["type"]), None)
    if before is not None and before.get("status") == new["status"] and before.get("reason") == new.get("reason"):
        return list(conditions)
    moved = now if before is None or before.get("status") != new["status"] else before.get("lastTransitionTime", now)
    return [*without(conditions, new["type"]), {**new, **times, "lastTransitionTime": moved}]
