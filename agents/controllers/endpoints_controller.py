"""Endpoints: all addresses of a service in one object, for clients from before EndpointSlices (pkg/controller/endpoint)."""

from collections.abc import Sequence

from agents.controllers import endpoints as rules
from agents.controllers.pods import PODS, is_ready
from agents.kit.actions import Action, Create, Delete, Update
from agents.kit.controller import Controller
from agents.kit.selection import equals
from apiserver.machinery.objects import Object, is_terminating, key_of, labels_of, name_of, namespace_of
from apiserver.machinery.resources import resource

SERVICES = resource("services")
ENDPOINTS = resource("endpoints")
ADDRESSES_MAX = 1000
BATCH_FROM = 100
BATCH_S_MAX = 1.0
CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"


def services_of(services: Sequence[Object], pod: Object) -> list[Object]:
    return [each for each in services if rules.has_selector(each) and equals(each["spec"]["selector"], labels_of(pod))]


def batch_s(pods: int) -> float:
    """How long changes of pods are gathered: 10 us a pod is a round, and a rollout of a thousand pods is thousands of changes."""
    return 0.0 if pods < BATCH_FROM else min(pods / 2000, BATCH_S_MAX)


class ServiceController(Controller):
    """Wakes the services that a pod belongs to, or belonged to before it changed."""

    def watch(self) -> None:
        self.sizes: dict[str, int] = {}
        """How many pods were looked through for a service."""
        self.services = self.watched(SERVICES, self.enqueue)
        self.pods = self.watched(PODS)
        self.pods.handle(add=self._pod_changed, update=self._pod_updated, delete=self._pod_changed)

    def _pod_changed(self, pod: Object) -> None:
        for service in services_of(self.services.all(namespace_of(pod)), pod):
            key = key_of(service)
            self.queue.add_after(key, batch_s(self.sizes.get(key, 0)))

    def backends(self, key: str, service: Object) -> list[Object]:
        """The pods that it may be about."""
        found = self.pods.all(namespace_of(service))
        self.sizes[key] = len(found)
        return found

    def _pod_updated(self, old: Object, new: Object) -> None:
        if rules.concerns(old, new):
            self._pod_changed(new)
            if labels_of(old) != labels_of(new):
                self._pod_changed(old)


def wanted(service: Object, pods: Sequence[Object]) -> list[Object]:
    """The subsets."""
    family = rules.families(service)[0]
    subsets = []
    for pod in rules.selected(service, pods):
        if is_terminating(pod) and not rules.publishes_not_ready(service):
            continue
        for ip in rules.addresses(pod, family)[:1]:
            address = {"ip": ip, "nodeName": pod["spec"].get("nodeName"), "targetRef": rules.target_ref(pod)}
            if name := rules.hostname(service, pod):
                address["hostname"] = name
            ports = rules.ports(service, pod)
            if service["spec"].get("ports") and not ports:
                continue
            ready = is_ready(pod) or rules.publishes_not_ready(service)
            subsets.append({"addresses" if ready else "notReadyAddresses": [_without_none(address)], "ports": [_port(*port) for port in ports]})
    return rules.repacked(subsets)


def _without_none(address: Object) -> Object:
    return {key: value for key, value in address.items() if value is not None}


def _port(name: str, number: int, protocol: str, app_protocol: str) -> Object:
    port: Object = {"port": number, "protocol": protocol}
    if name:
        port["name"] = name
    if app_protocol:
        port["appProtocol"] = app_protocol
    return port


def truncated(subsets: Sequence[Object]) -> tuple[list[Object], bool]:
    """At most so many addresses, ready ones first; and whether some were left out."""
    count = sum(len(subset.get(field) or ()) for subset in subsets for field in ("addresses", "notReadyAddresses"))
    if count <= ADDRESSES_MAX:
        return list(subsets), False
    room = ADDRESSES_MAX
    kept = [dict(subset) for subset in subsets]
    for field in ("addresses", "notReadyAddresses"):
        for subset in kept:
            if field in subset:
                subset[field] = subset[field][:room]
                room -= len(subset[field])
                if not subset[field]:
                    del subset[field]
    return [subset for subset in kept if subset.get("addresses") or subset.get("notReadyAddresses")], True


def reconcile(service: Object, existing: Object | None, pods: Sequence[Object]) -> list[Action]:
    subsets, over = truncated(wanted(service, pods))
    labels = {**labels_of(service), MANAGED_BY: "endpoint-controller"}
    if rules.is_headless(service):
        labels[rules.HEADLESS_LABEL] = ""
    before = existing or {"metadata": {"name": name_of(service), "namespace": namespace_of(service)}}
    annotations = {key: value for key, value in (before["metadata"].get("annotations") or {}).items() if key != CAPACITY}
    if over:
        annotations[CAPACITY] = "truncated"
    same = existing is not None and (existing.get("subsets") or []) == subsets and labels_of(existing) == labels
    if same and (before["metadata"].get("annotations") or {}) == annotations:
        return []
    metadata = {key: value for key, value in before["metadata"].items() if key != "annotations"} | {"labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    new = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, **({"subsets": subsets} if subsets else {})}
    return [Create(ENDPOINTS, new) if existing is None else Update(ENDPOINTS, new)]


class EndpointsController(ServiceController):
    name = "endpoints-controller"
    component = "endpoint-controller"
    workers = 5

    def watch(self) -> None:
        super().watch()
        self.endpoints = self.watched(ENDPOINTS, self._endpoints_changed)

    def _endpoints_changed(self, endpoints: Object) -> None:
        """Somebody else changed or deleted what is ours."""
        service = self.services.get(key_of(endpoints))
        if service is None or rules.has_selector(service):
            self.enqueue(endpoints)

    def reconcile(self, key: str) -> list[Action]:
        service, existing = self.services.get(key), self.endpoints.get(key)
        if service is None:
            self.sizes.pop(key, None)
            # Only what this controller made: a service without selector leaves its endpoints to whoever wrote them.
            ours = existing is not None and labels_of(existing).get(MANAGED_BY) == "endpoint-controller"
            return [Delete(ENDPOINTS, namespace_of(existing), name_of(existing), existing["metadata"]["uid"])] if ours and existing else []
        if not rules.has_selector(service):
            return []
        return reconcile(service, existing, self.backends(key, service))
