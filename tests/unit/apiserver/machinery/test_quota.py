"""What objects count for a quota."""

import pytest

from apiserver.machinery.quota import in_scope, is_best_effort, pod_amounts, resources_of, usage, used


def pod(cpu="", limit="", phase="Running", **spec):
    resources = {"requests": {"cpu": cpu} if cpu else {}, "limits": {"cpu": limit} if limit else {}}
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}], **spec}, "status": {"phase": phase}}


def text(found):
    return {name: str(amount) for name, amount in found.items()}


def test_which_resources_a_quota_is_about():
    hard = {
        "pods": 1,
        "requests.cpu": 1,
        "count/deployments.apps": 1,
        "services.nodeports": 1,
        "gold.storageclass.storage.k8s.io/requests.storage": 1,
    }
    assert resources_of(hard) == {"pods", "deployments.apps", "services", "persistentvolumeclaims"}


def test_a_pod():
    assert text(usage("pods", pod("500m", "1"))) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "500m",
        "requests.cpu": "500m",
        "limits.cpu": "1",
    }


def test_a_finished_pod_counts_as_an_object_alone():
    assert text(usage("pods", pod("1", phase="Succeeded"))) == {"count/pods": "1"}


def test_init_containers_sidecars_and_overhead():
    found = pod("100m", initContainers=[{"resources": {"requests": {"cpu": "1"}}}], overhead={"cpu": "50m", "memory": "1Mi"})
    assert text(pod_amounts(found, "requests")) == {"cpu": "1050m", "memory": "1Mi"}
    assert pod_amounts(found, "limits") == {}


def test_services():
    ports = [{"port": 1}, {"port": 2}]
    assert text(usage("services", {"spec": {"type": "LoadBalancer", "ports": ports}})) == {
        "count/services": "1",
        "services": "1",
        "services.nodeports": "2",
        "services.loadbalancers": "1",
    }
    assert text(usage("services", {"spec": {"type": "ClusterIP", "ports": ports}}))["services.nodeports"] == "0"


def test_claims_by_class():
    claim = {"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}
    assert text(usage("persistentvolumeclaims", claim)) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "requests.storage": "1Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
    }


def test_used_has_every_name_of_the_limits_and_no_other():
    quota = {"spec": {"hard": {"pods": "5", "requests.cpu": "2", "limits.memory": "1Gi"}}}
    assert used(quota, [("pods", pod("1")), ("pods", pod("500m")), ("secrets", {})]) == {"pods": "2", "requests.cpu": "1500m", "limits.memory": "0"}


@pytest.mark.parametrize(
    ("scope", "found", "holds"),
    [
        ("BestEffort", pod(), True),
        ("NotBestEffort", pod(), False),
        ("NotBestEffort", pod(limit="1"), True),
        ("Terminating", pod(activeDeadlineSeconds=5), True),
        ("NotTerminating", pod(activeDeadlineSeconds=5), False),
        ("PriorityClass", pod(priorityClassName="high"), True),
        ("PriorityClass", pod(), False),
        ("CrossNamespacePodAffinity", pod(), False),
    ],
)
def test_scopes(scope, found, holds):
    assert in_scope({"spec": {"scopes": [scope]}}, "pods", found) is holds
    assert not in_scope({"spec": {"scopes": [scope]}}, "services", {})


def test_a_selector_of_priority_classes():
    quota = {"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}}
    assert in_scope(quota, "pods", pod(priorityClassName="high"))
    assert not in_scope(quota, "pods", pod(priorityClassName="low"))


def test_zero_requests_are_best_effort():
    assert is_best_effort(pod("0"))
