"""The cluster as a cycle sees it, kept up to date event by event (backend/cache in upstream, cache and snapshot in one).

Upstream copies what changed into a snapshot before each cycle, because its cycles run beside the informers. Here a cycle is one call that
nothing can interrupt: the state between two events is the snapshot, and costs no copy.

Assumed pods are those that this scheduler has placed and whose binding is under way: they count on their node from the decision on, until the
informer shows them bound (or the binding fails and `forget` takes them back).
"""

from collections.abc import Iterator, Mapping

from agents.scheduler.counts import Counts, Question
from agents.scheduler.nodeinfo import REGION, ZONE, NodeInfo
from agents.scheduler.podinfo import PodInfo, is_finished
from apiserver.machinery.objects import Object, key_of, labels_of, name_of, namespace_of

LISTED = (
    "namespaces",
    "services",
    "replicationcontrollers",
    "replicasets.apps",
    "statefulsets.apps",
    "persistentvolumes",
    "persistentvolumeclaims",
    "storageclasses.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "csidrivers.storage.k8s.io",
    "csistoragecapacities.storage.k8s.io",
    "poddisruptionbudgets.policy",
)
"""What plug-ins read beside nodes and pods."""


class Snapshot:
    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        """By name, nodes without an object (their pods came first, or they are gone) among them."""
        self.pods: dict[str, PodInfo] = {}
        """By uid: those with a node, assumed ones too."""
        self.assumed: set[str] = set()
        self.nominated: dict[str, dict[str, PodInfo]] = {}
        """Pods for which room was made, by node name and uid."""
        self.with_affinity: dict[str, NodeInfo] = {}
        self.with_required_anti_affinity: dict[str, NodeInfo] = {}
        self.image_nodes: dict[str, int] = {}
        """On how many nodes each image lies."""
        self.listed: dict[str, dict[str, Object]] = {resource: {} for resource in LISTED}
        self._by_namespace: dict[str, dict[str, dict[str, Object]]] = {resource: {} for resource in LISTED}
        self._order: list[NodeInfo] | None = None
        self.counts = Counts()
        self.claim_users: dict[str, set[str]] = {}
        """Uids of the pods that use a claim, by `namespace/name`."""
        self.soft_taints = 0
        """How many nodes have PreferNoSchedule taints."""

    # --- nodes --------------------------------------------------------------------------------------------------------

    @property
    def order(self) -> list[NodeInfo]:
        """All nodes, one of each zone in turn, so that the first so many of them are spread over the zones (nodeTree)."""
        if self._order is None:
            zones: dict[tuple[str, str], list[NodeInfo]] = {}
            for node in self.nodes.values():
                if node.node is not None:
                    zones.setdefault((node.labels.get(REGION, ""), node.labels.get(ZONE, "")), []).append(node)
            self._order = []
            lists = list(zones.values())
            for turn in range(max(map(len, lists), default=0)):
                self._order += [each[turn] for each in lists if turn < len(each)]
        return self._order

    def set_node(self, node: Object) -> None:
        info = self.nodes.get(name_of(node))
        if info is None:
            info = self.nodes[name_of(node)] = NodeInfo(name_of(node))
        zone_before = None if info.node is None else (info.labels.get(REGION), info.labels.get(ZONE))
        self._count_node(info, -1)
        info.set_node(node)
        self._count_node(info, 1)
        if zone_before != (info.labels.get(REGION), info.labels.get(ZONE)):
            self._order = None

    def remove_node(self, name: str) -> None:
        info = self.nodes.get(name)
        if info is None:
            return
        self._count_node(info, -1)
        info.unset_node()
        if not info.pods:
            del self.nodes[name]
        self._order = None

    def _count_node(self, info: NodeInfo, sign: int) -> None:
        self.soft_taints += sign * bool(info.soft_taints)
        for image in info.images:
            self.image_nodes[image] = self.image_nodes.get(image, 0) + sign
            if not self.image_nodes[image]:
                del self.image_nodes[image]

    # --- pods ---------------------------------------------------------------------------------------------------------

    def set_pod(self, pod: Object | PodInfo) -> None:
        """A pod that has a node, as the informer shows it: added, or in the place of what was known of it."""
        info = pod if isinstance(pod, PodInfo) else PodInfo(pod)
        assert info.node_name
        self.assumed.discard(info.uid)
        known = self.pods.get(info.uid)
        if known is not None:
            self._take_out(known)
        if not is_finished(info.pod):
            self._put_in(info)

    def remove_pod(self, uid: str) -> None:
        self.assumed.discard(uid)
        known = self.pods.get(uid)
        if known is not None:
            self._take_out(known)

    def assume(self, pod: PodInfo, node_name: str) -> PodInfo:
        """The decision takes effect for the next cycles."""
        assert pod.uid not in self.pods, "a pod is placed once"
        placed = object.__new__(PodInfo)
        for slot in PodInfo.__slots__:
            setattr(placed, slot, getattr(pod, slot))
        placed.node_name = node_name
        self._put_in(placed)
        self.assumed.add(pod.uid)
        return placed

    def forget(self, uid: str) -> None:
        """The binding failed. What the informer has confirmed meanwhile stays."""
        if uid in self.assumed:
            self.remove_pod(uid)

    def _put_in(self, pod: PodInfo) -> None:
        node = self.nodes.get(pod.node_name)
        if node is None:
            node = self.nodes[pod.node_name] = NodeInfo(pod.node_name)
        node.add_pod(pod)
        self.pods[pod.uid] = pod
        self.counts.add(pod, 1, self.namespace_labels)
        for claim, _ in pod.claims:
            self.claim_users.setdefault(f"{pod.namespace}/{claim}", set()).add(pod.uid)
        self._index(node)

    def _take_out(self, pod: PodInfo) -> None:
        node = self.nodes[pod.node_name]
        node.remove_pod(pod)
        del self.pods[pod.uid]
        self.counts.add(pod, -1, self.namespace_labels)
        for claim, _ in pod.claims:
            users = self.claim_users[f"{pod.namespace}/{claim}"]
            users.discard(pod.uid)
            if not users:
                del self.claim_users[f"{pod.namespace}/{claim}"]
        self._index(node)
        if node.node is None and not node.pods:
            del self.nodes[pod.node_name]

    def _index(self, node: NodeInfo) -> None:
        for index, pods in ((self.with_affinity, node.with_affinity), (self.with_required_anti_affinity, node.with_required_anti_affinity)):
            if pods:
                index[node.name] = node
            else:
                index.pop(node.name, None)

    def count(self, question: Question) -> Mapping[str, int]:
        """How many pods on each node a question means; nodes with none are left out."""
        return self.counts.answer(question, self.pods.values(), self.namespace_labels)

    def nominate(self, pod: PodInfo, node_name: str) -> None:
        self.unnominate(pod.uid)
        self.nominated.setdefault(node_name, {})[pod.uid] = pod

    def unnominate(self, uid: str) -> None:
        for name, pods in list(self.nominated.items()):
            if pods.pop(uid, None) is not None and not pods:
                del self.nominated[name]

    # --- the rest -----------------------------------------------------------------------------------------------------

    def set_object(self, resource: str, obj: Object) -> None:
        key = key_of(obj)
        if resource == "namespaces" and labels_of(obj) != self.namespace_labels(key):
            self.counts.clear()
        self.listed[resource][key] = obj
        self._by_namespace[resource].setdefault(namespace_of(obj), {})[key] = obj

    def remove_object(self, resource: str, obj: Object) -> None:
        key = key_of(obj)
        self.listed[resource].pop(key, None)
        self._by_namespace[resource].get(namespace_of(obj), {}).pop(key, None)

    def restore(self, resource: str, obj: Object, assumed: Object) -> None:
        """Undoes an assumption about an object, unless the informer has brought another version meanwhile."""
        now = self.listed[resource].get(key_of(obj))
        if now is assumed:
            self.set_object(resource, obj)

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        return self.listed[resource].get(f"{namespace}/{name}" if namespace else name)

    def in_namespace(self, resource: str, namespace: str) -> Iterator[Object]:
        yield from self._by_namespace[resource].get(namespace, {}).values()

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        found = self.listed["namespaces"].get(namespace)
        return {} if found is None else labels_of(found)
