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


def test_what_an_earlier_instance_has_left_is_taken_away(world: World) -> None:
    world.table["172.30.100.1/32"] = "172.30.0.11"
    assert world.after(service("Cluster")) == {}
