"""Horizontal pod autoscaling: what metrics ask for, how fast it may be done, and the whole round."""

import asyncio
import json

import pytest

from agents.controllers.hpa import AUTOSCALERS, Autoscalers, samples
from agents.controllers.hpa_limits import History, with_behavior, without_behavior
from agents.controllers.hpa_metrics import Failure, Sample, Timing, Tolerances, average_replicas, group, requests_of, utilization_replicas
from apiserver.machinery.resources import resource
from tests.support.controllers import EPOCH_S, running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, deployment

DEPLOYMENTS = resource("deployments.apps")
LONG_AGO = "2025-01-01T00:00:00Z"
WITHIN = Tolerances()


def pod(name, cpu="1", phase="Running", ready="True", since=LONG_AGO, **metadata):
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}, **metadata},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {
            "phase": phase,
            "startTime": since,
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}],
        },
    }


def replicas(current, target, used, *others, within=WITHIN):
    """Ready pods that use so much of their one CPU, and others."""
    pods = [pod(f"p{number}") for number in range(len(used))] + list(others)
    known = {f"p{number}": Sample(milli, EPOCH_S, 30.0) for number, milli in enumerate(used)}
    known |= {each["metadata"]["name"]: Sample(1000, EPOCH_S, 30.0) for each in others if each["metadata"].get("annotations")}
    groups = group(pods, known, "cpu", Timing(), EPOCH_S)
    return utilization_replicas(current, target, pods, known, requests_of(pods, "cpu"), groups, within).replicas


@pytest.mark.parametrize(
    ("current", "target", "used", "wanted"),
    [
        (3, 30, [300, 500, 700], 5),
        (3, 100, [300, 500, 700], 2),
        (3, 50, [520, 540, 500], 3),
        (3, 50, [560, 560, 560], 4),
        (1, 50, [1000], 2),
        (4, 50, [0, 0, 0, 0], 0),
    ],
)
def test_utilization(current, target, used, wanted):
    assert replicas(current, target, used) == wanted


def test_unready_pods_are_idle_when_more_are_wanted():
    unready = pod("new", phase="Pending")
    assert replicas(3, 30, [300, 500, 700]) == 5
    assert replicas(3, 30, [500, 700], unready) == 4
    # That turns the decision around: nothing is done.
    assert replicas(3, 50, [600], pod("a", phase="Pending"), pod("b", phase="Pending")) == 3


def test_pods_without_a_sample_are_busy_when_fewer_are_wanted():
    assert replicas(4, 100, [500, 500, 500]) == 2
    assert replicas(4, 100, [500, 500, 500], pod("silent")) == 3
    assert replicas(2, 50, [900], pod("silent")) == 2


def test_failed_and_leaving_pods_do_not_count():
    assert replicas(2, 50, [1000, 1000], pod("gone", phase="Failed"), pod("going", deletionTimestamp=LONG_AGO)) == 4


