"""Horizontal pod autoscalers and disruption budgets (pkg/apis/autoscaling/validation, pkg/apis/policy/validation)."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, forbidden_value, invalid_value, required
from apiserver.registry.strategies.checks import (
    above_zero,
    at_least_zero,
    count_or_percent,
    each,
    named,
    needed,
    one_of,
    over_hundred_percent,
    selector,
)
from apiserver.registry.strategy import Strategy

SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
WINDOW_MAX_S = 3600
PERIOD_MAX_S = 1800


class HorizontalPodAutoscalerStrategy(Strategy):
    counts_generation = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        lowest, highest = spec.get("minReplicas"), spec.get("maxReplicas")
        found = above_zero(highest, "spec.maxReplicas")
        if isinstance(lowest, int) and lowest < 1:
            found.append(invalid_value("spec.minReplicas", lowest, "must be greater than or equal to 1"))
        if isinstance(lowest, int) and isinstance(highest, int) and highest < lowest:
            found.append(invalid_value("spec.maxReplicas", highest, "must be greater than or equal to `minReplicas`"))
        target = spec.get("scaleTargetRef") or {}
        for field in ("kind", "name"):
            found += [required(f"spec.scaleTargetRef.{field}")] if target.get(field) == "" else []
            found += named(target.get(field), f"spec.scaleTargetRef.{field}", names.path_segment)
        for at, metric in each(spec.get("metrics"), "spec.metrics"):
            found += self._metric(metric, at)
        behavior = spec.get("behavior") or {}
        for direction in ("scaleUp", "scaleDown"):
            found += self._rules(behavior.get(direction), f"spec.behavior.{direction}")
        return found

    @staticmethod
    def _metric(metric: Object, at: str) -> list[Cause]:
        kind = metric.get("type")
        found = one_of(kind, f"{at}.type", tuple(SOURCES), needed=True)
        if found or kind is None:
            return found
        field = SOURCES[kind]
        source = metric.get(field)
        if not isinstance(source, dict):
            return [required(f"{at}.{field}", "must populate information for the given metric source")]
        found += [
            forbidden_value(f"{at}.{other}", "must populate the given metric source only")
            for other in SOURCES.values()
            if other != field and metric.get(other)
        ]
        target, path = source.get("target") or {}, f"{at}.{field}.target"
        found += one_of(target.get("type"), f"{path}.type", ("AverageValue", "Utilization", "Value"), needed=True)
        found += above_zero(target.get("averageUtilization"), f"{path}.averageUtilization")
        values = [name for name in ("averageUtilization", "averageValue", "value") if target.get(name) is not None]
        if not values:
            which = {"resource": "averageUtilization", "containerResource": "averageUtilization", "pods": "averageValue"}.get(field, "value")
            found.append(required(f"{path}.{which}", "must set either a target raw value or a target utilization"))
        if field in ("resource", "containerResource") and len(values) > 1:
            found.append(forbidden_value(f"{path}.averageValue", "may not set both a target raw value and a target utilization"))
        if field in ("resource", "containerResource"):
            found += needed(source.get("name"), f"{at}.{field}.name", "must specify a resource name")
        else:
            metric_of = source.get("metric") or {}
            found += needed(metric_of.get("name"), f"{at}.{field}.metric.name", "must specify a metric name")
            found += selector(metric_of.get("selector"), f"{at}.{field}.metric.selector")
        return found

    @staticmethod
    def _rules(rules: Any, path: str) -> list[Cause]:
        if not isinstance(rules, dict):
            return []
        found = at_least_zero(rules.get("stabilizationWindowSeconds"), f"{path}.stabilizationWindowSeconds")
        if (rules.get("stabilizationWindowSeconds") or 0) > WINDOW_MAX_S:
            found.append(
                invalid_value(
                    f"{path}.stabilizationWindowSeconds", rules["stabilizationWindowSeconds"], f"must be less than or equal to {WINDOW_MAX_S}"
                )
            )
        found += one_of(rules.get("selectPolicy"), f"{path}.selectPolicy", ("Disabled", "Max", "Min"))
        if rules.get("policies") == []:
            found.append(required(f"{path}.policies", "must specify at least one Policy"))
        for at, policy in each(rules.get("policies"), f"{path}.policies"):
            found += one_of(policy.get("type"), f"{at}.type", ("Percent", "Pods"), needed=True)
            found += above_zero(policy.get("value"), f"{at}.value") + above_zero(policy.get("periodSeconds"), f"{at}.periodSeconds")
            if (policy.get("periodSeconds") or 0) > PERIOD_MAX_S:
                found.append(invalid_value(f"{at}.periodSeconds", policy["periodSeconds"], f"must be less than or equal to {PERIOD_MAX_S}"))
        return found


class PodDisruptionBudgetStrategy(Strategy):
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        found: list[Cause] = []
        if least is not None and most is not None:
            found.append(invalid_value("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
        for field, value in (("minAvailable", least), ("maxUnavailable", most)):
            if value is not None:
                found += count_or_percent(value, f"spec.{field}") + over_hundred_percent(value, f"spec.{field}")
        found += selector(spec.get("selector"), "spec.selector")
        return found + one_of(spec.get("unhealthyPodEvictionPolicy"), "spec.unhealthyPodEvictionPolicy", ("AlwaysAllow", "IfHealthyBudget"))
