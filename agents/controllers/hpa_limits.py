"""How fast a target may be scaled (pkg/controller/podautoscaler/horizontal.go): stabilization windows, policies, limits. Pure but for `History`,
which remembers what was recommended and done; times are seconds of any one clock."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from msgspec import Struct

PERIODS_KEPT_S = 3600.0
"""Longer periods and windows the API does not take (autoscaling validation: 1800 s and 3600 s)."""

UP_POLICIES = ({"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15})
DOWN_POLICIES = ({"type": "Percent", "value": 100, "periodSeconds": 15},)
LIMIT_FACTOR, LIMIT_MINIMUM = 2, 4
"""Without behaviours: at most twice as many, or four."""


class Limited(Struct, frozen=True):
    """What may be done of what was wanted. `able` and `limited` are reason and message of the conditions AbleToScale and ScalingLimited."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str]

    @property
    def is_limited(self) -> bool:
        return self.limited[0] != "DesiredWithinRange"


READY = ("ReadyForNewScale", "recommended size matches current size")
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
STABILIZED_DOWN = ("ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation")
STABILIZED_UP = ("ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")


class History:
    """Of one autoscaler."""

    def __init__(self) -> None:
        self.recommendations: list[tuple[float, int]] = []
        self.changes: list[tuple[float, int]] = []
        """When, and by how many (negative: fewer)."""

    def begin(self, replicas: int, now_s: float) -> None:
        """The size in which a target is found counts as a recommendation: who has just come knows no better one, and takes nothing away at once."""
        if not self.recommendations:
            self.recommended(replicas, now_s)

    def recommended(self, replicas: int, now_s: float) -> None:
        self.recommendations = [each for each in self.recommendations if each[0] > now_s - PERIODS_KEPT_S]
        self.recommendations.append((now_s, replicas))

    def changed(self, by: int, now_s: float) -> None:
        self.changes = [each for each in self.changes if each[0] > now_s - PERIODS_KEPT_S]
        self.changes.append((now_s, by))

    def within(self, window_s: float, now_s: float) -> list[int]:
        return [replicas for at_s, replicas in self.recommendations if at_s > now_s - window_s]

    def moved(self, period_s: float, now_s: float, sign: int) -> int:
        """How many were added (or taken, `sign` -1) in the period."""
        return sum(by * sign for at_s, by in self.changes if at_s > now_s - period_s and by * sign > 0)


def without_behavior(current: int, wanted: int, least: int, most: int, history: History, down_window_s: float, now_s: float) -> Limited:
    stabilized = max([wanted, *history.within(down_window_s, now_s)])
    able = READY if stabilized == wanted else STABILIZED_DOWN
    fastest = max(LIMIT_FACTOR * current, LIMIT_MINIMUM)
    if stabilized < least:
        return Limited(least, able, TOO_FEW)
    if most > fastest and stabilized > fastest:
        return Limited(fastest, able, UP_LIMIT)
    if stabilized > most:
        return Limited(most, able, TOO_MANY)
    return Limited(stabilized, able, WITHIN)


def with_behavior(
    current: int, wanted: int, least: int, most: int, behavior: Mapping[str, Any], history: History, down_window_s: float, now_s: float
) -> Limited:
    up, down = behavior.get("scaleUp") or {}, behavior.get("scaleDown") or {}
    up_window_s = up.get("stabilizationWindowSeconds")
    down_given_s = down.get("stabilizationWindowSeconds")
    # Up to the least of the recent recommendations, down to the greatest of them.
    up_to = min([wanted, *history.within(0.0 if up_window_s is None else up_window_s, now_s)])
    down_to = max([wanted, *history.within(down_window_s if down_given_s is None else down_given_s, now_s)])
    stabilized = min(max(current, up_to), down_to)
    able = READY
    if stabilized != wanted:
        able = STABILIZED_DOWN if stabilized > wanted else STABILIZED_UP
    if stabilized > current:
        fastest = max(_up_limit(current, up, history, now_s), current)
        ceiling, limited = (fastest, UP_LIMIT) if fastest < most else (most, TOO_MANY)
        return Limited(ceiling, able, limited) if stabilized > ceiling else Limited(stabilized, able, WITHIN)
    if stabilized < current:
        slowest = min(_down_limit(current, down, history, now_s), current)
        floor, limited = (slowest, DOWN_LIMIT) if slowest > least else (least, TOO_FEW)
        return Limited(floor, able, limited) if stabilized < floor else Limited(stabilized, able, WITHIN)
    return Limited(stabilized, able, WITHIN)


def _up_limit(current: int, rules: Mapping[str, Any], history: History, now_s: float) -> int:
    select = rules.get("selectPolicy") or "Max"
    if select == "Disabled":
        return current
    limits: list[int] = []
    for policy in _policies(rules, UP_POLICIES):
        began = current - history.moved(policy["periodSeconds"], now_s, 1)
        if policy["type"] == "Pods":
            limits.append(began + policy["value"])
        else:
            limits.append(ceil(began * (1 + policy["value"] / 100)))
    return min(limits) if select == "Min" else max(limits)


def _down_limit(current: int, rules: Mapping[str, Any], history: History, now_s: float) -> int:
    select = rules.get("selectPolicy") or "Max"
    if select == "Disabled":
        return current
    limits: list[int] = []
    for policy in _policies(rules, DOWN_POLICIES):
        began = current + history.moved(policy["periodSeconds"], now_s, -1)
        if policy["type"] == "Pods":
            limits.append(began - policy["value"])
        else:
            limits.append(int(began * (1 - policy["value"] / 100)))
    # Max: the policy that takes most away.
    return max(limits) if select == "Min" else min(limits)


def _policies(rules: Mapping[str, Any], default: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return rules.get("policies") or default
