"""This machine as an infrastructure: addresses out of a range that leads to the nodes, whose proxies answer on them; zones in turns."""

import ipaddress
from collections.abc import Sequence

from agents.cloud.provider import Address, Instance, NoAddress
from agents.cloud.ways import Ways
from apiserver.machinery.objects import Object, labels_of, name_of

ZONE_LABEL = "keelson.io/zone"
"""A node that says itself where it is."""
REGION = "local"
ZONES = ("local-a", "local-b", "local-c")


class Local:
    """`range_`: the addresses to give, as 172.30.100.0/24. Every node that is registered has a machine: this one. `ways`: how this machine reaches
    them, if that is for us to see to."""

    name = "local"

    def __init__(self, range_: str, ways: Ways | None = None) -> None:
        self._range = ipaddress.ip_network(range_)
        self._ways = ways

    async def instance(self, node: Object) -> Instance | None:
        name = name_of(node)
        return Instance(f"local://{name}", "local", labels_of(node).get(ZONE_LABEL) or zone_of(name), REGION)

    async def ensure_balancer(self, service: Object, nodes: Sequence[Object], taken: Sequence[str]) -> Sequence[Address]:
        found = self._address(service, taken)
        if self._ways is not None:
            self._ways.leave([each for each in self._addresses(service) if each != found and each not in taken])
            self._ways.change(service, [found], nodes)
        return [Address(found)]

    async def delete_balancer(self, service: Object) -> None:
        """Proxies follow the Service's status."""
        if self._ways is not None:
            self._ways.leave(self._addresses(service))

    def _address(self, service: Object, taken: Sequence[str]) -> str:
        wanted = str(service["spec"].get("loadBalancerIP") or "")
        has = self._addresses(service)
        if wanted:
            return self._checked(wanted, taken)
        if len(has) == 1 and has[0] not in taken:
            return has[0]
        return self._free(taken)

    def _addresses(self, service: Object) -> list[str]:
        """Those of the range that it was given, by its status: others, which anybody may have written there, are not ours to lead anywhere."""
        listed = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        return [str(each["ip"]) for each in listed if each.get("ip") and ipaddress.ip_address(each["ip"]) in self._range]

    def _checked(self, address: str, taken: Sequence[str]) -> str:
        try:
            inside = ipaddress.ip_address(address) in self._range
        except ValueError:
            inside = False
        if not inside:
            raise NoAddress(f"spec.loadBalancerIP {address} is not in {self._range}")
        if address in taken:
            raise NoAddress(f"spec.loadBalancerIP {address} is taken by another service")
        return address

    def _free(self, taken: Sequence[str]) -> str:
        others = set(taken)
        for address in self._range.hosts():
            if str(address) not in others:
                return str(address)
        raise NoAddress(f"all {self._range.num_addresses - 2} addresses of {self._range} are taken")


def zone_of(name: str) -> str:
    """node1, node2, ... are in the zones by turns; other names by their letters, always the same."""
    digits = "".join(filter(str.isdigit, name))
    number = int(digits) - 1 if digits else sum(map(ord, name))
    return ZONES[number % len(ZONES)]
