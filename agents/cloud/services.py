"""Services of type LoadBalancer get addresses, and give them back before they go (k8s.io/cloud-provider, controllers/service)."""

from collections.abc import Sequence

from agents.cloud.provider import Address, NoAddress, Provider
from agents.kit.actions import NORMAL, WARNING, Action, Event, Patch
from agents.kit.controller import Context, Controller
from apiserver.machinery.objects import Object, is_terminating, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

SERVICES, NODES = resource("services"), resource("nodes")
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
RETRY_S = 30.0
"""For a service that cannot have an address now: one may be given back meanwhile."""


def wants_balancer(service: Object) -> bool:
    """A class names somebody else's balancers."""
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not is_terminating(service)


def ingress_of(service: Object) -> list[Object]:
    return list(((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ())


def has_finalizer(service: Object) -> bool:
    return FINALIZER in (service["metadata"].get("finalizers") or ())


def with_finalizer(service: Object, wanted: bool) -> list[Action]:
    """Puts the finalizer there or takes it away, whoever else has some."""
    if has_finalizer(service) == wanted:
        return []
    finalizers = [each for each in service["metadata"].get("finalizers") or () if each != FINALIZER] + ([FINALIZER] if wanted else [])
    patch = {"metadata": {"finalizers": finalizers or None, "resourceVersion": service["metadata"]["resourceVersion"]}}
    return [Patch(SERVICES, namespace_of(service), name_of(service), patch)]


def with_addresses(service: Object, addresses: Sequence[Address]) -> list[Action]:
    """The status that tells the addresses, if it does not yet."""
    ingress: list[Object] = [{"ip": each.ip, "ipMode": "VIP"} if each.ip else {"hostname": each.hostname} for each in addresses]
    if ingress_of(service) == ingress:
        return []
    patch = {"status": {"loadBalancer": {"ingress": ingress} if ingress else None}}
    made: list[Action] = [Patch(SERVICES, namespace_of(service), name_of(service), patch, subresource="status")]
    return [*made, Event(service, NORMAL, "EnsuredLoadBalancer", "Ensured load balancer")] if ingress else made


class Services(Controller):
    name = "service-lb-controller"
    component = "service-controller"
    # One at a time: two that chose an address at once could choose the same.
    workers = 1

    def __init__(self, context: Context, provider: Provider) -> None:
        self._provider = provider
        self._given: dict[str, tuple[str, ...]] = {}
        """Addresses by the service's uid that we gave and that the cache may not show yet."""
        super().__init__(context)

    def watch(self) -> None:
        self.services = self.watched(SERVICES, self.enqueue)
        self.nodes = self.watched(NODES, self._nodes_changed)

    def _nodes_changed(self, node: Object) -> None:
        """A balancer stands on nodes: they may be others now."""
        for service in self.services.all():
            if wants_balancer(service):
                self.enqueue(service)

    async def sync(self, key: str) -> float | None:
        service = self.services.get(key)
        if service is None:
            return None
        if not wants_balancer(service):
            return await self._release(service)
        if not has_finalizer(service):
            # The change wakes us again: no address is given before it is sure to be given back.
            return await self.performer.perform(with_finalizer(service, True))
        try:
            addresses = await self._provider.ensure_balancer(service, self._usable_nodes(), self._taken(service))
        except NoAddress as error:
            await self.performer.perform([Event(service, WARNING, "SyncLoadBalancerFailed", f"Error syncing load balancer: {error}")])
            return RETRY_S
        self._given[uid_of(service)] = tuple(each.ip for each in addresses if each.ip)
        return await self.performer.perform(with_addresses(service, addresses))

    async def _release(self, service: Object) -> float | None:
        if has_finalizer(service):
            await self._provider.delete_balancer(service)
            if not is_terminating(service):
                await self.performer.perform(with_addresses(service, ()))
            await self.performer.perform(with_finalizer(service, False))
        self._given.pop(uid_of(service), None)
        return None

    def _taken(self, besides: Object) -> list[str]:
        taken = []
        there = set()
        for service in self.services.all():
            there.add(uid_of(service))
            if uid_of(service) != uid_of(besides):
                taken += [str(each["ip"]) for each in ingress_of(service) if each.get("ip")]
                taken += self._given.get(uid_of(service), ())
        for uid in [uid for uid in self._given if uid not in there]:
            del self._given[uid]
        return taken

    def _usable_nodes(self) -> list[Object]:
        return [node for node in self.nodes.all() if EXCLUDED not in labels_of(node)]
