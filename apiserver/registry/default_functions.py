"""Defaults that depend on other fields of the same type: one small function a type, in place, named as upstream's `SetDefaults_*`.

Sources: pkg/apis/GROUP/VERSION/defaults.go of Kubernetes 1.37, the file named at each table entry.
"""

import copy
from collections.abc import Callable
from typing import Any

from apiserver.machinery.objects import Object
from apiserver.machinery.quantity import Quantity, parse

INT32_MAX = 2**31 - 1
NOTHING = Quantity(0)


def image_tag(image: str) -> str:
    """The tag that a reference means: `latest` if neither tag nor digest is named (pkg/util/parsers)."""
    if "@" in image:
        return ""
    name = image.rsplit("/", 1)[-1]
    return name.partition(":")[2] or "latest"


def pull_policy(image: str) -> str:
    return "Always" if image_tag(image) == "latest" else "IfNotPresent"


def container(value: Object) -> None:
    if not value.get("imagePullPolicy"):
        value["imagePullPolicy"] = pull_policy(str(value.get("image") or ""))
    value.setdefault("resources", {})


def volume(value: Object) -> None:
    if not any(found is not None for name, found in value.items() if name != "name"):
        value["emptyDir"] = {}
    image = value.get("image")
    if isinstance(image, dict) and not image.get("pullPolicy"):
        image["pullPolicy"] = pull_policy(str(image.get("reference") or ""))


def pod(value: Object) -> None:
    """Of pods alone, not of templates: requests from limits, service links, host ports."""
    spec: Object = value.setdefault("spec", {})
    for each in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = each.get("resources")
        if isinstance(resources, dict) and isinstance(resources.get("limits"), dict):
            resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
        if spec.get("hostNetwork"):
            for port in each.get("ports") or ():
                if not port.get("hostPort") and "containerPort" in port:
                    port["hostPort"] = port["containerPort"]
    if isinstance(spec.get("resources"), dict):
        _pod_resources(spec)
    spec.setdefault("enableServiceLinks", True)


def pod_spec(value: Object) -> None:
    """The account has an old name, too; both say the same (pkg/apis/core/v1/conversion.go)."""
    account = value.get("serviceAccountName") or value.get("serviceAccount")
    if account:
        value["serviceAccountName"] = value["serviceAccount"] = account


def _pod_resources(spec: Object) -> None:
    """Resources of the whole pod: requests are what the containers ask for together, else the limits (defaultPodRequests, defaultPodLimits)."""
    own = spec["resources"]
    asked, allowed = own.get("requests") or {}, own.get("limits") or {}
    if allowed:
        together = {name: total for name, total in _total(spec, "requests").items() if name in ("cpu", "memory")}
        own["requests"] = {**{name: value for name, value in allowed.items() if _of_pods(name)}, **together, **asked}
    elif asked:
        containers = [each for kind in ("containers", "initContainers") for each in spec.get(kind) or ()]
        full = {
            name: total
            for name, total in _total(spec, "limits").items()
            if name in ("cpu", "memory") and all(name in ((each.get("resources") or {}).get("limits") or {}) for each in containers)
        }
        if full:
            own["limits"] = full


def _of_pods(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def _total(spec: Object, kind: str) -> dict[str, str]:
    """What all containers have together, as the scheduler counts it: sidecars add to the others, an init container may need more than they do."""

    def amounts(container: Object) -> dict[str, Quantity]:
        return {name: parse(value) for name, value in ((container.get("resources") or {}).get(kind) or {}).items()}

    def added(one: dict[str, Quantity], other: dict[str, Quantity]) -> dict[str, Quantity]:
        return {name: one.get(name, NOTHING) + other.get(name, NOTHING) for name in one | other}

    def larger(one: dict[str, Quantity], other: dict[str, Quantity]) -> dict[str, Quantity]:
        return {name: max(each[name] for each in (one, other) if name in each) for name in one | other}

    running: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        running = added(running, amounts(container))
    sidecars: dict[str, Quantity] = {}
    starting: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars = added(sidecars, amounts(container))
            starting = larger(starting, sidecars)
        else:
            starting = larger(starting, added(sidecars, amounts(container)))
    return {name: str(amount) for name, amount in larger(added(running, sidecars), starting).items()}


def replication_controller(value: Object) -> None:
    spec = value.get("spec")
    if not isinstance(spec, dict):
        return
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not (value.get("metadata") or {}).get("labels"):
            value.setdefault("metadata", {})["labels"] = dict(labels)


def service(value: Object) -> None:
    spec: Object = value.setdefault("spec", {})
    kind = spec.get("type") or "ClusterIP"
    if (spec.get("sessionAffinity") or "None") == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP" and ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds") is None:
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
    for port in spec.get("ports") or ():
        port["protocol"] = port.get("protocol") or "TCP"
        if port.get("targetPort") in (None, 0, "") and "port" in port:
            port["targetPort"] = port["port"]
    external = kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    if external and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if kind in ("NodePort", "LoadBalancer", "ClusterIP"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        for ingress in ((value.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            if ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")


def namespace(value: Object) -> None:
    name = (value.get("metadata") or {}).get("name")
    if name:
        labels = value["metadata"].get("labels") or {}
        value["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": name}
    value.setdefault("spec", {})
    _phase(value, "Active")


def _phase(value: Object, phase: str) -> None:
    status: Object = value.setdefault("status", {})
    status["phase"] = status.get("phase") or phase


def node(value: Object) -> None:
    status = value.get("status")
    if isinstance(status, dict) and "allocatable" not in status and status.get("capacity"):
        status["allocatable"] = dict(status["capacity"])


def limit_range_item(value: Object) -> None:
    if value.get("type") == "Container":
        limits = {**(value.get("max") or {}), **(value.get("default") or {})}
        requests = {**(value.get("min") or {}), **limits, **(value.get("defaultRequest") or {})}
        if limits:
            value["default"] = limits
        if requests:
            value["defaultRequest"] = requests


def deployment(value: Object) -> None:
    strategy: Object = value.setdefault("strategy", {})
    strategy["type"] = strategy.get("type") or "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def daemon_set(value: Object) -> None:
    strategy: Object = value.setdefault("updateStrategy", {})
    strategy["type"] = strategy.get("type") or "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def stateful_set(value: Object) -> None:
    strategy: Object = value.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and isinstance(strategy.get("rollingUpdate"), dict):
        strategy["rollingUpdate"].setdefault("partition", 0)


def job(value: Object) -> None:
    spec = value.get("spec")
    if not isinstance(spec, dict):
        return
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", INT32_MAX if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    spec.setdefault("manualSelector", False)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not (value.get("metadata") or {}).get("labels"):
        value.setdefault("metadata", {})["labels"] = dict(labels)


SCALE_UP: Object = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}],
}
SCALE_DOWN: Object = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
CPU_AT_80_PERCENT = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}


