"""Endpoints and EndpointSlices: who stands behind a service, and in which slice."""

import asyncio

import pytest

from agents.controllers import endpoints_controller, endpointslice
from agents.controllers.endpoints_controller import ENDPOINTS, SERVICES, EndpointsController
from agents.controllers.endpointslice import SLICES, EndpointSlices
from agents.kit.actions import Create, Delete, Update
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, pod


def service(**spec):
    ports = [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "svc", "labels": {"team": "a"}},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"], "ports": ports, **spec},
    }


def backend(name, ip, port=8080, **options):
    made = pod(name, labels={"app": "web"}, **options)
    made["spec"]["containers"] = [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]
    made["status"]["podIP"] = ip
    return made


def conditions(slices):
    return {each["targetRef"]["name"]: each["conditions"] for found in slices for each in found["endpoints"]}


def made(actions):
    return [action.object for action in actions if isinstance(action, Create)]


def test_ready_serving_terminating():
    leaving = backend("leaving", "10.0.0.3", deletionTimestamp="2026-01-01T00:00:00Z")
    pods = [backend("ready", "10.0.0.1"), backend("starting", "10.0.0.2", ready=False), leaving, backend("done", "10.0.0.4", phase="Succeeded")]
    slices = made(endpointslice.reconcile(service(), [], pods, {"n1": "zone-a"}))
    assert conditions(slices) == {
        "ready": {"ready": True, "serving": True, "terminating": False},
        "starting": {"ready": False, "serving": False, "terminating": False},
        "leaving": {"ready": False, "serving": True, "terminating": True},
    }
    (found,) = slices
    assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert found["endpoints"][0]["nodeName"] == "n1" and found["endpoints"][0]["zone"] == "zone-a"
    assert found["metadata"]["labels"] == {"team": "a", "kubernetes.io/service-name": "web", endpointslice.MANAGED_BY: endpointslice.MANAGER}
    assert found["metadata"]["ownerReferences"][0]["kind"] == "Service"


def test_who_wants_not_ready_addresses_gets_them_as_ready():
    starting = backend("a", "10.0.0.1", ready=False)
    (found,) = made(endpointslice.reconcile(service(publishNotReadyAddresses=True), [], [starting], {}))
    assert found["endpoints"][0]["conditions"] == {"ready": True, "serving": False, "terminating": False}
    (subset,) = endpoints_controller.wanted(service(publishNotReadyAddresses=True), [starting])
    assert subset["addresses"][0]["ip"] == "10.0.0.1"


@pytest.mark.parametrize(
    ("wish", "zones", "hints"),
    [
        (None, {"n1": "zone-a"}, None),
        ("PreferClose", {"n1": "zone-a"}, {"forZones": [{"name": "zone-a"}]}),
        ("PreferSameZone", {"n1": "zone-a"}, {"forZones": [{"name": "zone-a"}]}),
        ("PreferSameZone", {}, None),
        ("PreferSameNode", {"n1": "zone-a"}, {"forZones": [{"name": "zone-a"}], "forNodes": [{"name": "n1"}]}),
        ("PreferSameNode", {}, {"forNodes": [{"name": "n1"}]}),
    ],
)
def test_near_clients_are_meant_if_the_service_wants_them(wish, zones, hints):
    near = service(trafficDistribution=wish)
    (found,) = made(endpointslice.reconcile(near, [], [backend("a", "10.0.0.1"), backend("b", "10.0.0.2", ready=False)], zones))
    assert [each.get("hints") for each in found["endpoints"]] == [hints, None]
    # A wish that is taken back takes the hints with it.
    again = endpointslice.reconcile(service(), [{**found, "metadata": {**found["metadata"], "name": "web-1"}}], [backend("a", "10.0.0.1")], zones)
    assert [[each.get("hints") for each in action.object["endpoints"]] for action in again] == [[None]]


def test_pods_whose_named_port_has_another_number_are_in_a_slice_of_their_own():
    slices = made(endpointslice.reconcile(service(), [], [backend("a", "10.0.0.1"), backend("b", "10.0.0.2", 9090)], {}))
    assert sorted(each["ports"][0]["port"] for each in slices) == [8080, 9090]


