"""Pods (pkg/registry/core/pod/strategy.go; ValidatePodUpdate): what of a running pod may change, a new one's status, how long a deletion waits."""

import copy
from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, forbidden_value, invalid_value
from apiserver.registry.strategies import warnings
from apiserver.registry.strategies.checks import address, at_least_zero, each, unchanged
from apiserver.registry.strategies.containers import ephemeral_containers
from apiserver.registry.strategies.pod_spec import pod_spec
from apiserver.registry.strategies.resources import quality_of_service
from apiserver.registry.strategies.volumes import volumes
from apiserver.registry.strategy import Strategy

MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
    "negative)"
)
FINISHED = ("Succeeded", "Failed")
SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")


class PodStrategy(Strategy):
    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        spec = obj.get("spec") or {}
        status: Object = {"phase": "Pending", "qosClass": quality_of_service(spec)}
        if spec.get("schedulingGates"):
            status["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                    "lastProbeTime": None,
                    "lastTransitionTime": (obj.get("metadata") or {}).get("creationTimestamp"),
                }
            ]
            status["conditions"][0] = {key: value for key, value in status["conditions"][0].items() if value is not None}
        obj["status"] = status

    def prepare_update(self, new: Object, old: Object) -> None:
        # These have a subresource of their own.
        ephemeral = (old.get("spec") or {}).get("ephemeralContainers")
        if ephemeral is not None:
            new.setdefault("spec", {})["ephemeralContainers"] = ephemeral
        else:
            (new.get("spec") or {}).pop("ephemeralContainers", None)
        super().prepare_update(new, old)

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec")
        if not isinstance(spec, dict):
            return []
        found = pod_spec(spec, "spec")
        if spec.get("ephemeralContainers"):
            found += ephemeral_containers(spec, "spec", volumes(spec.get("volumes"), "")[1])
        return found

    def warnings(self, obj: Object) -> list[str]:
        return warnings.of_name(obj, warnings.IN_HOSTNAME) + warnings.of_pod_spec(obj.get("spec") or {}, "spec")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        if after == before:
            return []
        found: list[Cause] = []
        for kind in ("containers", "initContainers"):
            if len(after.get(kind) or ()) != len(before.get(kind) or ()):
                # Nothing more can be said of pairs.
                return [forbidden_value(f"spec.{kind}", "pod updates may not add or remove containers")]
        found += _deadline(after, before) + _tolerations(after, before)
        allowed = copy.deepcopy(after)
        for field in ("activeDeadlineSeconds", "tolerations"):
            _take(field, allowed, before)
        for kind in ("containers", "initContainers"):
            for one, was in zip(allowed.get(kind) or (), before.get(kind) or (), strict=True):
                _take("image", one, was)
        if (before.get("terminationGracePeriodSeconds") or 0) < 0 and after.get("terminationGracePeriodSeconds") == 1:
            _take("terminationGracePeriodSeconds", allowed, before)
        found += _gates(allowed, before)
        if allowed != before:
            found.append(forbidden_value("spec", MAY_CHANGE))
        return found

    def settle_create(self, obj: Object) -> None:
        # A LimitRange gives requests and limits to containers that had none.
        obj.setdefault("status", {})["qosClass"] = quality_of_service(obj.get("spec") or {})

    def prepare_status_update(self, new: Object, old: Object) -> None:
        super().prepare_status_update(new, old)
        before = (old.get("status") or {}).get("qosClass")
        if before and not (new.get("status") or {}).get("qosClass"):
            new.setdefault("status", {})["qosClass"] = before

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        status, before = new.get("status") or {}, old.get("status") or {}
        found: list[Cause] = []
        for at, condition in each(status.get("conditions"), "status.conditions"):
            if condition.get("type") not in SYSTEM_CONDITIONS:
                found += [invalid_value(f"{at}.Type", condition.get("type"), fault) for fault in names.qualified_name(condition.get("type") or "")]
        found += unchanged(status.get("qosClass"), before.get("qosClass"), "status.qosClass")
        if status.get("podIPs") != before.get("podIPs"):
            found += [cause for at, one in each(status.get("podIPs"), "status.podIPs") for cause in address(one.get("ip"), at)]
        return found

    def grace_period_s(self, obj: Object, asked_s: int | None) -> int:
        spec, phase = obj.get("spec") or {}, (obj.get("status") or {}).get("phase")
        if not spec.get("nodeName") or phase in FINISHED:
            # Nobody runs it: there is nothing to wait for.
            return 0
        period = spec.get("terminationGracePeriodSeconds", 30) if asked_s is None else asked_s
        return 1 if period < 0 else int(period)


def _take(field: str, target: Object, source: Object) -> None:
    if field in source:
        target[field] = copy.deepcopy(source[field])
    else:
        target.pop(field, None)


def _deadline(after: Object, before: Object) -> list[Cause]:
    now, was = after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    path = "spec.activeDeadlineSeconds"
    if now is not None:
        if found := at_least_zero(now, path):
            return found
        if was is not None and now > was:
            return [invalid_value(path, now, "must be less than or equal to previous value")]
    elif was is not None:
        return [invalid_value(path, now, "must not update from a positive integer to nil value")]
    return []


def _tolerations(after: Object, before: Object) -> list[Cause]:
    now, was = after.get("tolerations") or [], before.get("tolerations") or []

    def plain(toleration: Any) -> Object:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    if any(plain(each) not in [plain(one) for one in now] for each in was):
        return [forbidden_value("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")]
    return []


def _gates(allowed: Object, before: Object) -> list[Cause]:
    """Gates only go; while some were there, the node selector and affinity may be narrowed. Takes what is right out of the comparison."""
    now, was = allowed.get("schedulingGates") or [], before.get("schedulingGates") or []
    found = [
        forbidden_value(f"spec.schedulingGates[{index}].name", "only deletion is allowed, but found new scheduling gate " + f"'{gate.get('name')}'")
        for index, gate in enumerate(now)
        if gate not in was
    ]
    if not found:
        _take("schedulingGates", allowed, before)
    if was:
        narrowed = {**(before.get("nodeSelector") or {}), **(allowed.get("nodeSelector") or {})}
        if narrowed == (allowed.get("nodeSelector") or {}):
            _take("nodeSelector", allowed, before)
        if "affinity" not in before:
            _take("affinity", allowed, before)
    return found
