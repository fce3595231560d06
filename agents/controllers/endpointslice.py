"""EndpointSlices: the endpoints of a service in pieces of a hundred (pkg/controller/endpointslice and endpointslice/reconciler).

What stays stays where it is: an endpoint that is wanted is left in its slice, so that a change of one pod changes one slice. Pods whose named ports
have other
numbers are in slices of their own. A service without pods has one empty slice.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from agents.controllers import endpoints as rules
from agents.controllers.endpoints_controller import SERVICES, ServiceController
from agents.kit.actions import Action, Create, Delete, Update
from agents.kit.indexer import CONTROLLER
from agents.kit.owners import owner_reference
from apiserver.machinery.objects import Object, is_terminating, key_of, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

SLICES = resource("endpointslices.discovery.k8s.io")
NODES = resource("nodes")
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
PER_SLICE = 100
ZONE = "topology.kubernetes.io/zone"
SAME_NODE = "PreferSameNode"
NEAR = ("PreferClose", "PreferSameZone", SAME_NODE)

Ports = tuple[tuple[Any, ...], ...]


def endpoint(service: Object, pod: Object, family: str, zone: str) -> Object:
    found: Object = {"addresses": rules.addresses(pod, family), "conditions": rules.conditions(service, pod), "targetRef": rules.target_ref(pod)}
    if node := pod["spec"].get("nodeName"):
        found["nodeName"] = node
    if zone:
        found["zone"] = zone
    if name := rules.hostname(service, pod):
        found["hostname"] = name
    if near := hints(service, found):
        found["hints"] = near
    return found


def hints(service: Object, found: Object) -> Object:
    """Whom an endpoint is meant for, if the service wants its clients to stay near (endpointslice/trafficdist): those of its zone, or of its node.
    Only ready ones have some, for proxies look whether all of these do."""
    wish = service["spec"].get("trafficDistribution")
    made: Object = {}
    if wish in NEAR and found["conditions"]["ready"]:
        if zone := found.get("zone"):
            made["forZones"] = [{"name": zone}]
        if wish == SAME_NODE and (node := found.get("nodeName")):
            made["forNodes"] = [{"name": node}]
    return made


def wanted(service: Object, pods: Iterable[Object], zones: dict[str, str]) -> dict[tuple[str, Ports], dict[str, Object]]:
    """The endpoints by address type and ports, each by its pod's uid."""
    groups: dict[tuple[str, Ports], dict[str, Object]] = {}
    for pod in rules.selected(service, pods):
        ports = rules.ports(service, pod)
        if service["spec"].get("ports") and not ports:
            continue  # it has none of the named ports
        for family in rules.families(service):
            if rules.addresses(pod, family):
                zone = zones.get(pod["spec"].get("nodeName") or "", "")
                groups.setdefault((family, ports), {})[uid_of(pod)] = endpoint(service, pod, family, zone)
    return groups


def ports_of(ports: Ports) -> list[Object]:
    listed = []
    for name, number, protocol, app_protocol in ports:
        port = {"name": name, "port": number, "protocol": protocol}
        if app_protocol:
            port["appProtocol"] = app_protocol
        listed.append(port)
    return listed


def key_of_slice(found: Object) -> tuple[str, Ports]:
    ports = ((p.get("name") or "", p.get("port"), p.get("protocol") or "TCP", p.get("appProtocol") or "") for p in found.get("ports") or ())
    return str(found["addressType"]), tuple(sorted(ports))


def labels_for(service: Object) -> dict[str, str]:
    labels = {key: value for key, value in labels_of(service).items() if key not in (rules.SERVICE_LABEL, MANAGED_BY, rules.HEADLESS_LABEL)}
    labels |= {rules.SERVICE_LABEL: name_of(service), MANAGED_BY: MANAGER}
    if rules.is_headless(service):
        labels[rules.HEADLESS_LABEL] = ""
    return labels


def reconcile(service: Object, slices: Sequence[Object], pods: Iterable[Object], zones: dict[str, str]) -> list[Action]:
    """`slices` are those that we made for the service."""
    groups = wanted(service, pods, zones)
    for family in rules.families(service):
        if not any(kind == family for kind, _ in groups):
            groups[family, ()] = {}  # a placeholder says that there is nothing, and not that nobody has looked
    by_group: dict[tuple[str, Ports], list[Object]] = {}
    for each in sorted(slices, key=name_of):
        if not is_terminating(each):
            by_group.setdefault(key_of_slice(each), []).append(each)
    actions: list[Action] = []
    for group, endpoints in sorted(groups.items()):
        actions += _placed(service, group, endpoints, by_group.pop(group, []))
    for left in by_group.values():
        actions += [Delete(SLICES, namespace_of(each), name_of(each), uid_of(each)) for each in left]
    return actions


def _placed(service: Object, group: tuple[str, Ports], endpoints: dict[str, Object], slices: Sequence[Object]) -> list[Action]:
    waiting = dict(endpoints)
    held: list[tuple[Object, list[Object]]] = []
    for each in slices:
        there: list[Object] = []
        for old in each.get("endpoints") or ():
            new = waiting.pop(str((old.get("targetRef") or {}).get("uid")), None)
            if new is not None and len(there) < PER_SLICE:
                there.append(new)
            elif new is not None:
                waiting[new["targetRef"]["uid"]] = new
        held.append((each, there))
    # The fullest first: slices that run empty are to vanish.
    for _, there in sorted(held, key=lambda each: -len(each[1])):
        while waiting and len(there) < PER_SLICE:
            there.append(waiting.pop(next(iter(waiting))))
    actions: list[Action] = []
    empty_may_stay = not endpoints
    for each, there in held:
        if not there and not empty_may_stay:
            actions.append(Delete(SLICES, namespace_of(each), name_of(each), uid_of(each)))
            continue
        empty_may_stay = False
        if there != (each.get("endpoints") or []) or labels_of(each) != labels_for(service):
            changed = {**each, "endpoints": there, "metadata": {**each["metadata"], "labels": labels_for(service)}}
            actions.append(Update(SLICES, changed))
    rest = list(waiting.values())
    while rest or empty_may_stay:
        actions.append(Create(SLICES, _new(service, group, rest[:PER_SLICE]), key_of(service)))
        rest, empty_may_stay = rest[PER_SLICE:], False
    return actions


def _new(service: Object, group: tuple[str, Ports], endpoints: list[Object]) -> Object:
    family, ports = group
    return {
        "apiVersion": SLICES.api_version,
        "kind": SLICES.kind,
        "metadata": {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": labels_for(service),
            "ownerReferences": [owner_reference(service, SERVICES)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports_of(ports),
    }


class EndpointSlices(ServiceController):
    name = "endpointslice-controller"
    component = "endpoint-slice-controller"
    workers = 5

    def watch(self) -> None:
        super().watch()
        self.slices = self.dependents(SLICES, SERVICES)
        self.nodes = self.watched(NODES)

    def reconcile(self, key: str) -> list[Action]:
        service = self.services.get(key)
        if service is None:
            self.sizes.pop(key, None)
            self.expectations.forget(key)  # its slices go with it: the garbage collector follows their owner references
            return []
        if not rules.has_selector(service) or is_terminating(service) or not self.expectations.satisfied(key):
            return []
        slices = [each for each in self.slices.by(CONTROLLER, uid_of(service)) if labels_of(each).get(MANAGED_BY) == MANAGER]
        zones = {name_of(node): labels_of(node).get(ZONE, "") for node in self.nodes.all()}
        return reconcile(service, slices, self.backends(key, service), zones)
