"""Horizontal pod autoscaling, v2 (pkg/controller/podautoscaler): metrics of the pods in, the target's scale out, every fifteen seconds.

Resource and ContainerResource metrics come from metrics.k8s.io, which the API server gathers from the nodes' agents. Pods, Object and External
metrics need an adapter that nobody runs here: they are refused in the conditions.
"""

import argparse
import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from agents.controllers import hpa_metrics as metrics
from agents.controllers.hpa_limits import History, Limited, with_behavior, without_behavior
from agents.controllers.hpa_metrics import Failure, Proposal, Sample, Timing, Tolerances
from agents.controllers.pods import PODS
from agents.kit.actions import NORMAL, WARNING
from agents.kit.controller import Context, Controller
from agents.kit.flags import Flags, duration_s
from agents.kit.times import to_seconds, to_text
from apiserver.client.errors import Unreachable
from apiserver.machinery.conditions import with_condition
from apiserver.machinery.objects import Object, labels_of, name_of, namespace_of
from apiserver.machinery.quantity import Quantity, parse
from apiserver.machinery.resources import Resource, built_in, resource
from apiserver.machinery.selectors import parse_labels
from apiserver.machinery.status import ApiError

AUTOSCALERS = resource("horizontalpodautoscalers.autoscaling", "v2")
PERIOD_S = 15.0
DOWN_STABILIZATION_S = 300.0


class Settings(Struct, frozen=True):
    period_s: float = PERIOD_S
    down_stabilization_s: float = DOWN_STABILIZATION_S
    tolerance: float = 0.1
    timing: Timing = Timing()


DEFAULTS = Settings()


def flags(given: Flags) -> None:
    prefix = "--horizontal-pod-autoscaler"
    given.duration(f"{prefix}-sync-period", PERIOD_S, "how often metrics are looked at")
    given.duration(
        f"{prefix}-downscale-stabilization", DOWN_STABILIZATION_S, "how long a higher recommendation is remembered before fewer pods are run"
    )
    given.add_argument(f"{prefix}-tolerance", type=float, default=0.1, help="how far from the target a metric may be before anything is done")
    given.duration(f"{prefix}-cpu-initialization-period", Timing().cpu_initialization_s, "how long CPU of starting pods says little")
    given.duration(f"{prefix}-initial-readiness-delay", Timing().readiness_delay_s, "how long after its start unreadiness counts as initial")


class Scale(Struct, frozen=True):
    target: Resource
    object: Object

    @property
    def replicas(self) -> int:
        return int((self.object.get("spec") or {}).get("replicas") or 0)

    @property
    def selector(self) -> str:
        return str((self.object.get("status") or {}).get("selector") or "")


def target_of(hpa: Object) -> Resource:
    """Raises Failure."""
    reference = (hpa.get("spec") or {}).get("scaleTargetRef") or {}
    group, _, version = str(reference.get("apiVersion") or "").rpartition("/")
    for each in built_in():
        if (each.group, each.version, each.kind) == (group, version, reference.get("kind")) and each.subresource("scale") is not None:
            return each
    told = f'no matches for kind "{reference.get("kind")}" in group "{group}"'
    raise Failure("FailedGetScale", f"the HPA controller was unable to get the target's current scale: {told}")


def samples(answer: Mapping[str, Any], resource_name: str, container: str = "") -> dict[str, Sample]:
    """Usage by pod name out of a PodMetricsList; pods without a number for one of their containers are left out."""
    found: dict[str, Sample] = {}
    for item in answer.get("items") or ():
        values = [each for each in item.get("containers") or () if not container or each.get("name") == container]
        used = [(each.get("usage") or {}).get(resource_name) for each in values]
        if not used or any(each is None for each in used):
            continue
        window_s = duration_s(item.get("window") or "0")
        total = sum(parse(each).milli_value for each in used)
        found[name_of(item)] = Sample(total, to_seconds(item.get("timestamp")), window_s)
    return found


class Recommendation(Struct, frozen=True):
    """`status` is the entry of currentMetrics; `name` what an event calls the metric."""

    replicas: int
    name: str
    status: Object


def recommend(
    spec: Object, current: int, pods: Sequence[Object], answer: Mapping[str, Any] | Failure, within: Tolerances, timing: Timing, now_s: float
) -> Recommendation:
    """What one entry of spec.metrics asks for. Raises Failure."""
    kind = spec.get("type")
    field = {"Resource": "resource", "ContainerResource": "containerResource"}.get(str(kind))
    if field is None:
        told = f"unable to get {str(kind).lower()} metric: no custom or external metrics API is registered"
        raise Failure(f"FailedGet{kind}Metric", told)
    source = spec.get(field) or {}
    name, container, target = source["name"], source.get("container") or "", source.get("target") or {}
    if isinstance(answer, Failure):
        raise answer
    measured = samples(answer, name, container)
    if not measured:
        raise Failure("FailedGetResourceMetric", f"unable to get metrics for resource {name}: no metrics returned from resource metrics API")
    groups = metrics.group(pods, measured, name, timing, now_s)
    if target.get("averageUtilization") is not None:
        counted = [pod for pod in pods if name_of(pod) not in groups.ignored]
        requests = metrics.requests_of(counted, name, container)
        proposal = metrics.utilization_replicas(current, target["averageUtilization"], pods, measured, requests, groups, within)
        called = f"{name} {'container ' if container else ''}resource utilization (percentage of request)"
    else:
        proposal = metrics.average_replicas(current, parse(target["averageValue"]).milli_value, measured, groups, within)
        called = f"{name} {'container ' if container else ''}resource"
    entry = {"name": name, "current": _current(name, proposal)} | ({"container": container} if container else {})
    return Recommendation(proposal.replicas, called, {"type": kind, field: entry})


