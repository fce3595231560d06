"""A node as the cycle sees it: what it has, what its pods take, and which of them have a say about other pods (framework.NodeInfo).

Kept up to date pod by pod, so that a cycle reads sums and never adds up.
"""

from agents.scheduler.amounts import Amounts, amounts
from agents.scheduler.podinfo import ANY_ADDRESS, HostPort, PodInfo
from agents.scheduler.terms import Taint
from apiserver.machinery.objects import Object, labels_of, name_of

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"
UNSCHEDULABLE_TAINT: Taint = ("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeInfo:
    __slots__ = (
        "allocatable",
        "cpu_left",
        "hard_taints",
        "images",
        "labels",
        "memory_left",
        "name",
        "node",
        "nonzero_cpu",
        "nonzero_memory",
        "pods",
        "pods_max",
        "ports",
        "requested",
        "soft_taints",
        "taints",
        "unschedulable",
        "with_affinity",
        "with_required_anti_affinity",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Object | None = None
        self.pods: dict[str, PodInfo] = {}
        self.with_affinity: dict[str, PodInfo] = {}
        self.with_required_anti_affinity: dict[str, PodInfo] = {}
        self.requested: Amounts = {}
        self.nonzero_cpu = 0
        self.nonzero_memory = 0
        self.ports: dict[HostPort, int] = {}
        self.unset_node()

    def unset_node(self) -> None:
        """The node object is gone; its pods may follow, or the node come back."""
        self.node = None
        self.labels: dict[str, str] = {}
        self.taints: tuple[Taint, ...] = ()
        self.hard_taints: tuple[Taint, ...] = ()
        self.soft_taints: tuple[Taint, ...] = ()
        self.unschedulable = False
        self.allocatable: Amounts = {}
        self.pods_max = 0
        self.images: dict[str, int] = {}
        self._count_left()

    def set_node(self, node: Object) -> None:
        assert name_of(node) == self.name
        spec, status = node.get("spec") or {}, node.get("status") or {}
        self.node = node
        self.labels = labels_of(node)
        self.taints = tuple((each["key"], each.get("value") or "", each["effect"]) for each in spec.get("taints") or ())
        self.hard_taints = tuple(each for each in self.taints if each[2] in ("NoSchedule", "NoExecute"))
        self.soft_taints = tuple(each for each in self.taints if each[2] == "PreferNoSchedule")
        self.unschedulable = bool(spec.get("unschedulable"))
        self.allocatable = amounts(status.get("allocatable"))
        self.pods_max = self.allocatable.get("pods", 0)
        self.images = {name: image.get("sizeBytes") or 0 for image in status.get("images") or () for name in image.get("names") or ()}
        self._count_left()

    def _count_left(self) -> None:
        # The two that nearly every pod asks for, kept as differences: the filter is one comparison each.
        self.cpu_left = self.allocatable.get("cpu", 0) - self.requested.get("cpu", 0)
        self.memory_left = self.allocatable.get("memory", 0) - self.requested.get("memory", 0)

    def add_pod(self, pod: PodInfo) -> None:
        assert pod.uid not in self.pods
        self.pods[pod.uid] = pod
        if pod.has_affinity:
            self.with_affinity[pod.uid] = pod
            if pod.anti_required:
                self.with_required_anti_affinity[pod.uid] = pod
        self._take(pod, 1)

    def remove_pod(self, pod: PodInfo) -> None:
        """`pod` is what was added (`pods[uid]`), not a newer version of it."""
        assert self.pods.get(pod.uid) is pod
        del self.pods[pod.uid]
        self.with_affinity.pop(pod.uid, None)
        self.with_required_anti_affinity.pop(pod.uid, None)
        self._take(pod, -1)

    def _take(self, pod: PodInfo, sign: int) -> None:
        requested = self.requested
        for name, value in pod.requests.items():
            requested[name] = requested.get(name, 0) + sign * value
        self.nonzero_cpu += sign * pod.nonzero_cpu
        self.nonzero_memory += sign * pod.nonzero_memory
        for port in pod.host_ports:
            count = self.ports.get(port, 0) + sign
            if count:
                self.ports[port] = count
            else:
                del self.ports[port]
        self._count_left()

    def port_taken(self, wanted: HostPort) -> bool:
        """A port on all addresses conflicts with the same on any (framework.HostPortInfo.CheckConflict)."""
        if not self.ports:
            return False
        address, protocol, number = wanted
        if address != ANY_ADDRESS:
            return wanted in self.ports or (ANY_ADDRESS, protocol, number) in self.ports
        return any(each[1] == protocol and each[2] == number for each in self.ports)

    def clone(self) -> "NodeInfo":
        """A copy to try things on. The objects in it are shared, the counts are not."""
        other = NodeInfo.__new__(NodeInfo)
        for slot in NodeInfo.__slots__:
            setattr(other, slot, getattr(self, slot))
        for slot in ("pods", "with_affinity", "with_required_anti_affinity", "requested", "ports"):
            setattr(other, slot, dict(getattr(self, slot)))
        return other
