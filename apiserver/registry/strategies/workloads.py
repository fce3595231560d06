"""Deployments, replica sets, replication controllers, stateful sets, daemon sets, revisions (pkg/apis/apps/validation, pkg/apis/core/validation)."""

from typing import Any

from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, forbidden_value, invalid_value, not_supported
from apiserver.registry.strategies import warnings
from apiserver.registry.strategies.checks import (
    at_least_zero,
    count_or_percent,
    is_empty_selector,
    is_zero,
    matches,
    needed,
    one_of,
    over_hundred_percent,
    selector,
    unchanged,
)
from apiserver.registry.strategies.pod_spec import template
from apiserver.registry.strategy import Strategy

DOES_NOT_MATCH = "`selector` does not match template `labels`"


def selected_template(spec: Object, kind: str, claims: set[str] | None = None) -> list[Cause]:
    """A selector that selects its own template's pods, whose restart policy is Always."""
    found: list[Cause] = []
    wanted, made = spec.get("selector"), spec.get("template")
    if isinstance(wanted, dict):
        found += selector(wanted, "spec.selector")
        if is_empty_selector(wanted):
            found.append(invalid_value("spec.selector", wanted, f"empty selector is invalid for {kind}"))
        elif isinstance(made, dict):
            found += _selects(wanted, made)
    return found + template(made, "spec.template", claims) + always(made)


def _selects(wanted: Object, made: Object) -> list[Cause]:
    its_labels = (made.get("metadata") or {}).get("labels") or {}
    return [] if matches(wanted, its_labels) else [invalid_value("spec.template.metadata.labels", its_labels, DOES_NOT_MATCH)]


def always(made: Any) -> list[Cause]:
    spec = (made.get("spec") if isinstance(made, dict) else None) or {}
    found: list[Cause] = []
    if spec.get("restartPolicy") in ("Never", "OnFailure"):
        found.append(not_supported("spec.template.spec.restartPolicy", spec["restartPolicy"], ["Always"]))
    if spec.get("activeDeadlineSeconds") is not None:
        found.append(forbidden_value("spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported"))
    return found


def counts(spec: Object, *fields: str) -> list[Cause]:
    return [cause for field in fields for cause in at_least_zero(spec.get(field), f"spec.{field}")]


def selector_unchanged(new: Object, old: Object) -> list[Cause]:
    return unchanged((new.get("spec") or {}).get("selector"), (old.get("spec") or {}).get("selector"), "spec.selector")


class Workload(Strategy):
    """Makes pods of a template."""

    def warnings(self, obj: Object) -> list[str]:
        return warnings.of_name(obj) + warnings.of_template((obj.get("spec") or {}).get("template"), "spec.template")


