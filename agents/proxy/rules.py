"""From a Service and its EndpointSlices to what a node answers for it (pkg/proxy: serviceport, endpoints, topology). Pure.

Which endpoints a listener leads to, in this order: those that are ready, of the node alone if a traffic policy is Local, near ones if every endpoint
has hints and one is meant for us; and if nothing is ready, those that still serve while they terminate.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from ipaddress import ip_address, ip_network

from msgspec import Struct

from apiserver.machinery.objects import Object, key_of, labels_of, name_of, namespace_of

SERVICE_NAME = "kubernetes.io/service-name"
PROXY_NAME = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"
AFFINITY_S = 10800
"""How long a client keeps its endpoint if the service does not say (three hours)."""


class Kind(Enum):
    CLUSTER_IP = "ClusterIP"
    EXTERNAL_IP = "ExternalIP"
    LOAD_BALANCER = "LoadBalancer"
    NODE_PORT = "NodePort"
    HOST_PORT = "HostPort"
    """Of a pod, on its own node alone."""


class Locality(Struct, frozen=True):
    """Where this proxy stands."""

    node: str
    zone: str = ""
    reserved: frozenset[str] = frozenset()
    """Addresses that no service gets, whatever it asks for (CVE-2020-8554): the API servers' and the nodes'. A node that took one for its own would
    cut itself off, and whoever may make a service could listen to what is meant for others."""
    pods: tuple[str, ...] = ()
    """The networks of the pods: likewise."""


class Listener(Struct, frozen=True, order=True):
    """What is answered. An empty `address` is every address of the node (node ports)."""

    address: str
    port: int
    protocol: str
    """TCP, UDP or SCTP."""


class Target(Struct, frozen=True, order=True):
    address: str
    port: int


class Rule(Struct, frozen=True):
    """What a listener leads to. Without targets a connection is refused."""

    service: str
    """namespace/name:port, for people and metrics."""
    kind: Kind
    targets: tuple[Target, ...]
    inside: tuple[Target, ...] = ()
    """For clients in the cluster, if it is another set: an external policy of Local binds those who come from outside."""
    affinity_s: int = 0
    """A client's next connection goes where the last went, for so long after it; 0: wherever."""
    others: tuple[Target, ...] = ()
    """Ready as well, but farther away than the targets: for when none of these answers. The kernel cannot try one after the other and leaves them."""
    sources: tuple[str, ...] = ()
    """The networks that may use it; none named: all (loadBalancerSourceRanges)."""
    silent: bool = False
    """Without targets there is no answer instead of a refusal: there are endpoints, but a policy of Local keeps them from this node. Clients
    shall try again, which may lead them to another one. Only the kernel can be silent."""


class Endpoint(Struct, frozen=True):
    target: Target
    ready: bool
    serving: bool
    terminating: bool
    local: bool
    zones: frozenset[str]
    nodes: frozenset[str]


Rules = Mapping[Listener, Rule]


def is_proxied(service: Object) -> bool:
    """Whether it is for us at all: it has an address, and nobody else was asked to serve it."""
    spec = service.get("spec") or {}
    labels = labels_of(service)
    if PROXY_NAME in labels or HEADLESS in labels or spec.get("type") == "ExternalName":
        return False
    return bool(spec.get("clusterIP")) and spec["clusterIP"] != "None"


def service_of(slice_: Object) -> str:
    """The key of the service that a slice belongs to; empty if it is none of ours."""
    labels = labels_of(slice_)
    name = labels.get(SERVICE_NAME, "")
    return f"{namespace_of(slice_)}/{name}" if name and HEADLESS not in labels else ""


