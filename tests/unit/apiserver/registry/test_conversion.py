"""Conversions between versions lose nothing, and never change what they are given."""

import copy
from typing import Any

import pytest

from apiserver.machinery.resources import resource
from apiserver.registry.conversion import conversion_of
from tests.unit.apiserver.valid import assert_valid

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
PODS = {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}}
SCALER: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "h"},
    "spec": {"maxReplicas": 3, "metrics": [CPU, PODS], "behavior": {"scaleDown": {"selectPolicy": "Min"}}},
    "status": {"currentReplicas": 1, "desiredReplicas": 2, "conditions": [{"type": "AbleToScale", "status": "True"}]},
}
EVENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "e", "namespace": "n"},
    "involvedObject": {"kind": "Pod", "name": "p"},
    "reason": "Started",
    "message": "m",
    "count": 2,
    "source": {"component": "kubelet"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingComponent": "kubelet",
}
REQUEST = {"name": "r", "exactly": {"deviceClassName": "gpu", "count": 1}}
CLAIM = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "c"}, "spec": {"devices": {"requests": [REQUEST]}}}
DEVICE = {"name": "d", "attributes": {"a": {"int": 1}}}
SLICE = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "s"}, "spec": {"devices": [DEVICE]}}

PAIRS = [
    ("horizontalpodautoscalers.autoscaling", SCALER, "autoscaling/v1"),
    ("events", EVENT, "events.k8s.io/v1"),
    ("resourceclaims.resource.k8s.io", CLAIM, "resource.k8s.io/v1beta1"),
    ("resourceslices.resource.k8s.io", SLICE, "resource.k8s.io/v1beta1"),
]


@pytest.mark.parametrize(("kind", "obj", "other"), PAIRS, ids=[kind for kind, _, _ in PAIRS])
def test_there_and_back_is_the_same(kind: str, obj: dict[str, Any], other: str) -> None:
    convert = conversion_of(resource(kind))
    assert convert is not None
    before = copy.deepcopy(obj)
    there = convert(obj, other)
    assert there["apiVersion"] == other and there != obj
    middle = copy.deepcopy(there)
    assert convert(there, obj["apiVersion"]) == obj == before
    assert there == middle
    assert convert(obj, obj["apiVersion"]) == obj


def test_the_old_autoscaler_has_its_one_number() -> None:
    convert = conversion_of(resource("horizontalpodautoscalers.autoscaling"))
    assert convert is not None
    old = convert(SCALER, "autoscaling/v1")
    assert old["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70}
    new = convert({"apiVersion": "autoscaling/v1", "spec": {"maxReplicas": 2, "targetCPUUtilizationPercentage": 50}}, "autoscaling/v2")
    assert new["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 50}


def test_events_have_other_names_in_their_own_group() -> None:
    convert = conversion_of(resource("events"))
    assert convert is not None
    newer = convert(EVENT, "events.k8s.io/v1")
    assert (newer["regarding"]["name"], newer["note"], newer["deprecatedCount"]) == ("p", "m", 2)
    assert newer["reportingController"] == "kubelet" and "involvedObject" not in newer


def test_an_old_event_is_valid_in_the_new_group() -> None:
    convert = conversion_of(resource("events"))
    assert convert is not None
    old = {key: value for key, value in EVENT.items() if key != "eventTime"} | {"lastTimestamp": "2026-01-01T00:00:00Z"}
    newer = convert(old, "events.k8s.io/v1")
    assert newer["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert_valid(newer)


def test_what_is_alike_needs_no_conversion() -> None:
    assert conversion_of(resource("deployments.apps")) is None