class DeploymentStrategy(Workload):
    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = counts(spec, "replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
        found += selected_template(spec, "deployment") + self._strategy(spec.get("strategy") or {})
        deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
        if isinstance(deadline, int) and deadline <= ready:
            found.append(invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
        return found

    @staticmethod
    def _strategy(value: Object) -> list[Cause]:
        path = "spec.strategy"
        rolling = value.get("rollingUpdate")
        if value.get("type") == "Recreate" and rolling is not None:
            return [forbidden_value(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")]
        found = one_of(value.get("type"), f"{path}.type", ("Recreate", "RollingUpdate"))
        if value.get("type") == "RollingUpdate" and isinstance(rolling, dict):
            found += rolling_update(rolling, f"{path}.rollingUpdate")
        return found

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        status = new.get("status") or {}
        found = at_least_zero(status.get("unavailableReplicas"), "status.unavailableReplicas")
        return found + status_counts(status, "updatedReplicas", "readyReplicas", "availableReplicas")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return selector_unchanged(new, old)


def rolling_update(value: Object, path: str) -> list[Cause]:
    unavailable, surge = value.get("maxUnavailable"), value.get("maxSurge")
    found = count_or_percent(unavailable, f"{path}.maxUnavailable") + count_or_percent(surge, f"{path}.maxSurge")
    if unavailable is not None and surge is not None and is_zero(unavailable) and is_zero(surge):
        found.append(invalid_value(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return found + over_hundred_percent(unavailable, f"{path}.maxUnavailable")


class ReplicaSetStrategy(Workload):
    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        return counts(spec, "replicas", "minReadySeconds") + selected_template(spec, "deployment")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return selector_unchanged(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        return status_counts(new.get("status") or {}, "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def status_counts(status: Object, *fields: str, ready: str = "readyReplicas") -> list[Cause]:
    """Counts of pods in a status: none is negative or above `replicas`; what is available is ready. `ready`: how the message calls that field."""
    found = [cause for name in ("replicas", *fields) for cause in at_least_zero(status.get(name), f"status.{name}")]
    replicas, available = status.get("replicas") or 0, status.get("availableReplicas") or 0
    above = [name for name in fields if (status.get(name) or 0) > replicas]
    found += [invalid_value(f"status.{name}", status.get(name) or 0, "cannot be greater than status.replicas") for name in above]
    if available > (status.get("readyReplicas") or 0):
        found.append(invalid_value("status.availableReplicas", available, f"cannot be greater than {ready}"))
    return found


class ReplicationControllerStrategy(ReplicaSetStrategy):
    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = (
            counts(spec, "replicas", "minReadySeconds")
            + needed(spec.get("selector"), "spec.selector")
            + needed(spec.get("template"), "spec.template")
        )
        made = spec.get("template")
        if isinstance(made, dict):
            if spec.get("selector"):
                found += _selects({"matchLabels": spec["selector"]}, made)
            found += template(made, "spec.template") + always(made)
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return []


class DaemonSetStrategy(Workload):
    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = counts(spec, "minReadySeconds", "revisionHistoryLimit") + selected_template(spec, "daemonset")
        strategy = spec.get("updateStrategy") or {}
        found += one_of(strategy.get("type"), "spec.updateStrategy.type", ("OnDelete", "RollingUpdate"))
        rolling = strategy.get("rollingUpdate")
        if strategy.get("type") == "RollingUpdate" and isinstance(rolling, dict):
            path = "spec.updateStrategy.rollingUpdate"
            unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
            found += count_or_percent(unavailable, f"{path}.maxUnavailable") + count_or_percent(surge, f"{path}.maxSurge")
            has_unavailable, has_surge = not is_zero(unavailable or 0), not is_zero(surge or 0)
            if has_unavailable and has_surge:
                found.append(invalid_value(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
            elif not has_unavailable and not has_surge:
                found.append(invalid_value(f"{path}.maxUnavailable", unavailable, "cannot be 0 when maxSurge is 0"))
        return found

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        status = new.get("status") or {}
        fields = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "updatedNumberScheduled")
        names = (*fields, "numberAvailable", "numberUnavailable")
        return [cause for name in names for cause in at_least_zero(status.get(name), f"status.{name}")]

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return selector_unchanged(new, old)


class StatefulSetStrategy(Workload):
    MAY_CHANGE = (
        *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"),
    )

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        claims = {str((each.get("metadata") or {}).get("name")) for each in spec.get("volumeClaimTemplates") or ()}
        found = counts(spec, "replicas", "minReadySeconds", "revisionHistoryLimit") + selected_template(spec, "statefulset", claims)
        if spec.get("podManagementPolicy") not in (None, "OrderedReady", "Parallel"):
            found.append(invalid_value("spec.podManagementPolicy", spec["podManagementPolicy"], "must be 'OrderedReady' or 'Parallel'"))
        strategy = spec.get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate")
        if strategy.get("type") == "OnDelete" and rolling is not None:
            found.append(invalid_value("spec.updateStrategy.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'"))
        elif strategy.get("type") not in (None, "OnDelete", "RollingUpdate"):
            found.append(invalid_value("spec.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'"))
        elif isinstance(rolling, dict):
            found += at_least_zero(rolling.get("partition"), "spec.updateStrategy.rollingUpdate.partition")
        policy = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        for field in ("whenDeleted", "whenScaled"):
            found += one_of(policy.get(field), f"spec.persistentVolumeClaimRetentionPolicy.{field}", ("Delete", "Retain"))
        return found + at_least_zero((spec.get("ordinals") or {}).get("start"), "spec.ordinals.start")

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        fields = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
        return status_counts(new.get("status") or {}, *fields, ready="status.readyReplicas")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        after, before = ({key: value for key, value in (each.get("spec") or {}).items() if key not in self.MAY_CHANGE} for each in (new, old))
        if after == before:
            return []
        told = (
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
            "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        )
        return [forbidden_value("spec", told)]


class ControllerRevisionStrategy(Strategy):
    has_status = False
    counts_generation = False

    def validate(self, obj: Object) -> list[Cause]:
        return needed(obj.get("data"), "data", "data is mandatory") + at_least_zero(obj.get("revision"), "revision")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(new.get("data"), old.get("data"), "data")


class PodTemplateStrategy(Strategy):
    has_status = False

    def validate(self, obj: Object) -> list[Cause]:
        return template(obj.get("template"), "template")
