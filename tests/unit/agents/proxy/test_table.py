"""Objects come and go, and the rules are those of the objects that are there."""

import asyncio

from agents.kit.informer import Informers
from agents.proxy.rules import Kind, Listener
from agents.proxy.table import NODES, SERVICES, SLICES, Table
from keelson.cogs.tasks import Tasks
from tests.support.fake_api import FakeApi
from tests.unit.agents.proxy.test_rules import endpoint, service, slice_of


def test_rules_follow_the_objects():
    async def run():
        api = FakeApi()
        api.put(NODES, {"metadata": {"name": "node-1"}, "status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.11"}]}})
        api.put(SERVICES, service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]), "d")
        informers = Informers(api)
        table = Table(informers, "node-1")

        async def next_rules():
            await asyncio.wait_for(table.changed.wait(), 5)
            table.changed.clear()
            return table.rules()

        async with Tasks("test") as tasks:
            informers.start(tasks)
            await table.synced()
            rules = await next_rules()
            assert {listener: (rule.kind, rule.targets) for listener, rule in rules.items()} == {
                Listener("10.96.0.7", 80, "TCP"): (Kind.CLUSTER_IP, ()),
                Listener("", 30080, "TCP"): (Kind.NODE_PORT, ()),
            }
            assert table.node_addresses() == ["172.30.0.11"]
            await api.create(SLICES, slice_of(endpoint(1, zones=("z1",)), endpoint(2, zones=("z2",))), "d")
            assert len((await next_rules())[Listener("10.96.0.7", 80, "TCP")].targets) == 2
            api.put(NODES, {"metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "z1"}}})
            await api.patch(NODES, "node-1", {"metadata": {"labels": {"topology.kubernetes.io/zone": "z2"}}})
            assert [each.address for each in (await next_rules())[Listener("10.96.0.7", 80, "TCP")].targets] == ["10.244.0.2"]
            asked = {"spec": {"externalIPs": ["172.30.0.12"]}}
            await api.patch(SERVICES, "s", asked, "d")
            assert "172.30.0.12" in {each.address for each in await next_rules()}
            api.put(NODES, {"metadata": {"name": "node-2"}, "status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.12"}]}})
            await api.patch(NODES, "node-2", {"metadata": {"labels": {"x": "y"}}})
            assert "172.30.0.12" not in {each.address for each in await next_rules()}
            assert list(table.refused["d/s"]) == ["172.30.0.12"]
            await api.delete(SERVICES, "s", "d")
            assert await next_rules() == {}
            assert table.refused == {}
            tasks.cancel()

    asyncio.run(run())
