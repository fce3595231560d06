"""Names follow the objects; the server announces itself, and withdraws."""

import asyncio
import random

from agents.dns.main import NAMESPACES, SERVICES, SLICES, Names
from agents.dns.publish import NAME, NAMESPACE, NODES, Publisher
from agents.dns.zone import Zone
from agents.kit.backoff import Backoff
from agents.kit.informer import Informers
from apiserver.machinery.status import ApiError
from keelson.cogs.tasks import Tasks
from tests.support.fake_api import FakeApi
from tests.unit.agents.dns.test_zone import DOMAIN, answers, headless, slice_of


def test_names_follow_the_objects():
    async def run():
        api = FakeApi()
        api.put(NAMESPACES, {"metadata": {"name": "d"}})
        api.put(SERVICES, headless(), "d")
        informers = Informers(api)
        names = Names(informers, Zone(DOMAIN))
        async with Tasks("test") as tasks:
            informers.start(tasks)
            await asyncio.wait_for(names.synced(), 5)

            async def until(wanted):
                for _ in range(100):
                    if answers(names.zone, f"h.d.svc.{DOMAIN}") == wanted:
                        return
                    await asyncio.sleep(0)
                raise AssertionError(f"never {wanted}")

            assert answers(names.zone, f"10-0-0-1.d.pod.{DOMAIN}") == ["10.0.0.1"]
            await until("NXDOMAIN")
            await api.create(SLICES, slice_of(("10.244.0.1", None, True)), "d")
            await until(["10.244.0.1"])
            await api.delete(SERVICES, "h", "d")
            await until("NXDOMAIN")
            tasks.cancel()

    asyncio.run(run())


def test_it_announces_itself_and_withdraws():
    async def run():
        api = FakeApi()
        api.put(NODES, {"metadata": {"name": "node-1", "uid": "u-9"}})
        api.fail("get", "services", ApiError("ServiceUnavailable", "not yet"))
        publisher = Publisher(api, "node-1", "172.30.0.11", 53, "10.96.0.10")
        backoff = Backoff(random.Random(1).random, asyncio.get_running_loop().time, base_s=0.001)
        async with Tasks("test") as tasks:
            tasks.serve("publish", publisher.run(backoff))
            await asyncio.wait_for(publisher.published.wait(), 5)
            tasks.cancel()
        made = await api.get(SERVICES, NAME, NAMESPACE)
        assert (made["spec"]["clusterIP"], made["spec"]["trafficDistribution"]) == ("10.96.0.10", "PreferSameNode")
        (slice_,) = api.all(SLICES)
        assert slice_["endpoints"][0]["addresses"] == ["172.30.0.11"]
        assert slice_["endpoints"][0]["nodeName"] == "node-1"
        assert slice_["endpoints"][0]["hints"] == {"forNodes": [{"name": "node-1"}]}
        assert slice_["metadata"]["ownerReferences"][0]["uid"] == "u-9"
        assert {(each["name"], each["protocol"]) for each in slice_["ports"]} == {("dns", "UDP"), ("dns-tcp", "TCP")}
        await publisher._publish()
        assert api.counted()["update", SLICES.qualified] == 0
        moved = Publisher(api, "node-1", "172.30.0.12", 53, "10.96.0.10")
        await moved._publish()
        assert api.all(SLICES)[0]["endpoints"][0]["addresses"] == ["172.30.0.12"]
        await moved.withdraw()
        await moved.withdraw()
        assert api.all(SLICES) == []

    asyncio.run(run())
