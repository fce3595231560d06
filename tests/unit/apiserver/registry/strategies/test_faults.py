"""Objects that a schema takes and Kubernetes does not, and what clients are told: path and words are upstream's."""

import copy
from typing import Any

import pytest

from apiserver.machinery.resources import resource
from apiserver.registry.schemas import check
from apiserver.registry.strategies.registry import strategy_for
from tests.unit.apiserver.registry.strategies.rich import CLAIM, RICH, RUN_ONCE
from tests.unit.apiserver.registry.strategies.test_rich import created


def put(obj: Any, path: str, value: Any) -> None:
    *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in way:
        obj = obj.setdefault(step, {}) if isinstance(obj, dict) else obj[step]
    if value is None:
        del obj[last]
    else:
        obj[last] = value


def faults(kind: str, changes: dict[str, Any]) -> list[str]:
    """Of the rich object after these changes, which are made to what is stored."""
    stored = created(kind, RICH[kind])
    for path, value in changes.items():
        put(stored, path, value)
    return [cause.text() for cause in strategy_for(resource(kind)).validate(stored)]


C = "spec/containers/0/"
NEW: list[tuple[str, dict[str, Any], str]] = [
    ("pods", {"spec/containers": []}, "spec.containers: Required value"),
    ("pods", {C + "name": "Web"}, 'spec.containers[0].name: Invalid value: "Web": a lowercase RFC 1123 label must consist of'),
    ("pods", {C + "image": ""}, "spec.containers[0].image: Required value"),
    ("pods", {C + "imagePullPolicy": "Often"}, 'spec.containers[0].imagePullPolicy: Unsupported value: "Often": supported values: "Always"'),
    ("pods", {"spec/initContainers/0/name": "web"}, 'spec.initContainers[0].name: Duplicate value: "web"'),
    (
        "pods",
        {"spec/initContainers/0/readinessProbe": {"exec": {"command": ["x"]}}},
        "spec.initContainers[0].readinessProbe: Forbidden: may not be set",
    ),
    (
        "pods",
        {C + "ports/0/containerPort": 70000},
        "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    ("pods", {C + "ports/1/name": "http"}, 'spec.containers[0].ports[1].name: Duplicate value: "http"'),
    ("pods", {C + "env/0/name": "A=B"}, 'spec.containers[0].env[0].name: Invalid value: "A=B"'),
    ("pods", {C + "env/1/value": "x"}, 'spec.containers[0].env[1].valueFrom: Invalid value: "": may not be specified when `value` is not empty'),
    ("pods", {C + "env/1/valueFrom/fieldRef/fieldPath": "spec.x"}, "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Unsupported value"),
    ("pods", {C + "volumeMounts/0/name": "gone"}, 'spec.containers[0].volumeMounts[0].name: Not found: "gone"'),
    ("pods", {C + "volumeMounts/1/mountPath": "/tmp"}, 'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/tmp": must be unique'),
    ("pods", {C + "volumeMounts/1/subPath": "../x"}, "spec.containers[0].volumeMounts[1].subPath: Invalid value: \"../x\": must not contain '..'"),
    (
        "pods",
        {C + "resources/requests/cpu": "2"},
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    (
        "pods",
        {C + "resources/requests/cpu": "-1"},
        'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
    ),
    (
        "pods",
        {C + "resources/limits/gpu": "1"},
        'spec.containers[0].resources.limits: Invalid value: "gpu": must be a standard resource for containers',
    ),
    ("pods", {C + "livenessProbe/httpGet": None}, "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
    ("pods", {C + "livenessProbe/successThreshold": 2}, "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"),
    ("pods", {"spec/volumes/0/name": "config"}, 'spec.volumes[1].name: Duplicate value: "config"'),
    ("pods", {"spec/volumes/0/hostPath": {"path": "/x"}}, "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"),
    (
        "pods",
        {"spec/restartPolicy": "Sometimes"},
        'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
    ),
    ("pods", {"spec/dnsConfig": {}}, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
    (
        "pods",
        {"spec/tolerations/0/effect": "NoSchedule"},
        "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when",
    ),
    ("pods", {"spec/nodeName": "n", "spec/schedulingGates": [{"name": "g"}]}, "spec.nodeName: Forbidden: cannot be set until all schedulingGates"),
    ("deployments.apps", {"spec/selector": {}}, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
    ("deployments.apps", {"spec/replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    (
        "deployments.apps",
        {"spec/template/metadata/labels": {"app": "b"}},
        'spec.template.metadata.labels: Invalid value: {"app":"b"}: `selector` does not match template `labels`',
    ),
    (
        "deployments.apps",
        {"spec/strategy/rollingUpdate/maxSurge": 0},
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0',
    ),
    ("deployments.apps", {"spec/strategy/type": "Recreate"}, "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is"),
    ("deployments.apps", {"spec/template/spec/restartPolicy": "Never"}, 'spec.template.spec.restartPolicy: Unsupported value: "Never": supported'),
    ("deployments.apps", {"spec/template/spec/containers/0/image": ""}, "spec.template.spec.containers[0].image: Required value"),
    ("daemonsets.apps", {"spec/updateStrategy": {"type": "Daily"}}, 'spec.updateStrategy.type: Unsupported value: "Daily"'),
    (
        "statefulsets.apps",
        {"spec/podManagementPolicy": "Wild"},
        "spec.podManagementPolicy: Invalid value: \"Wild\": must be 'OrderedReady' or 'Parallel'",
    ),
    ("replicationcontrollers", {"spec/selector": {}}, "spec.selector: Required value"),
    (
        "jobs.batch",
        {"spec/template/spec/restartPolicy": "Always"},
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    ),
    ("jobs.batch", {"spec/completionMode": "Indexed", "spec/completions": None}, "spec.completions: Required value: when completion mode is Indexed"),
    ("cronjobs.batch", {"spec/schedule": "* * *"}, 'spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]'),
    ("cronjobs.batch", {"spec/schedule": "61 * * * *"}, 'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61'),
    ("cronjobs.batch", {"spec/timeZone": "Moon/Base"}, 'spec.timeZone: Invalid value: "Moon/Base": unknown time zone Moon/Base'),
    ("cronjobs.batch", {"metadata/name": "a" * 60}, "must be no more than 52 characters"),
    ("services", {"spec/ports": []}, "spec.ports: Required value"),
    ("services", {"spec/ports/1/name": None}, "spec.ports[1].name: Required value"),
    ("services", {"spec/ports/0/port": 0}, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
    (
        "services",
        {"spec/type": "ClusterIP", "spec/ports/0/nodePort": 30000},
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    ("services", {"spec/externalIPs": ["127.0.0.1"]}, 'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range'),
    ("services", {"spec/clusterIPs": ["10.x"]}, 'spec.clusterIPs[0]: Invalid value: "10.x": must be a valid IP address'),
    ("services", {"spec/type": "ExternalName"}, "spec.externalName: Required value"),
    ("endpoints", {"subsets/0/addresses/0/ip": "127.0.0.1"}, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    ("configmaps", {"data/a b": "x"}, 'data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters'),
    ("configmaps", {"data/big": "x" * 1024 * 1024}, "Too long: may not be more than 1048576 bytes"),
    ("secrets", {"data/tls.key": None}, "data[tls.key]: Required value"),
    ("persistentvolumes", {"spec/accessModes": []}, "spec.accessModes: Required value: at least 1 access mode is required"),
    ("persistentvolumes", {"spec/hostPath": None}, "spec: Required value: must specify a volume type"),
    ("persistentvolumeclaims", {"spec/resources": {}}, "spec.resources[storage]: Required value"),
    ("persistentvolumeclaims", {"spec/accessModes": [""]}, 'spec.accessModes: Unsupported value: ""'),
    ("persistentvolumeclaims", {"spec/selector": {"matchExpressions": [{"key": "", "operator": "Exists"}]}}, "name part must be non-empty"),
    ("ingresses.networking.k8s.io", {"spec/ingressClassName": ""}, 'spec.ingressClassName: Invalid value: ""'),
    ("ingresses.networking.k8s.io", {"spec/tls": [{"hosts": [""]}]}, 'spec.tls[0].hosts[0]: Invalid value: ""'),
    ("ingresses.networking.k8s.io", {"spec/rules": [{"http": {"paths": []}}]}, "spec.rules[0].http.paths: Required value"),
    (
        "ingresses.networking.k8s.io",
        {"spec/defaultBackend": {"resource": {"apiGroup": "Not_A", "kind": "K", "name": "n"}}},
        'spec.defaultBackend.resource.apiGroup: Invalid value: "Not_A"',
    ),
    (
        "horizontalpodautoscalers.autoscaling",
        {"spec/minReplicas": 9},
        "spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`",
    ),
    ("poddisruptionbudgets.policy", {"spec/maxUnavailable": 1}, "minAvailable and maxUnavailable cannot be both set"),
    ("roles.rbac.authorization.k8s.io", {"rules/0/verbs": []}, "rules[0].verbs: Required value: verbs must contain at least one value"),
    ("rolebindings.rbac.authorization.k8s.io", {"subjects/1/namespace": None}, "subjects[1].namespace: Required value"),
    (
        "rolebindings.rbac.authorization.k8s.io",
        {"roleRef/kind": "User"},
        'roleRef.kind: Unsupported value: "User": supported values: "ClusterRole", "Role"',
    ),
    (
        "ingresses.networking.k8s.io",
        {"spec/rules/0/http/paths/0/path": "x"},
        'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path',
    ),
    ("networkpolicies.networking.k8s.io", {"spec/ingress/0/from/0/ipBlock/cidr": "10"}, "must be a valid CIDR value"),
    ("nodes", {"spec/taints/0/effect": "Never"}, 'spec.taints[0].effect: Unsupported value: "Never"'),
    ("leases.coordination.k8s.io", {"spec/leaseDurationSeconds": 0}, "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
    ("events", {"involvedObject/namespace": "other"}, 'involvedObject.namespace: Invalid value: "other": does not match event.namespace'),
    ("priorityclasses.scheduling.k8s.io", {"value": 2_000_000_000}, "maximum allowed value of a user defined priority is 1000000000"),
    ("priorityclasses.scheduling.k8s.io", {"metadata/name": "system-x"}, "priority class names with 'system-' prefix are reserved"),
    ("certificatesigningrequests.certificates.k8s.io", {"spec/usages": ["magic"]}, 'spec.usages[0]: Unsupported value: "magic"'),
    ("limitranges", {"spec/limits/0/min/cpu": "3"}, 'spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than'),
    (
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        {"webhooks/0/clientConfig/url": "http://x"},
        "'https' is the only allowed URL scheme",
    ),
    ("runtimeclasses.node.k8s.io", {"handler": "A_b"}, 'handler: Invalid value: "A_b": a lowercase RFC 1123 label'),
    ("servicecidrs.networking.k8s.io", {"spec/cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}, "may specify no more than one IP for each IP family"),
    ("ipaddresses.networking.k8s.io", {"metadata/name": "x"}, 'metadata.name: Invalid value: "x": must be a valid IP address'),
    (
        "volumeattachments.storage.k8s.io",
        {"spec/source": {}},
        "spec.source: Required value: must specify one of inlineVolumeSpec and persistentVolumeName",
    ),
    ("resourceclaims.resource.k8s.io", {"spec/devices/requests/0/name": "A b"}, 'spec.devices.requests[0].name: Invalid value: "A b"'),
    (
        "flowschemas.flowcontrol.apiserver.k8s.io",
        {"spec/matchingPrecedence": -1},
        "spec.matchingPrecedence: Invalid value: -1: must be a positive value",
    ),
    (
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
        {"spec/limited": None},
        "spec.limited: Required value: must not be empty when type is",
    ),
    (
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        {"spec/validationActions": ["No"]},
        'spec.validationActions[0]: Unsupported value: "No"',
    ),
]


@pytest.mark.parametrize(("kind", "changes", "told"), NEW, ids=[f"{kind}-{next(iter(changes))}" for kind, changes, _ in NEW])
def test_what_is_wrong_is_told(kind: str, changes: dict[str, Any], told: str) -> None:
    found = faults(kind, changes)
    assert any(told in each for each in found), found
    assert len(found) <= 4, found


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("pods", {C + "image": "nginx:1.28"}, ""),
    ("pods", {"metadata/labels": {"app": "b"}}, ""),
    ("pods", {C + "command": ["x"]}, "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"),
    ("pods", {"spec/containers": []}, "spec.containers: Forbidden: pod updates may not add or remove containers"),
    ("pods", {"spec/tolerations": []}, "spec.tolerations: Forbidden: existing toleration can not be modified"),
    ("deployments.apps", {"spec/replicas": 5}, ""),
    (
        "deployments.apps",
        {"spec/selector": {"matchLabels": {"app": "b"}}},
        'spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable',
    ),
    ("statefulsets.apps", {"spec/replicas": 5}, ""),
    ("statefulsets.apps", {"spec/serviceName": "other"}, "spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"),
    ("jobs.batch", {"spec/parallelism": 3}, ""),
    ("jobs.batch", {"spec/completions": 3}, "spec.completions: Invalid value: 3: field is immutable"),
    ("jobs.batch", {"spec/template/spec/containers/0/image": "x"}, "field is immutable"),
    ("services", {"spec/ports/0/port": 81}, ""),
    ("configmaps", {"data/x": "y"}, ""),
    ("secrets", {"type": "Opaque"}, 'type: Invalid value: "Opaque": field is immutable'),
    ("persistentvolumeclaims", {"spec/accessModes": ["ReadOnlyMany"]}, "spec: Forbidden: spec is immutable after creation except resources.requests"),
    ("storageclasses.storage.k8s.io", {"provisioner": "x"}, "provisioner: Forbidden: updates to provisioner are forbidden."),
    ("rolebindings.rbac.authorization.k8s.io", {"roleRef/name": "x"}, "cannot change roleRef"),
    ("priorityclasses.scheduling.k8s.io", {"value": 5}, "value: Forbidden: may not be changed in an update."),
]


@pytest.mark.parametrize(("kind", "changes", "told"), CHANGES, ids=[f"{kind}-{next(iter(changes))}" for kind, changes, _ in CHANGES])
def test_what_may_change_and_what_may_not(kind: str, changes: dict[str, Any], told: str) -> None:
    old = created(kind, RICH[kind])
    new = copy.deepcopy(old)
    for path, value in changes.items():
        put(new, path, value)
    strategy = strategy_for(resource(kind))
    strategy.prepare_update(new, old)
    found = [cause.text() for cause in strategy.validate_update(new, old)]
    assert found == [] if not told else any(told in each for each in found), found


def test_an_immutable_config_map_is_sealed() -> None:
    old = {**created("configmaps", RICH["configmaps"]), "immutable": True}
    strategy = strategy_for(resource("configmaps"))
    assert [cause.text() for cause in strategy.validate_update({**old, "immutable": False, "data": {}}, old)] == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]


def test_a_new_pods_status_and_grace() -> None:
    strategy = strategy_for(resource("pods"))
    pod = created("pods", RICH["pods"])
    assert pod["status"] == {"phase": "Pending", "qosClass": "Burstable"} and pod["metadata"]["generation"] == 1
    assert strategy.grace_period_s(pod, None) == 0
    pod["spec"]["nodeName"] = "n"
    assert [strategy.grace_period_s(pod, asked) for asked in (None, 0, 7, -3)] == [5, 0, 7, 1]
    pod["status"]["phase"] = "Succeeded"
    assert strategy.grace_period_s(pod, None) == 0


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"example.com/x": "1"}, "requests": {"example.com/x": "1"}}, "BestEffort"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], qos: str) -> None:
    pod = created("pods", {"spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
    assert pod["status"]["qosClass"] == qos


def test_a_gated_pod_says_that_it_waits() -> None:
    pod = created("pods", {"spec": {"containers": [{"name": "c", "image": "i"}], "schedulingGates": [{"name": "example.com/wait"}]}})
    [condition] = pod["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")


def test_a_jobs_selector_is_made_of_its_uid() -> None:
    job = created("jobs.batch", {"spec": {"template": RUN_ONCE}})
    uid = job["metadata"]["uid"]
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert job["spec"]["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/job-name": "x",
        "job-name": "x",
        "batch.kubernetes.io/controller-uid": uid,
        "controller-uid": uid,
    }


def test_secrets_fold_string_data() -> None:
    secret = created("secrets", {"stringData": {"a": "b"}, "data": {"c": "ZA=="}})
    assert secret["data"] == {"a": "Yg==", "c": "ZA=="} and "stringData" not in secret and secret["type"] == "Opaque"


def test_a_service_keeps_what_it_was_given() -> None:
    strategy = strategy_for(resource("services"))
    old = created("services", RICH["services"])
    old["spec"].update(clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    old["spec"]["ports"][0]["nodePort"] = 30001
    new = created("services", RICH["services"])
    strategy.prepare_update(new, old)
    assert new["spec"] == old["spec"]
    new["spec"]["clusterIP"] = "10.96.0.8"
    new["spec"]["clusterIPs"] = ["10.96.0.8"]
    assert 'spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set' in [
        cause.text() for cause in strategy.validate_update(new, old)
    ]
    plain = copy.deepcopy(old)
    plain["spec"]["type"] = "ClusterIP"
    strategy.prepare_update(plain, old)
    assert "nodePort" not in plain["spec"]["ports"][0] and "allocateLoadBalancerNodePorts" not in plain["spec"]
    assert [cause.text() for cause in strategy.validate(plain)] == []


def test_the_generation_counts_changes_of_the_spec_alone() -> None:
    strategy = strategy_for(resource("deployments.apps"))
    old = created("deployments.apps", RICH["deployments.apps"])
    labelled, scaled = copy.deepcopy(old), copy.deepcopy(old)
    labelled["metadata"]["labels"] = {"a": "b"}
    scaled["spec"]["replicas"] = 9
    for new in (labelled, scaled):
        strategy.prepare_update(new, old)
    assert (labelled["metadata"]["generation"], scaled["metadata"]["generation"]) == (1, 2)


def test_a_bound_claim_may_grow_and_not_shrink() -> None:
    strategy = strategy_for(resource("persistentvolumeclaims"))
    old = created("persistentvolumeclaims", {"spec": {**CLAIM, "volumeName": "v"}})
    old["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    for size, told in (("2Gi", []), ("512Mi", ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"])):
        new = copy.deepcopy(old)
        new["spec"]["resources"]["requests"]["storage"] = size
        assert [cause.text() for cause in strategy.validate_update(new, old)] == told
    assert check(resource("persistentvolumeclaims")).required(old) == []


def test_warnings_are_told_and_the_object_is_taken() -> None:
    pod = created("pods", RICH["pods"])
    assert strategy_for(resource("pods")).warnings(pod) == []
    pod["spec"]["nodeSelector"] = {"beta.kubernetes.io/os": "linux"}
    pod["spec"]["containers"][0]["env"].append({"name": "A", "value": "c"})
    pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "100m"
    assert strategy_for(resource("pods")).warnings(pod) == [
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        'spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer',
        'spec.containers[0].env[5]: hides previous definition of "A", which may be dropped when using apply',
    ]
    named = created("deployments.apps", {**RICH["deployments.apps"], "metadata": {"name": "a.b"}})
    [told] = strategy_for(resource("deployments.apps")).warnings(named)
    assert told == (
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: "
        "[must not contain dots]"
    )
