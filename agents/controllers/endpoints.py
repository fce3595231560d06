"""Which pods stand behind a service: what Endpoints and EndpointSlices have in common (pkg/controller/util/endpoint). Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from agents.controllers.pods import is_finished, is_ready
from agents.kit.selection import equals
from apiserver.machinery.objects import Object, is_terminating, labels_of, name_of, namespace_of, uid_of

HEADLESS_LABEL = "service.kubernetes.io/headless"
SERVICE_LABEL = "kubernetes.io/service-name"


def has_selector(service: Object) -> bool:
    """Services without one, and those that are only another name, get their endpoints from somebody else."""
    spec = service["spec"]
    return bool(spec.get("selector")) and str(spec.get("type")) != "ExternalName"


def is_headless(service: Object) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def publishes_not_ready(service: Object) -> bool:
    return bool(service["spec"].get("publishNotReadyAddresses"))


def addresses(pod: Object, family: str) -> list[str]:
    """The pod's addresses of IPv4 or IPv6."""
    status = pod.get("status") or {}
    found = [each.get("ip", "") for each in status.get("podIPs") or ()] or [status.get("podIP") or ""]
    return [ip for ip in dict.fromkeys(found) if ip and (":" in ip) == (family == "IPv6")]


def families(service: Object) -> list[str]:
    """IPv4 and IPv6 as the service asks; what stands there already for a service that says nothing."""
    return list(service["spec"].get("ipFamilies") or ("IPv4",))


def selected(service: Object, pods: Iterable[Object]) -> list[Object]:
    """Pods of the service that may be talked to or will be: matching, not ended, with an address."""
    wanted = service["spec"]["selector"]
    return [pod for pod in pods if equals(wanted, labels_of(pod)) and not is_finished(pod) and (pod.get("status") or {}).get("podIP")]


def conditions(service: Object, pod: Object) -> dict[str, bool]:
    """serving: its probes say so; terminating: it goes; ready: new connections are welcome."""
    serving, terminating = is_ready(pod), is_terminating(pod)
    return {"ready": publishes_not_ready(service) or (serving and not terminating), "serving": serving, "terminating": terminating}


def hostname(service: Object, pod: Object) -> str:
    """The name of its own that a pod of a headless service has."""
    spec = pod["spec"]
    return str(spec["hostname"]) if spec.get("hostname") and spec.get("subdomain") == name_of(service) else ""


def target_port(port: Object, pod: Object) -> int | None:
    """The number that a service's port has at this pod; None if the pod has no port of that name."""
    target = port.get("targetPort")
    if target in (None, "", 0):
        return int(port["port"])
    if isinstance(target, int):
        return target
    sidecars = (each for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always")
    for container in (*(pod["spec"].get("containers") or ()), *sidecars):
        for each in container.get("ports") or ():
            if each.get("name") == target and (each.get("protocol") or "TCP") == (port.get("protocol") or "TCP"):
                return int(each["containerPort"])
    return None


def ports(service: Object, pod: Object) -> tuple[tuple[Any, ...], ...]:
    """(name, number, protocol, appProtocol) of each port that the pod has. Pods with other numbers for a named port go apart."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = target_port(port, pod)
        if number is not None:
            found.append((port.get("name") or "", number, port.get("protocol") or "TCP", port.get("appProtocol") or ""))
    return tuple(sorted(found))


def target_ref(pod: Object) -> Object:
    return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}


def concerns(old: Object, new: Object) -> bool:
    """Whether a change of a pod can change any endpoints: heartbeats of a kubelet do not."""
    return _seen(old) != _seen(new)


def _seen(pod: Object) -> tuple[Any, ...]:
    status = pod.get("status") or {}
    spec = pod["spec"]
    return (
        labels_of(pod),
        status.get("podIPs") or status.get("podIP"),
        is_finished(pod),
        is_ready(pod),
        is_terminating(pod),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
    )


def repacked(subsets: Sequence[Object]) -> list[Object]:
    """Endpoints' subsets: one for each set of ports, addresses in order (pkg/api/v1/endpoints, RepackSubsets)."""
    by_ports: dict[tuple[Any, ...], dict[str, list[Object]]] = {}
    for subset in subsets:
        key = tuple(tuple(sorted(port.items())) for port in subset["ports"])
        held = by_ports.setdefault(key, {"addresses": [], "notReadyAddresses": []})
        for field in held:
            held[field] += subset.get(field) or ()
    packed = []
    for key, held in sorted(by_ports.items()):
        subset = {field: sorted(listed, key=lambda each: (each["ip"], each["targetRef"]["uid"])) for field, listed in held.items() if listed}
        if key:
            subset["ports"] = [dict(port) for port in key]
        packed.append(subset)
    return packed