def horizontal_pod_autoscaler(value: Object) -> None:
    if not value.get("metrics"):
        value["metrics"] = [copy.deepcopy(CPU_AT_80_PERCENT)]
    behavior = value.get("behavior")
    if isinstance(behavior, dict):
        for name, rules in (("scaleUp", SCALE_UP), ("scaleDown", SCALE_DOWN)):
            behavior[name] = {**copy.deepcopy(rules), **(behavior.get(name) or {})}


def network_policy(value: Object) -> None:
    spec: Object = value.setdefault("spec", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def subject(value: Object) -> None:
    if not value.get("apiGroup") and value.get("kind") in ("User", "Group"):
        value["apiGroup"] = "rbac.authorization.k8s.io"


def custom_resource_definition(value: Object) -> None:
    spec = value.get("spec")
    if not isinstance(spec, dict):
        return
    names = spec.get("names")
    if isinstance(names, dict) and names.get("kind"):
        names["singular"] = names.get("singular") or str(names["kind"]).lower()
        names["listKind"] = names.get("listKind") or f"{names['kind']}List"
    status: Object = value.setdefault("status", {})
    if not status.get("storedVersions"):
        status["storedVersions"] = [each["name"] for each in spec.get("versions") or () if each.get("storage") and "name" in each][:1]
    # The schema wants these; Go writes them empty.
    status.setdefault("acceptedNames", {"plural": "", "kind": ""})
    status.setdefault("conditions", [])


def device_request(value: Object) -> None:
    if "deviceClassName" not in value:
        return
    value["allocationMode"] = value.get("allocationMode") or "ExactCount"
    if value["allocationMode"] == "ExactCount" and not value.get("count"):
        value["count"] = 1


def pending(value: Object) -> None:
    _phase(value, "Pending")


FUNCTIONS: dict[str, Callable[[Any], None]] = {
    # pkg/apis/core/v1/defaults.go
    "core.v1.Container": container,
    "core.v1.EphemeralContainer": container,
    "core.v1.Volume": volume,
    "core.v1.Pod": pod,
    "core.v1.PodSpec": pod_spec,
    "core.v1.ReplicationController": replication_controller,
    "core.v1.Service": service,
    "core.v1.Namespace": namespace,
    "core.v1.Node": node,
    "core.v1.LimitRangeItem": limit_range_item,
    "core.v1.PersistentVolume": pending,
    "core.v1.PersistentVolumeClaim": pending,
    # pkg/apis/apps/v1/defaults.go
    "apps.v1.DeploymentSpec": deployment,
    "apps.v1.DaemonSetSpec": daemon_set,
    "apps.v1.StatefulSetSpec": stateful_set,
    # pkg/apis/batch/v1/defaults.go
    "batch.v1.Job": job,
    # pkg/apis/autoscaling/v2/defaults.go
    "autoscaling.v2.HorizontalPodAutoscalerSpec": horizontal_pod_autoscaler,
    # pkg/apis/networking/v1/defaults.go
    "networking.v1.NetworkPolicy": network_policy,
    # pkg/apis/rbac/v1/defaults.go
    "rbac.v1.Subject": subject,
    # apiextensions-apiserver/pkg/apis/apiextensions/v1/defaults.go
    "apiextensions.v1.CustomResourceDefinition": custom_resource_definition,
    # pkg/apis/resource/v1/defaults.go
    "resource.v1.ExactDeviceRequest": device_request,
    "resource.v1.DeviceSubRequest": device_request,
}
