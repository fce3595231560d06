"""Claims without a service are given back, but not those of somebody who is just writing."""

import json

from apiserver.repair import Repair

SERVICES = "/api/v1/namespaces/default/services"


async def addresses(api):
    _, found = await api.get("/apis/networking.k8s.io/v1/ipaddresses")
    return [each["metadata"]["name"] for each in found["items"]]


def test_what_is_lost_is_given_back_at_the_second_look(served):
    async def test(api):
        services = api.app.allocators["services"]
        repair = Repair(api.app, services)
        await api.post(SERVICES, {"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}})
        mine = {"metadata": {"name": "never-written", "namespace": "default"}}
        address = await services.addresses.claim(mine, "10.96.0.200", dry_run=False)
        port = await services.ports.claim(30009, dry_run=False)
        await repair.once()
        assert address in await addresses(api)
        await repair.once()
        assert address not in await addresses(api)
        assert len(await addresses(api)) == 1
        assert port not in await services.ports.used()
        assert len(await services.ports.used()) == 1

    served(test)


def test_what_is_held_without_a_claim_is_claimed(served):
    async def test(api):
        services = api.app.allocators["services"]
        spec = {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"], "ports": [{"port": 80, "nodePort": 30005}], "type": "NodePort"}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "old", "namespace": "default", "uid": "u"}, "spec": spec}
        api.store.put_now(b"/registry/services/specs/default/old", json.dumps(service).encode())
        await Repair(api.app, services).once()
        assert (await addresses(api), await services.ports.used()) == (["10.96.0.77"], {30005})

    served(test)
