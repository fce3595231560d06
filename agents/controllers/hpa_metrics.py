"""How many replicas a metric asks for (pkg/controller/podautoscaler/replica_calculator.go). Pure.

Pods that are not ready, or whose usage is not known, must not make a bad thing worse: they are thought idle when more pods are wanted, and busy when
fewer are; if that turns the decision around, nothing is done.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil

from msgspec import Struct

from agents.kit.times import to_seconds
from apiserver.machinery.conditions import condition
from apiserver.machinery.objects import Object, is_terminating, name_of
from apiserver.machinery.quantity import parse

SLACK = 1e-9
"""Ratios come from divisions: 3.0000000001 pods are three."""


class Failure(Exception):
    """The metric says nothing: `reason` is that of the condition ScalingActive (FailedGetResourceMetric, ...)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Sample(Struct, frozen=True):
    """Usage of one pod: thousandths of a CPU, or bytes times a thousand; over the `window_s` before `at_s`."""

    milli: int
    at_s: float
    window_s: float


class Timing(Struct, frozen=True):
    """--horizontal-pod-autoscaler-cpu-initialization-period and -initial-readiness-delay."""

    cpu_initialization_s: float = 300.0
    readiness_delay_s: float = 30.0


class Groups(Struct, frozen=True):
    ready: list[str]
    unready: set[str]
    missing: set[str]
    ignored: set[str]


class Tolerances(Struct, frozen=True):
    up: float = 0.1
    down: float = 0.1

    def holds(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Proposal(Struct, frozen=True):
    """`current` is what the metric is now: percent of requests (`utilization`), and the average as thousandths."""

    replicas: int
    utilization: int | None
    average_milli: int


def group(pods: Sequence[Object], samples: Mapping[str, Sample], resource: str, timing: Timing, now_s: float) -> Groups:
    found = Groups([], set(), set(), set())
    for pod in pods:
        name, status = name_of(pod), pod.get("status") or {}
        if is_terminating(pod) or status.get("phase") == "Failed":
            found.ignored.add(name)
        elif status.get("phase") == "Pending":
            found.unready.add(name)
        elif name not in samples:
            found.missing.add(name)
        elif resource == "cpu" and _starting(status, samples[name], timing, now_s):
            found.unready.add(name)
        else:
            found.ready.append(name)
    return found


def _starting(status: Object, sample: Sample, timing: Timing, now_s: float) -> bool:
    """A pod that starts uses much, and says nothing of how it will go on."""
    ready, started = condition(status, "Ready"), to_seconds(status.get("startTime"))
    if ready is None or not started:
        return True
    since_s = to_seconds(ready.get("lastTransitionTime"))
    if started + timing.cpu_initialization_s > now_s:
        return ready.get("status") == "False" or sample.at_s < since_s + sample.window_s
    return ready.get("status") == "False" and started + timing.readiness_delay_s > since_s


def requests_of(pods: Sequence[Object], resource: str, container: str = "") -> dict[str, int]:
    """Thousandths by pod name. Raises Failure for a container that asks for nothing."""
    found: dict[str, int] = {}
    for pod in pods:
        spec = pod.get("spec") or {}
        sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
        total = 0
        for each in [*(spec.get("containers") or ()), *sidecars]:
            if container and each["name"] != container:
                continue
            asked = ((each.get("resources") or {}).get("requests") or {}).get(resource)
            if asked is None:
                raise Failure("FailedGetResourceMetric", f"missing request for {resource} in container {each['name']} of Pod {name_of(pod)}")
            total += parse(asked).milli_value
        found[name_of(pod)] = total
    return found


def utilization_replicas(
    current: int, target: int, pods: Sequence[Object], samples: Mapping[str, Sample], requests: Mapping[str, int], groups: Groups, within: Tolerances
) -> Proposal:
    """`target` in percent of the requests. Raises Failure."""

    def ratio(values: Mapping[str, int]) -> float:
        total = sum(requests[name] for name in values)
        if not total:
            raise Failure("FailedGetResourceMetric", "no metrics returned matched known pods")
        return sum(values.values()) * 100 // total / target

    used = {name: samples[name].milli for name in groups.ready}
    _some(used)
    asked = sum(requests[name] for name in used)
    if not asked:
        raise Failure("FailedGetResourceMetric", "no metrics returned matched known pods")
    percent = sum(used.values()) * 100 // asked
    busy = {name: requests[name] * max(100, target) // 100 for name in groups.missing}
    return Proposal(_replicas(current, used, groups, busy, ratio, within), percent, sum(used.values()) // len(used))


def average_replicas(current: int, target_milli: int, samples: Mapping[str, Sample], groups: Groups, within: Tolerances) -> Proposal:
    """`target_milli` a pod. Raises Failure."""

    def ratio(values: Mapping[str, int]) -> float:
        return sum(values.values()) / len(values) / target_milli

    used = {name: samples[name].milli for name in groups.ready}
    _some(used)
    busy = dict.fromkeys(groups.missing, target_milli)
    return Proposal(_replicas(current, used, groups, busy, ratio, within), None, sum(used.values()) // len(used))


def _some(used: Mapping[str, int]) -> None:
    if not used:
        raise Failure("FailedGetResourceMetric", "did not receive metrics for targeted pods (pods might be unready)")


def _replicas(
    current: int,
    used: Mapping[str, int],
    groups: Groups,
    busy: Mapping[str, int],
    ratio: Callable[[Mapping[str, int]], float],
    within: Tolerances,
) -> int:
    first = ratio(used)
    up_with_unready = bool(groups.unready) and first > 1.0
    if not up_with_unready and not groups.missing:
        return current if within.holds(first) else ceil(first * len(used) - SLACK)
    supposed = dict(used)
    if groups.missing:
        supposed |= busy if first < 1.0 else dict.fromkeys(groups.missing, 0) if first > 1.0 else {}
    if up_with_unready:
        supposed |= dict.fromkeys(groups.unready, 0)
    second = ratio(supposed)
    if within.holds(second) or (first < 1.0 < second) or (first > 1.0 > second):
        return current
    wanted = ceil(second * len(supposed) - SLACK)
    if (second < 1.0 and wanted > current) or (second > 1.0 and wanted < current):
        return current
    return wanted
