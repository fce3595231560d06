"""The rules of all services, kept from three informers: services, endpoint slices, and nodes.

Only what changed is worked out anew.
"""

import asyncio

from agents.kit.informer import Informer, Informers
from agents.proxy.rules import SERVICE_NAME, ZONE, Listener, Locality, Rule, Rules, captured, local_ready, merged, refused, rules_of, service_of
from apiserver.machinery.objects import Object, key_of, labels_of
from apiserver.machinery.resources import resource

SERVICES = resource("services")
SLICES = resource("endpointslices.discovery.k8s.io")
NODES = resource("nodes")
BY_SERVICE = "service"


class Table:
    """`changed` is set whenever `rules` may say something else than before. `reserved`: addresses that no service gets besides those of the nodes;
    `pods`: networks of which none gets any."""

    def __init__(self, informers: Informers, node: str, reserved: frozenset[str] = frozenset(), pods: tuple[str, ...] = ()) -> None:
        self._node = node
        self._reserved = reserved
        self.services: Informer = informers.of(SERVICES)
        self.slices: Informer = informers.of(SLICES, label_selector=SERVICE_NAME)
        self.nodes: Informer = informers.of(NODES)
        self.slices.add_index(BY_SERVICE, lambda slice_: (service_of(slice_),))
        self.changed = asyncio.Event()
        self._dirty: set[str] = set()
        self._by_service: dict[str, Rules] = {}
        self._host_ports: dict[Listener, Rule] = {}
        self._locality = Locality(node, reserved=reserved, pods=pods)
        self._refused: dict[str, dict[str, str]] = {}
        self.refused: dict[str, dict[str, str]] = {}
        """By service, the addresses that it asks for and does not get, with the reason."""
        wake = self._wake
        self.services.handle(add=lambda each: wake(key_of(each)), update=lambda _, each: wake(key_of(each)), delete=lambda each: wake(key_of(each)))
        self.slices.handle(add=self._slice, update=self._slice_changed, delete=self._slice)
        self.nodes.handle(add=lambda _: self._moved(), update=lambda *_: self._moved(), delete=lambda _: self._moved())

    def lead_host_ports(self, rules: Rules) -> None:
        """The ports of the node that lead to pods. A service that has one goes first."""
        self._host_ports = dict(rules)
        self.changed.set()

    async def synced(self) -> None:
        for informer in (self.services, self.slices, self.nodes):
            await informer.synced.wait()
        self.changed.set()

    def rules(self) -> dict[Listener, Rule]:
        """What shall be answered now."""
        dirty, self._dirty = self._dirty, set()
        for key in dirty:
            service = self.services.get(key)
            found = rules_of(service, self.slices.by(BY_SERVICE, key), self._locality) if service is not None else {}
            if found:
                self._by_service[key] = found
            else:
                self._by_service.pop(key, None)
            self._refused.pop(key, None)
            if service is not None:
                self._refused[key] = refused(service, self._locality)
        told = captured(self._by_service)
        self.refused = {key: both for key in self._refused if (both := {**self._refused[key], **told.get(key, {})})}
        return {**self._host_ports, **merged(self._by_service)}

    def health_checks(self) -> dict[int, tuple[str, int]]:
        """healthCheckNodePort -> (service, ready endpoints here)."""
        return {
            port: (key_of(service), local_ready(service, self.slices.by(BY_SERVICE, key_of(service)), self._locality))
            for service in self.services.all()
            if (port := service["spec"].get("healthCheckNodePort"))
            and service["spec"].get("type") == "LoadBalancer"
            and service["spec"].get("externalTrafficPolicy") == "Local"
        }

    def node_addresses(self) -> list[str]:
        """Where node ports are answered: what the node says others in the cluster reach it by."""
        return [each["address"] for each in _addresses(self.nodes.get(self._node)) if each.get("type") == "InternalIP"]

    def _wake(self, key: str) -> None:
        self._dirty.add(key)
        self.changed.set()

    def _slice(self, slice_: Object) -> None:
        if key := service_of(slice_):
            self._wake(key)

    def _slice_changed(self, before: Object, after: Object) -> None:
        self._slice(before)
        self._slice(after)

    def _moved(self) -> None:
        """Another zone: hints mean something else for every service. Other addresses: node ports stand elsewhere, and no service may have them."""
        own = self.nodes.get(self._node)
        addresses = {each["address"] for node in self.nodes.all() for each in _addresses(node) if each.get("type") in ("InternalIP", "ExternalIP")}
        zone = labels_of(own).get(ZONE, "") if own is not None else self._locality.zone
        locality = Locality(self._node, zone, self._reserved | addresses, self._locality.pods)
        if locality != self._locality:
            self._locality = locality
            self._dirty.update(key_of(each) for each in self.services.all())
            self.changed.set()


def _addresses(node: Object | None) -> list[Object]:
    return list(((node or {}).get("status") or {}).get("addresses") or ())