def rules_of(service: Object, slices: Iterable[Object], locality: Locality) -> dict[Listener, Rule]:
    """Everything that is answered for one service."""
    if not is_proxied(service):
        return {}
    spec, slices, found = service["spec"], list(slices), {}
    affinity_s = _affinity_s(spec)
    for port in spec.get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        named = f"{namespace_of(service)}/{name_of(service)}" + (f":{port['name']}" if port.get("name") else "")
        for address, kind, own_port in _addresses(service, port):
            if kind in (Kind.EXTERNAL_IP, Kind.LOAD_BALANCER) and why_not(address, locality):
                continue
            endpoints = _endpoints(slices, port.get("name") or "", protocol, locality, ":" in address)
            everywhere = _chosen(endpoints, locality, local=False)
            if kind is Kind.CLUSTER_IP:
                local = spec.get("internalTrafficPolicy") == "Local"
                others = () if local else _farther(endpoints, everywhere)
                targets = _chosen(endpoints, locality, local=True) if local else everywhere
                rule = Rule(named, kind, targets, (), affinity_s, others, silent=local and bool(everywhere))
            else:
                local = spec.get("externalTrafficPolicy") == "Local"
                sources = tuple(spec.get("loadBalancerSourceRanges") or ()) if kind is Kind.LOAD_BALANCER else ()
                targets, inside = (_chosen(endpoints, locality, local=True), everywhere) if local else (everywhere, ())
                others = () if local else _farther(endpoints, everywhere)
                rule = Rule(named, kind, targets, inside, affinity_s, others, sources, silent=local and bool(everywhere))
            found[Listener(address, own_port, protocol)] = rule
    return found


def local_ready(service: Object, slices: Iterable[Object], locality: Locality) -> int:
    """How many ready endpoints of the service this node has: what a load balancer asks at healthCheckNodePort."""
    ready = {
        each.target.address
        for port in service["spec"].get("ports") or ()
        for each in _endpoints(slices, port.get("name") or "", port.get("protocol") or "TCP", locality, False)
        if each.local and each.ready
    }
    return len(ready)


def merged(by_service: Mapping[str, Rules]) -> dict[Listener, Rule]:
    """The rules of all services together. The address that a service was given by the cluster is its own: nobody gets a port of it by asking for it.
    Where two ask for the same address and port the first by name has it, whatever came first in time."""
    own = {listener.address for rules in by_service.values() for listener, rule in rules.items() if rule.kind is Kind.CLUSTER_IP}
    found: dict[Listener, Rule] = {}
    for key in sorted(by_service):
        for listener, rule in by_service[key].items():
            if rule.kind is Kind.CLUSTER_IP or listener.address not in own:
                found.setdefault(listener, rule)
    return found


def refused(service: Object, locality: Locality) -> dict[str, str]:
    """The addresses that a service asks for and does not get, with the reason."""
    if not is_proxied(service):
        return {}
    found = {}
    for port in service["spec"].get("ports") or ():
        for address, kind, _ in _addresses(service, port):
            if kind in (Kind.EXTERNAL_IP, Kind.LOAD_BALANCER) and (why := why_not(address, locality)):
                found[address] = why
    return found


def captured(by_service: Mapping[str, Rules]) -> dict[str, dict[str, str]]:
    """By service, the addresses that it asks for and that are another's cluster address: `merged` leaves them out."""
    own = {listener.address: key for key, rules in by_service.items() for listener, rule in rules.items() if rule.kind is Kind.CLUSTER_IP}
    found: dict[str, dict[str, str]] = {}
    for key, rules in by_service.items():
        for listener, rule in rules.items():
            if rule.kind is not Kind.CLUSTER_IP and listener.address in own:
                found.setdefault(key, {})[listener.address] = f"it is the cluster's address of {own[listener.address]}"
    return found


def may_use(rule: Rule, source: str) -> bool:
    return not rule.sources or any(_within(source, network) for network in rule.sources)


def targets_for(rule: Rule, source: str, cluster: Iterable[str]) -> tuple[Target, ...]:
    """The targets for a client of this address. `cluster` are the networks of pods and nodes."""
    if rule.inside and any(_within(source, network) for network in cluster):
        return rule.inside
    return rule.targets


# --- parts ----------------------------------------------------------------------------------------------------------------


