"""From one version of a kind to another: most differ by `apiVersion` alone, these few by their fields.

Sources: pkg/apis/autoscaling/v1/conversion.go, pkg/apis/core/v1/conversion.go and pkg/apis/events, pkg/apis/resource/v1beta1/conversion.go. What an
older version has no field for is kept in an annotation, so that nothing is lost by being read and written in it. A conversion never changes its
argument.
"""

import copy
from collections.abc import Callable
from typing import Any

import msgspec

from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource

Convert = Callable[[Object, str], Object]
"""(object in any version, the apiVersion wanted) -> the object in that version."""

ALPHA = "autoscaling.alpha.kubernetes.io/"


def conversion_of(resource: Resource) -> Convert | None:
    """None: versions differ by apiVersion alone."""
    return CONVERSIONS.get(resource.qualified)


def renamed(obj: Object, api_version: str) -> Object:
    return {**copy.deepcopy(obj), "apiVersion": api_version}


# --- horizontal pod autoscalers ---------------------------------------------------------------------------------------


def autoscaler(obj: Object, api_version: str) -> Object:
    made = renamed(obj, api_version)
    if obj.get("apiVersion") == api_version:
        return made
    return _autoscaler_v1(made) if api_version == "autoscaling/v1" else _autoscaler_v2(made)


def _is_cpu(metric: Object) -> bool:
    resource = metric.get("resource") or {}
    return metric.get("type") == "Resource" and resource.get("name") == "cpu"


def _note(obj: Object, name: str, value: Any) -> None:
    if value:
        obj.setdefault("metadata", {}).setdefault("annotations", {})[ALPHA + name] = msgspec.json.encode(value).decode()


def _noted(obj: Object, name: str) -> Any:
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    text = annotations.pop(ALPHA + name, None)
    if not annotations:
        (obj.get("metadata") or {}).pop("annotations", None)
    try:
        return msgspec.json.decode(text) if text else None
    except msgspec.DecodeError:
        return None


def _autoscaler_v1(obj: Object) -> Object:
    spec, status = obj.setdefault("spec", {}), obj.get("status") or {}
    rest = []
    for metric in spec.pop("metrics", None) or ():
        target = (metric.get("resource") or {}).get("target") or {}
        if _is_cpu(metric) and target.get("type") == "Utilization" and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = target.get("averageUtilization")
        else:
            rest.append(metric)
    _note(obj, "metrics", rest)
    _note(obj, "behavior", spec.pop("behavior", None))
    _note(obj, "conditions", status.pop("conditions", None))
    left = []
    for metric in status.pop("currentMetrics", None) or ():
        current = ((metric.get("resource") or {}).get("current") or {}).get("averageUtilization")
        if _is_cpu(metric) and current is not None and "currentCPUUtilizationPercentage" not in status:
            status["currentCPUUtilizationPercentage"] = current
        left.append(metric)
    _note(obj, "current-metrics", left)
    if status:
        status.setdefault("currentReplicas", 0)
        status.setdefault("desiredReplicas", 0)
    return obj


def _autoscaler_v2(obj: Object) -> Object:
    spec, status = obj.setdefault("spec", {}), obj.get("status") or {}
    metrics = _noted(obj, "metrics") or []
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
    if metrics:
        spec["metrics"] = metrics
    behavior = _noted(obj, "behavior")
    if behavior:
        spec["behavior"] = behavior
    current, conditions = _noted(obj, "current-metrics"), _noted(obj, "conditions")
    percent = status.pop("currentCPUUtilizationPercentage", None)
    if current is None and percent is not None:
        current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}}]
    if current:
        status["currentMetrics"] = current
    if conditions:
        status["conditions"] = conditions
    return obj


# --- events -----------------------------------------------------------------------------------------------------------

EVENT_FIELDS = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
"""The core group's name of a field, and that of events.k8s.io."""


def event(obj: Object, api_version: str) -> Object:
    made = renamed(obj, api_version)
    if obj.get("apiVersion") == api_version:
        return made
    for core, newer in EVENT_FIELDS:
        before, after = (core, newer) if api_version != "v1" else (newer, core)
        if before in made:
            made[after] = made.pop(before)
    if api_version == "v1":
        made.setdefault("involvedObject", {})
    else:
        # The schema requires it, typed clients refuse the null that Go would write, and events of the old kind have none.
        if not made.get("eventTime"):
            when = made.get("deprecatedLastTimestamp") or (made.get("metadata") or {}).get("creationTimestamp") or "1970-01-01T00:00:00Z"
            made["eventTime"] = f"{when.removesuffix('Z')}.000000Z"
    return made


# --- dynamic resources ------------------------------------------------------------------------------------------------

OF_THE_REQUEST = ("deviceClassName", "selectors", "allocationMode", "count", "adminAccess", "tolerations", "capacity")
BETA1 = "resource.k8s.io/v1beta1"


def resource_claim(obj: Object, api_version: str) -> Object:
    """In v1beta1 a request for one kind of device has its fields in itself, later in `exactly`."""
    made = renamed(obj, api_version)
    spec = made.get("spec") or {}
    if isinstance(spec.get("spec"), dict):
        spec = spec["spec"]
    for request in (spec.get("devices") or {}).get("requests") or ():
        if api_version == BETA1 and "exactly" in request:
            request.update(request.pop("exactly"))
        elif api_version != BETA1 and "deviceClassName" in request:
            request["exactly"] = {name: request.pop(name) for name in OF_THE_REQUEST if name in request}
    return made


def resource_slice(obj: Object, api_version: str) -> Object:
    """In v1beta1 a device's properties stand in `basic`."""
    made = renamed(obj, api_version)
    devices = (made.get("spec") or {}).get("devices") or []
    for index, device in enumerate(devices):
        if api_version == BETA1 and "basic" not in device:
            devices[index] = {"name": device.get("name", ""), "basic": {name: value for name, value in device.items() if name != "name"}}
        elif api_version != BETA1 and "basic" in device:
            devices[index] = {"name": device.get("name", ""), **device["basic"]}
    return made


CONVERSIONS: dict[str, Convert] = {
    "horizontalpodautoscalers.autoscaling": autoscaler,
    "events": event,
    "events.events.k8s.io": event,
    "resourceclaims.resource.k8s.io": resource_claim,
    "resourceclaimtemplates.resource.k8s.io": resource_claim,
    "resourceslices.resource.k8s.io": resource_slice,
}
