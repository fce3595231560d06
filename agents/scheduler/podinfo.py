"""A pod as the plug-ins want to see it: everything that they ask more than once, read out of the object when it arrives."""

from collections.abc import Sequence
from typing import Any

from agents.scheduler.amounts import NONZERO_CPU, NONZERO_MEMORY, pod_requests
from agents.scheduler.terms import AffinityTerm, NodeTerm, Toleration, node_term, tolerations_of
from apiserver.machinery.objects import Object, key_of, labels_of, name_of, namespace_of, uid_of

DEFAULT_SCHEDULER = "default-scheduler"
HostPort = tuple[str, str, int]
"""Address, protocol, port. The address 0.0.0.0 takes the port on all addresses."""
ANY_ADDRESS = "0.0.0.0"


class PodInfo:
    __slots__ = (
        "affinity_preferred",
        "affinity_required",
        "anti_preferred",
        "anti_required",
        "claims",
        "gates",
        "host_ports",
        "images",
        "key",
        "labels",
        "name",
        "namespace",
        "node_name",
        "node_preferred",
        "node_required",
        "node_selector",
        "nominated_node",
        "nonzero_cpu",
        "nonzero_memory",
        "pod",
        "priority",
        "requests",
        "scheduler_name",
        "spread",
        "start_time",
        "terminating",
        "tolerations",
        "uid",
    )

    def __init__(self, pod: Object) -> None:
        spec: dict[str, Any] = pod.get("spec") or {}
        status: dict[str, Any] = pod.get("status") or {}
        self.pod = pod
        self.uid = uid_of(pod) or key_of(pod)
        self.key = key_of(pod)
        self.name = name_of(pod)
        self.namespace = namespace_of(pod)
        self.labels = labels_of(pod)
        self.node_name: str = spec.get("nodeName") or ""
        self.nominated_node: str = status.get("nominatedNodeName") or ""
        self.scheduler_name: str = spec.get("schedulerName") or DEFAULT_SCHEDULER
        self.priority: int = spec.get("priority") or 0
        self.terminating = bool((pod.get("metadata") or {}).get("deletionTimestamp"))
        self.start_time: str = status.get("startTime") or ""
        self.gates = [gate["name"] for gate in spec.get("schedulingGates") or ()]
        self.requests = pod_requests(spec)
        counted = pod_requests(spec, nonzero=True)
        self.nonzero_cpu, self.nonzero_memory = counted.get("cpu", NONZERO_CPU), counted.get("memory", NONZERO_MEMORY)
        self.tolerations: tuple[Toleration, ...] = tolerations_of(spec.get("tolerations") or ())
        self.node_selector: dict[str, str] = spec.get("nodeSelector") or {}
        self.host_ports = _host_ports(spec)
        self.images = [c.get("image") or "" for field in ("initContainers", "containers") for c in spec.get(field) or ()]
        self.claims = _claims(spec, self.name)
        self.spread: Sequence[dict[str, Any]] = spec.get("topologySpreadConstraints") or ()
        self._read_affinity(spec.get("affinity") or {})

    def _read_affinity(self, affinity: dict[str, Any]) -> None:
        node = affinity.get("nodeAffinity") or {}
        required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
        self.node_required: tuple[NodeTerm, ...] | None = (
            None if required is None else tuple(node_term(term) for term in required.get("nodeSelectorTerms") or ())
        )
        self.node_preferred = tuple(
            (each["weight"], node_term(each.get("preference") or {}))
            for each in node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
            if each["weight"]
        )
        self.affinity_required, self.affinity_preferred = self._pod_terms(affinity.get("podAffinity") or {})
        self.anti_required, self.anti_preferred = self._pod_terms(affinity.get("podAntiAffinity") or {})

    def _pod_terms(self, raw: dict[str, Any]) -> tuple[tuple[AffinityTerm, ...], tuple[AffinityTerm, ...]]:
        required = raw.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        preferred = raw.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        return (
            tuple(AffinityTerm(each, self.namespace, self.labels) for each in required),
            tuple(AffinityTerm(each["podAffinityTerm"], self.namespace, self.labels, each["weight"]) for each in preferred),
        )

    @property
    def has_affinity(self) -> bool:
        return bool(self.affinity_required or self.affinity_preferred or self.anti_required or self.anti_preferred)

    def node_matches(self, labels: dict[str, str], name: str) -> bool:
        """The pod's nodeSelector and required node affinity (nodeaffinity.GetRequiredNodeAffinity)."""
        for key, value in self.node_selector.items():
            if labels.get(key) != value:
                return False
        return self.node_required is None or any(term.matches(labels, name) for term in self.node_required)


def _host_ports(spec: dict[str, Any]) -> tuple[HostPort, ...]:
    """Ports of the node that the pod takes; init containers count if they stay (sidecars)."""
    containers = list(spec.get("containers") or ())
    containers += [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return tuple(
        (port.get("hostIP") or ANY_ADDRESS, port.get("protocol") or "TCP", port["hostPort"])
        for container in containers
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def _claims(spec: dict[str, Any], pod_name: str) -> tuple[tuple[str, bool], ...]:
    """Names of the claims that the pod's volumes use, and whether each is an ephemeral volume's own."""
    found: list[tuple[str, bool]] = []
    for volume in spec.get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append((volume["persistentVolumeClaim"]["claimName"], False))
        elif volume.get("ephemeral"):
            found.append((f"{pod_name}-{volume['name']}", True))
    return tuple(found)


def is_finished(pod: Object) -> bool:
    """Succeeded or Failed: it takes nothing from its node any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