def _current(name: str, proposal: Proposal) -> Object:
    found: Object = {"averageValue": str(Quantity.from_milli(proposal.average_milli))}
    if proposal.utilization is not None:
        found["averageUtilization"] = proposal.utilization
    return found


class Autoscalers(Controller):
    name = "horizontal-pod-autoscaler-controller"
    component = "horizontal-pod-autoscaler"
    workers = 5

    def __init__(self, context: Context, settings: Settings = DEFAULTS) -> None:
        self.settings = settings
        self.histories: dict[str, History] = {}
        super().__init__(context)

    @classmethod
    def made(cls, context: Context, arguments: argparse.Namespace) -> "Autoscalers":
        timing = Timing(arguments.horizontal_pod_autoscaler_cpu_initialization_period, arguments.horizontal_pod_autoscaler_initial_readiness_delay)
        settings = Settings(
            arguments.horizontal_pod_autoscaler_sync_period,
            arguments.horizontal_pod_autoscaler_downscale_stabilization,
            arguments.horizontal_pod_autoscaler_tolerance,
            timing,
        )
        made = cls(context, settings)
        made.workers = arguments.concurrent_horizontal_pod_autoscaler_syncs
        return made

    def watch(self) -> None:
        # Changes of the status are our own: the rounds look often enough.
        self.autoscalers = self.watched(AUTOSCALERS)
        self.autoscalers.handle(add=self.enqueue)
        self.pods = self.watched(PODS)

    def background(self) -> Sequence[tuple[str, Coroutine[Any, Any, None]]]:
        return (("rounds", self._rounds()),)

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(self.settings.period_s)
            for hpa in self.autoscalers.all():
                self.enqueue(hpa)

    async def sync(self, key: str) -> float | None:
        hpa = self.autoscalers.get(key)
        if hpa is None:
            self.histories.pop(key, None)
            return None
        history = self.histories.setdefault(key, History())
        status = await self._round(hpa, history)
        if status != (hpa.get("status") or {}):
            await self.client.update(AUTOSCALERS, {**hpa, "status": status}, subresource="status")
        return None

    async def _round(self, hpa: Object, history: History) -> Object:
        """The new status; the target is scaled on the way."""
        now = to_text(self.context.now_s())
        status = dict(hpa.get("status") or {})
        status["observedGeneration"] = hpa["metadata"].get("generation", 0)
        said = Conditions(list(status.get("conditions") or ()), now)
        try:
            scale = await self._scale(hpa)
        except Failure as failure:
            said.say("AbleToScale", "False", failure.reason, str(failure))
            self.recorder.event(hpa, WARNING, failure.reason, str(failure))
            return {**status, "desiredReplicas": status.get("desiredReplicas", 0), "conditions": said.all}
        said.say("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
        history.begin(scale.replicas, self.context.monotonic_s())
        wanted, reason = await self._wanted(hpa, scale, history, status, said)
        if wanted is None:
            wanted = scale.replicas
        elif wanted != scale.replicas:
            wanted = await self._rescale(hpa, scale, wanted, reason, history, status, said)
        status |= {"currentReplicas": scale.replicas, "desiredReplicas": wanted, "conditions": said.all}
        return status

    async def _scale(self, hpa: Object) -> Scale:
        target = target_of(hpa)
        name = hpa["spec"]["scaleTargetRef"]["name"]
        try:
            return Scale(target, await self.client.get(target, name, namespace_of(hpa), subresource="scale"))
        except (ApiError, Unreachable) as error:
            raise Failure("FailedGetScale", f"the HPA controller was unable to get the target's current scale: {error}") from error

    async def _wanted(self, hpa: Object, scale: Scale, history: History, status: Object, said: "Conditions") -> tuple[int | None, str]:
        """The size the target shall have, and why; None if nobody can tell."""
        spec, current = hpa["spec"], scale.replicas
        least, most = spec.get("minReplicas") or 1, spec["maxReplicas"]
        if current == 0 and least != 0:
            said.say("ScalingActive", "False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
            return 0, ""
        if current > most:
            return most, "Current number of replicas above Spec.MaxReplicas"
        if current < least:
            return least, "Current number of replicas below Spec.MinReplicas"
        found = await self._recommendations(hpa, scale, status, said)
        if found is None:
            return None, ""
        wanted = found.replicas
        reason = f"{found.name} above target" if wanted > current else "All metrics below target" if wanted < current else ""
        limited = self._limited(spec, current, wanted, least, most, history)
        said.say("AbleToScale", "True", *limited.able)
        said.say("ScalingLimited", "True" if limited.is_limited else "False", *limited.limited)
        return limited.replicas, reason

    def _limited(self, spec: Object, current: int, wanted: int, least: int, most: int, history: History) -> Limited:
        now_s, window_s = self.context.monotonic_s(), self.settings.down_stabilization_s
        behavior = spec.get("behavior")
        if behavior is None:
            limited = without_behavior(current, wanted, least, most, history, window_s, now_s)
        else:
            limited = with_behavior(current, wanted, least, most, behavior, history, window_s, now_s)
        history.recommended(wanted, now_s)
        return limited

    async def _recommendations(self, hpa: Object, scale: Scale, status: Object, said: "Conditions") -> Recommendation | None:
        """The largest that a metric asks for. If one says nothing, more pods may be run all the same, but not fewer."""
        spec, current = hpa["spec"], scale.replicas
        behavior = spec.get("behavior") or {}
        within = Tolerances(*(_tolerance(behavior.get(field) or {}, self.settings.tolerance) for field in ("scaleUp", "scaleDown")))
        answer = await self._answer(hpa, scale)
        selector = parse_labels(scale.selector)
        pods = [pod for pod in self.pods.all(namespace_of(hpa)) if selector.matches(labels_of(pod))]
        found: list[Recommendation] = []
        failures: list[Failure] = []
        listed = spec.get("metrics") or ()
        for each in listed:
            try:
                found.append(recommend(each, current, pods, answer, within, self.settings.timing, self.context.now_s()))
            except Failure as failure:
                failures.append(failure)
        status["currentMetrics"] = [each.status for each in found]
        best = max(found, key=lambda each: each.replicas, default=None)
        if failures and (best is None or best.replicas < current):
            self._tell_failures(hpa, failures, len(listed), said)
            return None
        if best is None:
            return None
        told = f"the HPA was able to successfully calculate a replica count from {best.name}"
        said.say("ScalingActive", "True", "ValidMetricFound", told)
        return best

    def _tell_failures(self, hpa: Object, failures: Sequence[Failure], total: int, said: "Conditions") -> None:
        first = failures[0]
        said.say("ScalingActive", "False", first.reason, f"the HPA was unable to compute the replica count: {first}")
        self.recorder.event(hpa, WARNING, first.reason, str(first))
        told = f"invalid metrics ({len(failures)} invalid out of {total}), first error is: {first}"
        self.recorder.event(hpa, WARNING, "FailedComputeMetricsReplicas", told)

    async def _answer(self, hpa: Object, scale: Scale) -> Mapping[str, Any] | Failure:
        """Usage of the target's pods, as the API server gathers it."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace_of(hpa)}/pods"
        try:
            code, _, body = await self.client.request("GET", path, query={"labelSelector": scale.selector})
        except (ApiError, Unreachable) as error:
            return Failure("FailedGetResourceMetric", f"unable to fetch metrics from resource metrics API: {error}")
        if code != 200:
            return Failure("FailedGetResourceMetric", f"unable to fetch metrics from resource metrics API: the server answered {code}")
        decoded: Mapping[str, Any] = msgspec.json.decode(body)
        return decoded

    async def _rescale(self, hpa: Object, scale: Scale, wanted: int, reason: str, history: History, status: Object, said: "Conditions") -> int:
        changed = {**scale.object, "spec": {**(scale.object.get("spec") or {}), "replicas": wanted}}
        try:
            await self.client.update(scale.target, changed, subresource="scale")
        except (ApiError, Unreachable) as error:
            said.say("AbleToScale", "False", "FailedUpdateScale", f"the HPA controller was unable to update the target scale: {error}")
            self.recorder.event(hpa, WARNING, "FailedRescale", f"New size: {wanted}; reason: {reason}; error: {error}")
            return scale.replicas
        said.say("AbleToScale", "True", "SucceededRescale", f"the HPA controller was able to update the target scale to {wanted}")
        self.recorder.event(hpa, NORMAL, "SuccessfulRescale", f"New size: {wanted}; reason: {reason}")
        history.changed(wanted - scale.replicas, self.context.monotonic_s())
        status["lastScaleTime"] = to_text(self.context.now_s())
        return wanted


class Conditions:
    """Those of a status, as they are being said in one round; the last word counts."""

    def __init__(self, before: list[Object], now: str) -> None:
        self._before, self._now = before, now
        self._said: dict[str, Object] = {}

    def say(self, type_: str, status: str, reason: str, message: str) -> None:
        self._said[type_] = {"type": type_, "status": status, "reason": reason, "message": message}

    @property
    def all(self) -> list[Object]:
        found = self._before
        for each in self._said.values():
            found = with_condition(found, each, self._now)
            found = [{**one, "message": each["message"]} if one["type"] == each["type"] else one for one in found]
        return sorted(found, key=lambda each: each["type"])


def _tolerance(rules: Mapping[str, Any], default: float) -> float:
    given = rules.get("tolerance")
    return default if given is None else float(parse(given).amount)