def test_nothing_known_is_no_zero():
    with pytest.raises(Failure, match="did not receive metrics"):
        replicas(1, 50, [], pod("silent"))
    with pytest.raises(Failure, match="missing request for cpu in container c of Pod p"):
        requests_of([{"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}], "cpu")


def test_starting_pods_are_not_ready_yet():
    just = "2025-12-31T23:59:40Z"
    timing, known = Timing(), {"p": Sample(1, EPOCH_S - 30, 30.0)}
    assert group([pod("p", since=just)], known, "cpu", timing, EPOCH_S).unready == {"p"}
    assert group([pod("p", since=just)], known, "memory", timing, EPOCH_S).ready == ["p"]
    assert group([pod("p", since=just)], {"p": Sample(1, EPOCH_S + 11, 30.0)}, "cpu", timing, EPOCH_S + 11).ready == ["p"]


def test_average_values():
    groups = group([pod("a"), pod("b")], {name: Sample(0, 0.0, 0.0) for name in "ab"}, "memory", Timing(), EPOCH_S)
    assert average_replicas(2, 100, {"a": Sample(250, 0, 0), "b": Sample(150, 0, 0)}, groups, WITHIN).replicas == 4


def test_a_tolerance_for_each_direction():
    assert replicas(2, 50, [580, 580], within=Tolerances(0.2, 0.0)) == 2
    assert replicas(2, 50, [480, 480], within=Tolerances(0.2, 0.0)) == 2
    assert replicas(4, 50, [440] * 4, within=Tolerances(0.2, 0.1)) == 4


# --- limits -----------------------------------------------------------------------------------------------------------


def test_without_behavior_at_most_twice_as_many():
    limited = without_behavior(3, 20, 1, 30, History(), 300.0, 0.0)
    assert (limited.replicas, limited.limited[0]) == (6, "ScaleUpLimit")
    assert without_behavior(1, 20, 1, 30, History(), 300.0, 0.0).replicas == 4
    assert without_behavior(3, 20, 1, 5, History(), 300.0, 0.0).limited[0] == "TooManyReplicas"
    assert without_behavior(3, 0, 2, 5, History(), 300.0, 0.0).limited[0] == "TooFewReplicas"


def test_down_to_the_greatest_recommendation_of_five_minutes():
    history = History()
    history.recommended(8, 0.0)
    first = without_behavior(10, 2, 1, 30, history, 300.0, 299.0)
    assert (first.replicas, first.able[0]) == (8, "ScaleDownStabilized")
    assert without_behavior(10, 2, 1, 30, history, 300.0, 301.0).replicas == 2


def test_policies_up():
    behavior = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    history = History()
    assert with_behavior(4, 20, 1, 30, behavior, history, 300.0, 0.0).replicas == 6
    history.changed(2, 0.0)
    spent = with_behavior(6, 20, 1, 30, behavior, history, 300.0, 30.0)
    assert (spent.replicas, spent.limited[0]) == (6, "ScaleUpLimit")
    assert with_behavior(6, 20, 1, 30, behavior, history, 300.0, 61.0).replicas == 8


def test_default_policies_double_or_add_four():
    assert with_behavior(1, 20, 1, 30, {}, History(), 300.0, 0.0).replicas == 5
    assert with_behavior(10, 90, 1, 100, {}, History(), 300.0, 0.0).replicas == 20


def test_policies_down_and_which_is_chosen():
    policies = [{"type": "Percent", "value": 10, "periodSeconds": 60}, {"type": "Pods", "value": 4, "periodSeconds": 60}]
    down = {"policies": policies, "stabilizationWindowSeconds": 0}

    def scaled(select):
        return with_behavior(20, 1, 1, 30, {"scaleDown": {**down, "selectPolicy": select}}, History(), 300.0, 0.0).replicas

    assert (scaled("Max"), scaled("Min"), scaled("Disabled")) == (16, 18, 20)


def test_up_only_to_the_least_recommendation_of_its_window():
    history = History()
    history.recommended(5, 0.0)
    behavior = {"scaleUp": {"stabilizationWindowSeconds": 60}}
    first = with_behavior(4, 8, 1, 30, behavior, history, 300.0, 30.0)
    assert (first.replicas, first.able[0]) == (5, "ScaleUpStabilized")
    assert with_behavior(4, 8, 1, 30, behavior, history, 300.0, 61.0).replicas == 8


# --- the round --------------------------------------------------------------------------------------------------------


def usage(name, cpu):
    return {"metadata": {"name": name}, "timestamp": "2026-01-01T00:00:00Z", "window": "30s", "containers": [{"name": "c", "usage": {"cpu": cpu}}]}


def test_samples_of_all_containers_or_none():
    answer = {"items": [usage("a", "250m"), usage("b", "1")]}
    answer["items"][1]["containers"].append({"name": "d", "usage": {}})
    assert samples(answer, "cpu") == {"a": Sample(250, EPOCH_S, 30.0)}


class ScalingApi(FakeApi):
    """With the subresource scale, and metrics."""

    metrics = None

    async def get(self, resource, name, namespace="", *, subresource=""):
        found = await super().get(resource, name, namespace, subresource=subresource)
        if subresource != "scale":
            return found
        return {"metadata": found["metadata"], "spec": {"replicas": found["spec"]["replicas"]}, "status": {"selector": "app=web"}}

    async def update(self, resource, obj, *, subresource=""):
        if subresource != "scale":
            return await super().update(resource, obj, subresource=subresource)
        return self.touch(resource, "default", obj["metadata"]["name"], lambda found: found["spec"].update(replicas=obj["spec"]["replicas"]))

    async def request(self, method, path, *, query=None, **options):
        assert (path, query) == ("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods", {"labelSelector": "app=web"})
        return (200, {}, json.dumps(self.metrics).encode()) if self.metrics is not None else (503, {}, b"")


def autoscaler(**spec):
    target = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "metadata": {"name": "h", "namespace": "default"},
        "spec": {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 10, "metrics": [target], **spec},
    }


def conditions(api):
    return {each["type"]: (each["status"], each["reason"]) for each in api.all(AUTOSCALERS)[0]["status"]["conditions"]}


def test_a_deployment_grows_with_its_load_and_shrinks_late():
    async def work():
        api = ScalingApi()
        api.put(DEPLOYMENTS, deployment(replicas=2))
        for name in ("a", "b"):
            api.put(PODS, pod(name))
        api.put(AUTOSCALERS, autoscaler())
        api.metrics = {"items": [usage("a", "900m"), usage("b", "1")]}
        async with running(api, Autoscalers) as (_, recorder):
            await settle(100)
            assert api.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 4
            assert recorder.told == [
                ("h", "Normal", "SuccessfulRescale", "New size: 4; reason: cpu resource utilization (percentage of request) above target")
            ]
            status = api.all(AUTOSCALERS)[0]["status"]
            assert (status["currentReplicas"], status["desiredReplicas"]) == (2, 4)
            assert status["currentMetrics"][0]["resource"]["current"] == {"averageUtilization": 95, "averageValue": "950m"}
            assert conditions(api) == {
                "AbleToScale": ("True", "SucceededRescale"),
                "ScalingActive": ("True", "ValidMetricFound"),
                "ScalingLimited": ("False", "DesiredWithinRange"),
            }
            for name in ("c", "d"):
                api.put(PODS, pod(name))
            api.metrics = {"items": [usage(name, "100m") for name in "abcd"]}
            await asyncio.sleep(200)
            assert api.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 4
            assert conditions(api)["AbleToScale"] == ("True", "ScaleDownStabilized")
            await asyncio.sleep(200)
            assert api.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 1
            assert recorder.told[-1][3] == "New size: 1; reason: All metrics below target"

    run(work())


def test_who_has_just_come_takes_no_pods_away_for_five_minutes():
    async def work():
        api = ScalingApi()
        api.put(DEPLOYMENTS, deployment(replicas=2))
        for name in ("a", "b"):
            api.put(PODS, pod(name))
        api.put(AUTOSCALERS, autoscaler())
        api.metrics = {"items": [usage(name, "100m") for name in "ab"]}
        async with running(api, Autoscalers):
            await asyncio.sleep(290)
            assert api.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 2
            assert conditions(api)["AbleToScale"] == ("True", "ScaleDownStabilized")
            await asyncio.sleep(30)
            assert api.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 1

    run(work())


@pytest.mark.parametrize(
    ("spec", "type_", "reason"),
    [
        ({"scaleTargetRef": {"apiVersion": "v1", "kind": "Thing", "name": "web"}}, "AbleToScale", "FailedGetScale"),
        ({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "absent"}}, "AbleToScale", "FailedGetScale"),
        ({"metrics": [{"type": "Pods", "pods": {}}]}, "ScalingActive", "FailedGetPodsMetric"),
        ({}, "ScalingActive", "FailedGetResourceMetric"),
    ],
)
def test_what_cannot_be_done_is_said(spec, type_, reason):
    async def work():
        api = ScalingApi()
        api.put(DEPLOYMENTS, deployment(replicas=2))
        api.put(AUTOSCALERS, autoscaler(**spec))
        async with running(api, Autoscalers) as (_, recorder):
            await settle(100)
            assert conditions(api)[type_] == ("False", reason)
            assert reason in recorder.reasons()
            assert api.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 2

    run(work())


def test_zero_switches_it_off_and_limits_hold_without_metrics():
    async def work():
        api = ScalingApi()
        api.put(DEPLOYMENTS, deployment(replicas=0))
        api.put(AUTOSCALERS, autoscaler())
        async with running(api, Autoscalers):
            await settle(100)
            assert conditions(api)["ScalingActive"] == ("False", "ScalingDisabled")
            api.touch(DEPLOYMENTS, "default", "web", lambda found: found["spec"].update(replicas=50))
            await asyncio.sleep(16)
            assert api.all(DEPLOYMENTS)[0]["spec"]["replicas"] == 10

    run(work())
