"""Balancers of services with a policy of Local lead over nodes that have an endpoint; all others as the whole range does."""

import asyncio
from typing import Any

import pytest

from agents.cloud import ways as module
from agents.cloud.local import Local
from agents.cloud.ways import Ways
from keelson.cogs import routes
from keelson.cogs.routes import Unwell

NODES = [{"metadata": {"name": f"node{n}"}, "status": {"addresses": [{"type": "InternalIP", "address": f"172.30.0.1{n}"}]}} for n in (1, 2, 3)]


def service(policy: str = "Local", ip: str = "172.30.100.1") -> dict[str, Any]:
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": policy, **({"healthCheckNodePort": 31000} if policy == "Local" else {})}
    return {"metadata": {"name": "s", "namespace": "n"}, "spec": spec, "status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}


class World:
    """The kernel's routes, and which nodes have an endpoint."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table: dict[str, str] = {}
        self.with_endpoints = {"172.30.0.13"}
        monkeypatch.setattr(routes, "gateway_of", lambda _, network: self.table.get(network))
        monkeypatch.setattr(routes, "lead", lambda networks, gateway: self.table.update(dict.fromkeys(networks, gateway)))
        monkeypatch.setattr(routes, "forget", self.table.pop)
        monkeypatch.setattr(module, "ask_proxy", self.ask)
        self.ways = Ways()
        self.provider = Local("172.30.100.0/24", self.ways)

    async def ask(self, gateway: str, port: int) -> None:
        assert port == 31000
        if gateway not in self.with_endpoints:
            raise Unwell("503")

    def after(self, of: dict[str, Any], deleted: bool = False) -> dict[str, str]:
        """The routes, once the service is as given."""

        async def run() -> None:
            await (self.provider.delete_balancer(of) if deleted else self.provider.ensure_balancer(of, NODES, []))
            await self.ways.look()

        asyncio.run(run())
        return self.table


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_local_balancer_follows_its_endpoints(world: World) -> None:
    assert world.after(service()) == {"172.30.100.1/32": "172.30.0.13"}
    world.with_endpoints = {"172.30.0.12"}
    assert world.after(service()) == {"172.30.100.1/32": "172.30.0.12"}
    world.with_endpoints = set()
    assert world.after(service()) == {"172.30.100.1/32": "172.30.0.12"}


def test_all_others_lead_where_the_range_does(world: World) -> None:
    assert world.after(service("Cluster")) == {}
    world.after(service())
    assert world.after(service("Cluster")) == {}
    world.after(service())
    assert world.after(service(), deleted=True) == {}


@pytest.mark.parametrize("ip", ["192.0.2.7", "2001:db8::1"])
def test_an_address_that_is_not_of_the_range_is_never_touched(world: World, ip: str) -> None:
    """Whoever may write a status could name any: a route of this machine's own, or what is no network of IPv4."""
    world.table[f"{ip}/32"] = "192.0.2.1"
    assert world.after(service("Cluster", ip)) == {f"{ip}/32": "192.0.2.1"}
    assert world.after(service("Cluster", ip), deleted=True) == {f"{ip}/32": "192.0.2.1"}


def test_a_route_that_cannot_be_made_keeps_no_other_from_being_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = routes.lead

    def lead(networks: list[str], gateway: str) -> None:
        if networks == ["172.30.100.1/32"]:
            raise OSError(101, "Network is unreachable")
        made(networks, gateway)

    monkeypatch.setattr(routes, "lead", lead)
    world.ways.change(service(ip="172.30.100.1"), ["172.30.100.1"], NODES)
    world.ways.change(service(ip="172.30.100.2"), ["172.30.100.2"], NODES)
    with pytest.raises(OSError, match="unreachable"):
        asyncio.run(world.ways.look())
    assert world.table == {"172.30.100.2/32": "172.30.0.13"}


def test_what_an_earlier_instance_has_left_is_taken_away(world: World) -> None:
    world.table["172.30.100.1/32"] = "172.30.0.11"
    assert world.after(service("Cluster")) == {}
