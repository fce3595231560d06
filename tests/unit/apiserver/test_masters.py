"""The `kubernetes` service leads to the servers that live."""

import asyncio

from apiserver.masters import Masters, slices


def test_one_slice_for_each_port():
    made = slices([("10.0.0.1", 6443), ("10.0.0.2", 6443), ("10.0.0.1", 6444)])
    assert [(each["metadata"]["name"], [one["addresses"][0] for one in each["endpoints"]], each["ports"][0]["port"]) for each in made] == [
        ("kubernetes", ["10.0.0.1", "10.0.0.2"], 6443),
        ("kubernetes-6444", ["10.0.0.1"], 6444),
    ]


def test_who_comes_is_added_and_who_goes_is_taken_out(served):
    async def test(api):
        first = Masters(api.app, api.store, ("10.0.0.1", 6443), "10.96.0.1")
        second = Masters(api.app, api.store, ("10.0.0.2", 6443), "10.96.0.1")
        await first.reconcile()
        await second.reconcile()
        assert await addresses(api) == ["10.0.0.1", "10.0.0.2"]
        _, service = await api.get("/api/v1/namespaces/default/services/kubernetes")
        assert (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]) == ("10.96.0.1", 443)
        await asyncio.gather(first.leave())
        assert await addresses(api) == ["10.0.0.2"]

    served(test)


async def addresses(api):
    _, found = await api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    _, legacy = await api.get("/api/v1/namespaces/default/endpoints/kubernetes")
    told = [each["addresses"][0] for each in found["endpoints"]]
    assert told == [each["ip"] for subset in legacy["subsets"] for each in subset["addresses"]]
    return told