def _addresses(service: Object, port: Object) -> Iterable[tuple[str, Kind, int]]:
    spec = service["spec"]
    for address in spec.get("clusterIPs") or [spec["clusterIP"]]:
        yield address, Kind.CLUSTER_IP, port["port"]
    for address in spec.get("externalIPs") or ():
        yield address, Kind.EXTERNAL_IP, port["port"]
    if spec.get("type") == "LoadBalancer":
        for ingress in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            if ingress.get("ip") and ingress.get("ipMode") != "Proxy":
                yield ingress["ip"], Kind.LOAD_BALANCER, port["port"]
    if spec.get("type") in ("NodePort", "LoadBalancer") and port.get("nodePort"):
        yield "", Kind.NODE_PORT, port["nodePort"]


def why_not(address: str, locality: Locality) -> str:
    """Why no service may have this address; empty if one may."""
    found = ip_address(address)
    if found.is_loopback or found.is_unspecified or found.is_link_local or found.is_multicast:
        return "it is no address of a single machine"
    if str(found) in locality.reserved:
        return "it is that of a node or an API server"
    if any(_within(address, network) for network in locality.pods):
        return "it is in the network of the pods"
    return ""


def _affinity_s(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or AFFINITY_S)


def _endpoints(slices: Iterable[Object], port_name: str, protocol: str, locality: Locality, ipv6: bool) -> list[Endpoint]:
    """The endpoints of one port over all slices, each once: a pod may stand in two slices while it moves between them."""
    found: dict[Target, Endpoint] = {}
    for slice_ in sorted(slices, key=key_of):
        if slice_.get("addressType", "IPv4") != ("IPv6" if ipv6 else "IPv4"):
            continue
        port = next(
            (each for each in slice_.get("ports") or () if (each.get("name") or "") == port_name and (each.get("protocol") or "TCP") == protocol),
            None,
        )
        if port is None or not port.get("port"):
            continue
        for endpoint in slice_.get("endpoints") or ():
            if not endpoint.get("addresses"):
                continue
            made = _endpoint(endpoint, int(port["port"]), locality)
            before = found.get(made.target)
            if before is None or (made.ready and not before.ready):
                found[made.target] = made
    return sorted(found.values(), key=lambda each: each.target)


def _endpoint(endpoint: Object, port: int, locality: Locality) -> Endpoint:
    """Conditions that nobody has set count as the API says: ready and serving true, terminating false."""
    conditions, hints = endpoint.get("conditions") or {}, endpoint.get("hints") or {}
    ready = conditions.get("ready")
    serving = conditions.get("serving")
    terminating = bool(conditions.get("terminating"))
    return Endpoint(
        target=Target(endpoint["addresses"][0], port),
        # Whoever publishes addresses that are not ready says that they are, even while they terminate.
        ready=ready is None or bool(ready),
        serving=serving is None or bool(serving),
        terminating=terminating,
        local=endpoint.get("nodeName") == locality.node,
        zones=frozenset(each["name"] for each in hints.get("forZones") or ()),
        nodes=frozenset(each["name"] for each in hints.get("forNodes") or ()),
    )


def _chosen(endpoints: list[Endpoint], locality: Locality, *, local: bool) -> tuple[Target, ...]:
    there = [each for each in endpoints if each.local] if local else endpoints
    usable = [each for each in there if each.ready]
    if usable and not local:
        usable = _near(usable, locality)
    if not usable:
        usable = [each for each in there if each.serving and each.terminating]
    return tuple(each.target for each in usable)


def _near(ready: list[Endpoint], locality: Locality) -> list[Endpoint]:
    """Those meant for this node, or this zone, by their hints; hints count only if all have them, so that nobody is left out by half a change."""
    if all(each.nodes for each in ready) and (meant := [each for each in ready if locality.node in each.nodes]):
        return meant
    if locality.zone and all(each.zones for each in ready) and (meant := [each for each in ready if locality.zone in each.zones]):
        return meant
    return ready


def _farther(endpoints: list[Endpoint], near: tuple[Target, ...]) -> tuple[Target, ...]:
    return tuple(each.target for each in endpoints if each.ready and each.target not in near)


def _within(address: str, network: str) -> bool:
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False