def test_a_pod_of_a_headless_service_has_a_name():
    named = backend("web-0", "10.0.0.1")
    named["spec"] |= {"hostname": "web-0", "subdomain": "web"}
    (found,) = made(endpointslice.reconcile(service(clusterIP="None"), [], [named], {}))
    assert found["endpoints"][0]["hostname"] == "web-0"
    assert found["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def stored(obj, name):
    return {**obj, "metadata": {**obj["metadata"], "name": name, "uid": f"uid-{name}"}}


def test_a_hundred_to_a_slice_and_one_change_changes_one():
    pods = [backend(f"p{number}", f"10.0.{number // 250}.{number % 250 + 1}") for number in range(250)]
    slices = [stored(each, f"s{number}") for number, each in enumerate(made(endpointslice.reconcile(service(), [], pods, {})))]
    assert [len(each["endpoints"]) for each in slices] == [100, 100, 50]
    assert endpointslice.reconcile(service(), slices, pods, {}) == []
    pods[120] = backend("p120", "10.0.0.121", ready=False)
    (update,) = endpointslice.reconcile(service(), slices, pods, {})
    assert isinstance(update, Update) and update.object["metadata"]["name"] == "s1"
    (more,) = endpointslice.reconcile(
        service(), slices, [*[each for each in pods if each is not pods[120]], pods[120], backend("new", "10.9.9.9")], {}
    )[1:]
    assert more.object["metadata"]["name"] == "s2", "what is new goes where there is room"


def test_a_service_without_pods_has_one_empty_slice():
    (empty,) = made(endpointslice.reconcile(service(), [], [], {}))
    assert empty["endpoints"] == [] and empty["ports"] == []
    assert endpointslice.reconcile(service(), [stored(empty, "s")], [], {}) == []
    actions = endpointslice.reconcile(service(), [stored(empty, "s")], [backend("a", "10.0.0.1")], {})
    assert {type(each) for each in actions} == {Create, Delete}


def test_endpoints_group_addresses_by_ports_and_leave_out_who_goes():
    leaving = backend("leaving", "10.0.0.3", deletionTimestamp="2026-01-01T00:00:00Z")
    (create,) = endpoints_controller.reconcile(
        service(), None, [backend("b", "10.0.0.2"), backend("a", "10.0.0.1"), backend("c", "10.0.0.4", ready=False), leaving]
    )
    (subset,) = create.object["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.0.0.1", "10.0.0.2"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.0.0.4"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    same = [backend("b", "10.0.0.2"), backend("a", "10.0.0.1"), backend("c", "10.0.0.4", ready=False)]
    assert endpoints_controller.reconcile(service(), create.object, same) == []


def test_more_than_a_thousand_are_cut_and_marked():
    pods = [backend(f"p{number}", f"10.0.{number // 250}.{number % 250 + 1}") for number in range(1010)]
    (create,) = endpoints_controller.reconcile(service(), None, pods)
    assert sum(len(each["addresses"]) for each in create.object["subsets"]) == 1000
    assert create.object["metadata"]["annotations"] == {"endpoints.kubernetes.io/over-capacity": "truncated"}


def test_both_follow_pods_and_services():
    async def work():
        api = FakeApi()
        made = service()
        del made["metadata"]["uid"]
        api.put(SERVICES, made)
        async with running(api, EndpointsController, EndpointSlices):
            await settle(200)
            assert len(api.all(SLICES)) == 1 and len(api.all(ENDPOINTS)) == 1
            for name, ip in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
                api.put(PODS, backend(name, ip))
            await settle(200)
            assert conditions(api.all(SLICES)).keys() == {"a", "b"}
            api.touch(PODS, "default", "b", lambda obj: obj["metadata"].update(labels={"app": "other"}))
            await settle(200)
            assert conditions(api.all(SLICES)).keys() == {"a"}
            assert [each["ip"] for each in api.all(ENDPOINTS)[0]["subsets"][0]["addresses"]] == ["10.0.0.1"]
            asked = len(api.calls)
            api.touch(PODS, "default", "a", lambda obj: obj["status"].update(message="heartbeat"))
            await asyncio.sleep(10)
            assert len(api.calls) == asked
            api.remove(SERVICES, "default", "web")
            await settle(200)
            assert api.all(ENDPOINTS) == []

    run(work())
