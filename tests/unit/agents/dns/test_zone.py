"""The names of the Kubernetes DNS specification, section by section."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.dns.zone import Code, Zone, records_of

DOMAIN = "cluster.local"


def service(name="s", **spec):
    ports = [{"name": "web", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"port": 9}]
    return {"metadata": {"name": name, "namespace": "d"}, "spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": ports, **spec}}


def headless(name="h"):
    return service(name, clusterIP="None", clusterIPs=["None"])


def slice_of(*endpoints, name="h"):
    return {
        "metadata": {"name": f"{name}-1", "namespace": "d", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}, "hostname": host} for address, host, ready in endpoints],
        "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
    }


def zone(*services, slices=()):
    made = Zone(DOMAIN, 7)
    made.namespaces({"d", "empty"})
    for each in services:
        made.replace(each["metadata"]["name"], records_of(each, slices, DOMAIN))
    return made


def answers(of, name, type_="A"):
    answer = of.answer(name, type_)
    return [text for _, _, text in answer.records] if answer.code is Code.NOERROR else "NXDOMAIN"


def test_2_2_the_schema_has_a_version():
    assert answers(zone(), f"dns-version.{DOMAIN}", "TXT") == ['"1.1.0"']


def test_2_3_a_service_with_an_address():
    there = zone(service(clusterIPs=["10.96.0.7", "fd00::7"]))
    assert answers(there, f"s.d.svc.{DOMAIN}") == ["10.96.0.7"]
    assert answers(there, f"s.d.svc.{DOMAIN}", "AAAA") == ["fd00::7"]
    assert answers(there, f"_web._tcp.s.d.svc.{DOMAIN}", "SRV") == [f"0 100 80 s.d.svc.{DOMAIN}."]
    assert answers(there, f"_dns._udp.s.d.svc.{DOMAIN}", "SRV") == [f"0 100 53 s.d.svc.{DOMAIN}."]
    assert answers(there, f"_dns._tcp.s.d.svc.{DOMAIN}", "SRV") == "NXDOMAIN"
    assert answers(there, "7.0.96.10.in-addr.arpa", "PTR") == [f"s.d.svc.{DOMAIN}."]
    assert len(there.additional(there.answer(f"_web._tcp.s.d.svc.{DOMAIN}", "SRV"))) == 2


def test_2_4_a_headless_service():
    there = zone(headless(), slices=[slice_of(("10.244.0.1", "db-0", True), ("10.244.0.2", None, True), ("10.244.0.3", "db-2", False))])
    assert answers(there, f"h.d.svc.{DOMAIN}") == ["10.244.0.1", "10.244.0.2"]
    assert answers(there, f"db-0.h.d.svc.{DOMAIN}") == ["10.244.0.1"]
    assert answers(there, f"10-244-0-2.h.d.svc.{DOMAIN}") == ["10.244.0.2"]
    assert answers(there, f"db-2.h.d.svc.{DOMAIN}") == "NXDOMAIN"
    assert answers(there, f"_web._tcp.h.d.svc.{DOMAIN}", "SRV") == [f"0 100 8080 10-244-0-2.h.d.svc.{DOMAIN}.", f"0 100 8080 db-0.h.d.svc.{DOMAIN}."]
    assert answers(there, "1.0.244.10.in-addr.arpa", "PTR") == [f"db-0.h.d.svc.{DOMAIN}."]
    assert not there.is_ours("2.0.244.10.in-addr.arpa")


def test_2_5_an_external_name():
    outside = service(type="ExternalName", externalName="db.example.org", clusterIP="")
    inside = service("alias", type="ExternalName", externalName=f"s.d.svc.{DOMAIN}", clusterIP="")
    assert zone(outside).answer(f"s.d.svc.{DOMAIN}", "A").follow == "db.example.org"
    assert answers(zone(outside), f"s.d.svc.{DOMAIN}", "CNAME") == ["db.example.org."]
    assert answers(zone(service(), inside), f"alias.d.svc.{DOMAIN}") == [f"s.d.svc.{DOMAIN}.", "10.96.0.7"]


def test_pods_by_their_addresses():
    assert answers(zone(), f"10-244-0-9.d.pod.{DOMAIN}") == ["10.244.0.9"]
    assert answers(zone(), f"fd00--9.d.pod.{DOMAIN}", "AAAA") == ["fd00::9"]
    assert answers(zone(), f"10-244-0-9.nowhere.pod.{DOMAIN}") == "NXDOMAIN"
    assert answers(zone(), f"nonsense.d.pod.{DOMAIN}") == "NXDOMAIN"


@pytest.mark.parametrize("name", ["svc", "pod", "d.svc", "empty.svc", "d.pod", "s.d.svc", "_tcp.s.d.svc", "dns-version"])
def test_names_that_are_there_without_such_a_record_are_no_data(name):
    assert answers(zone(service()), f"{name}.{DOMAIN}", "MX") == []


@pytest.mark.parametrize("name", ["x.d.svc", "x.svc", "x", "s.x.svc", "x.s.d.svc", "_x._tcp.s.d.svc"])
def test_names_that_are_not_there(name):
    assert answers(zone(service()), f"{name}.{DOMAIN}") == "NXDOMAIN"


def test_the_zone_itself():
    assert answers(zone(), DOMAIN, "SOA") == [f"ns.dns.{DOMAIN}. hostmaster.{DOMAIN}. 7 7200 1800 86400 5"]
    assert answers(zone(), DOMAIN, "NS") == [f"ns.dns.{DOMAIN}."]
    assert not zone().is_ours("example.org")
    assert not zone().is_ours(f"not{DOMAIN}")


def test_what_goes_leaves_nothing():
    there = zone(service())
    assert there.serial == 8
    assert not there.replace("s", records_of(service(), (), DOMAIN))
    assert there.replace("s", {})
    assert answers(there, f"_tcp.s.d.svc.{DOMAIN}", "A") == "NXDOMAIN"
    assert (there._names, +there._below) == (zone()._names, +zone()._below)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), unique=True)), max_size=8))
def test_changes_one_by_one_give_what_the_last_state_gives_at_once(steps):
    def records(name, addresses):
        return records_of(headless(name), [slice_of(*((each, "host", True) for each in addresses), name=name)], DOMAIN)

    stepwise, last = Zone(DOMAIN), {}
    for name, addresses in steps:
        stepwise.replace(name, records(name, addresses))
        last[name] = addresses
    at_once = Zone(DOMAIN)
    for name, addresses in last.items():
        at_once.replace(name, records(name, addresses))
    assert stepwise._names == at_once._names
    assert +stepwise._below == +at_once._below
