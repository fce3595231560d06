"""Endpoints written by hand have slices; those of services with a selector, and those that say so, have none of ours."""

import asyncio

from agents.controllers.endpoints_controller import ENDPOINTS, SERVICES, EndpointsController
from agents.controllers.endpointslice import SLICES
from agents.controllers.endpointslice_mirroring import EndpointSliceMirroring
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run


def cluster(selector=None, **labels):
    api = FakeApi()
    api.put(SERVICES, {"metadata": {"name": "db", "namespace": "default"}, "spec": {"ports": [{"port": 5432}], "selector": selector}})
    subsets = [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 5432}]}]
    api.put(ENDPOINTS, {"metadata": {"name": "db", "namespace": "default", "labels": labels}, "subsets": subsets})
    return api


def addresses(api):
    return {each["addressType"]: [(found["addresses"][0], found["conditions"]["ready"]) for found in each["endpoints"]] for each in api.all(SLICES)}


def test_they_follow_what_is_written():
    async def work():
        api = cluster()
        async with running(api, EndpointSliceMirroring, EndpointsController):
            await asyncio.sleep(1)
            assert addresses(api) == {"IPv4": [("192.0.2.1", True), ("192.0.2.2", False)], "IPv6": [("2001:db8::1", True)]}
            assert {each["metadata"]["labels"]["kubernetes.io/service-name"] for each in api.all(SLICES)} == {"db"}
            subsets = [{"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 5432}]}]
            api.touch(ENDPOINTS, "default", "db", lambda obj: obj.update(subsets=subsets))
            await asyncio.sleep(1)
            assert addresses(api) == {"IPv4": [("192.0.2.9", True)]}
            asked = len(api.calls)
            await asyncio.sleep(100)
            assert len(api.calls) == asked
            api.touch(SERVICES, "default", "db", lambda obj: obj["spec"].update(selector={"app": "db"}))
            await asyncio.sleep(1)
            assert addresses(api) == {}, "the service has a selector now: its slices are another's business"

    run(work())


def test_some_are_not_mirrored():
    async def work():
        for api in (cluster({"app": "db"}), cluster(**{"endpointslice.kubernetes.io/skip-mirror": "true"})):
            async with running(api, EndpointSliceMirroring):
                await asyncio.sleep(1)
                assert addresses(api) == {}

    run(work())
