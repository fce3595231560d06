"""Kubernetes' defaults: what a client reads back that it did not write."""

from typing import Any

import pytest

from apiserver.machinery.resources import resource
from apiserver.machinery.schema import definitions
from apiserver.registry.default_rules import ABSENT, RULES, ZERO
from apiserver.registry.defaults import short
from apiserver.registry.schemas import check


def defaulted(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    check(resource(kind)).default(obj)
    return obj


def test_every_rule_names_a_type_and_fields_that_exist() -> None:
    types = {short(name): definition for name, definition in definitions().items()}
    assert [name for name in RULES if name not in types] == []
    named = [(name, field) for table in (ABSENT, ZERO) for name, fields in table.items() for field in fields]
    assert [(name, field) for name, field in named if field not in types[name]["properties"]] == []


def test_a_pod() -> None:
    pod = defaulted(
        "pods", {"spec": {"containers": [{"name": "c", "image": "nginx:1.27", "ports": [{"containerPort": 80}]}], "volumes": [{"name": "v"}]}}
    )
    assert pod["spec"] == {
        "containers": [
            {
                "name": "c",
                "image": "nginx:1.27",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "imagePullPolicy": "IfNotPresent",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert defaulted("pods", {"spec": {"containers": [{"name": "c", "image": image}]}})["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_requests_follow_limits_in_pods_but_not_in_templates() -> None:
    spec: dict[str, Any] = {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]}
    template = {"spec": {"template": {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}}}}
    assert defaulted("pods", {"spec": spec})["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    assert defaulted("deployments.apps", template)["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}


def test_the_accounts_two_names_say_the_same() -> None:
    for given in ({"serviceAccountName": "a"}, {"serviceAccount": "a"}, {"serviceAccountName": "a", "serviceAccount": "before"}):
        spec = defaulted("pods", {"spec": {"containers": [], **given}})["spec"]
        assert spec["serviceAccountName"] == spec["serviceAccount"] == "a"


def test_probes_deep_in_a_cron_job() -> None:
    probe = {"httpGet": {"port": 80}}
    pod = {"spec": {"containers": [{"name": "c", "livenessProbe": probe}]}}
    job = defaulted("cronjobs.batch", {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": pod}}}})
    assert probe == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert {key: job["spec"][key] for key in ("concurrencyPolicy", "suspend", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")} == {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    }


def test_a_deployment_rolls_by_a_quarter_and_zero_replicas_stay_zero() -> None:
    spec = defaulted("deployments.apps", {"spec": {"replicas": 0}})["spec"]
    assert spec == {
        "replicas": 0,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    }
    assert defaulted("deployments.apps", {"spec": {"strategy": {"type": "Recreate"}}})["spec"]["strategy"] == {"type": "Recreate"}


def test_services() -> None:
    plain = defaulted("services", {"spec": {"ports": [{"port": 80}]}})["spec"]
    assert plain == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "None",
        "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
    }
    balanced = defaulted("services", {"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": []}})["spec"]
    assert balanced["externalTrafficPolicy"] == "Cluster" and balanced["allocateLoadBalancerNodePorts"] is True
    assert balanced["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


def test_a_stateful_sets_claims_are_claims() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    spec = defaulted("statefulsets.apps", {"spec": {"volumeClaimTemplates": [claim]}})["spec"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"} and claim["status"] == {"phase": "Pending"}
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_jobs_autoscalers_policies_and_bindings() -> None:
    job = defaulted("jobs.batch", {"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}}})
    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["backoffLimit"]) == (1, 1, 6)
    assert job["metadata"]["labels"] == {"a": "b"}
    scaler = defaulted("horizontalpodautoscalers.autoscaling", {"spec": {"maxReplicas": 3, "behavior": {"scaleUp": {"selectPolicy": "Min"}}}})["spec"]
    assert scaler["minReplicas"] == 1 and scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert scaler["behavior"]["scaleUp"]["selectPolicy"] == "Min" and len(scaler["behavior"]["scaleUp"]["policies"]) == 2
    assert defaulted("networkpolicies.networking.k8s.io", {"spec": {"egress": [{}]}})["spec"]["policyTypes"] == ["Ingress", "Egress"]
    binding = defaulted(
        "rolebindings.rbac.authorization.k8s.io", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}
    )
    assert binding["roleRef"]["apiGroup"] == binding["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"


def test_a_namespace_is_labelled_with_its_name_and_active() -> None:
    namespace = defaulted("namespaces", {"metadata": {"name": "n", "labels": {"a": "b"}}})
    assert namespace["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "n"}
    assert namespace["status"] == {"phase": "Active"}


def test_resources_of_the_whole_pod_follow_its_containers() -> None:
    def container(name: str, resources: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"name": name, "image": "i:1", "resources": resources, **more}

    asking = [container("a", {"requests": {"cpu": "100m"}}), container("b", {"requests": {"cpu": "200m"}})]
    starting = [container("side", {"requests": {"cpu": "50m"}}, restartPolicy="Always"), container("init", {"requests": {"cpu": "400m"}})]
    spec = {"containers": asking, "initContainers": starting, "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    assert defaulted("pods", {"spec": spec})["spec"]["resources"]["requests"] == {"cpu": "450m", "memory": "1Gi"}
    limited = [container("a", {"limits": {"cpu": "1", "memory": "1Gi"}}), container("b", {"limits": {"cpu": "1"}})]
    spec = {"containers": limited, "resources": {"requests": {"cpu": "500m"}}}
    assert defaulted("pods", {"spec": spec})["spec"]["resources"] == {"requests": {"cpu": "500m"}, "limits": {"cpu": "2"}}
