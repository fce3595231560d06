"""What a node answers for a service: addresses by kind, endpoints by readiness, policy and hints."""

import pytest

from agents.proxy.rules import (
    Kind,
    Listener,
    Locality,
    Rule,
    Target,
    captured,
    is_proxied,
    local_ready,
    may_use,
    merged,
    refused,
    rules_of,
    targets_for,
)

HERE = Locality("node-1", "z1")
VIP = "10.96.0.7"


def service(*, name="s", ports=None, labels=None, ingress=(), **spec):
    found = {"clusterIP": VIP, "clusterIPs": [VIP], "type": "ClusterIP", "ports": ports or [{"port": 80}], **spec}
    return {
        "metadata": {"name": name, "namespace": "d", "labels": labels or {}},
        "spec": found,
        "status": {"loadBalancer": {"ingress": [{"ip": each} for each in ingress]}},
    }


def endpoint(number, *, node="node-2", zones=(), nodes=(), **conditions):
    hints = {"forZones": [{"name": each} for each in zones], "forNodes": [{"name": each} for each in nodes]}
    return {"addresses": [f"10.244.0.{number}"], "nodeName": node, "conditions": conditions or {"ready": True}, "hints": hints}


def slice_of(*endpoints, name="s-1", port_name="", port=8080, protocol="TCP", family="IPv4"):
    return {
        "metadata": {"name": name, "namespace": "d", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": [{"name": port_name, "port": port, "protocol": protocol}],
    }


def targets(rules, address=VIP, port=80, protocol="TCP"):
    """The last number of each target's address."""
    return [int(target.address.rpartition(".")[2]) for target in rules[Listener(address, port, protocol)].targets]


@pytest.mark.parametrize(
    "left_alone",
    [
        service(clusterIP="None"),
        service(clusterIP=""),
        service(type="ExternalName"),
        service(labels={"service.kubernetes.io/service-proxy-name": "other"}),
        service(labels={"service.kubernetes.io/headless": ""}),
    ],
)
def test_services_that_are_not_for_us(left_alone):
    assert not is_proxied(left_alone)
    assert rules_of(left_alone, [slice_of(endpoint(1))], HERE) == {}


def test_no_service_gets_the_address_of_a_node_a_server_a_pod_or_a_special_one():
    here = Locality("node-1", reserved=frozenset({"172.30.0.1"}), pods=("10.244.0.0/16",))
    special = ["127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1"]
    asking = service(type="LoadBalancer", externalIPs=[*special, "10.244.3.3", "192.0.2.1"], ingress=["172.30.0.1"])
    assert {each.address for each in rules_of(asking, [slice_of(endpoint(1))], here)} == {VIP, "192.0.2.1"}
    assert refused(asking, here) == {
        **dict.fromkeys(special, "it is no address of a single machine"),
        "10.244.3.3": "it is in the network of the pods",
        "172.30.0.1": "it is that of a node or an API server",
    }
    assert refused(service(), here) == {}


def test_no_service_gets_a_port_of_anothers_cluster_address():
    dns, evil = Listener("10.96.0.10", 53, "UDP"), Listener("10.96.0.10", 80, "TCP")
    own, asked = Rule("kube-system/dns", Kind.CLUSTER_IP, ()), Rule("a/evil", Kind.EXTERNAL_IP, (Target("10.0.0.1", 1),))
    both = {"a/evil": {dns: asked, evil: asked}, "kube-system/dns": {dns: own}}
    assert merged(both) == {dns: own}
    assert captured(both) == {"a/evil": {"10.96.0.10": "it is the cluster's address of kube-system/dns"}}


def test_every_address_of_a_service_is_answered():
    balanced = service(
        type="LoadBalancer",
        ports=[
            {"name": "web", "port": 80, "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "x", "port": 9, "protocol": "SCTP"},
        ],
        externalIPs=["192.0.2.1"],
        ingress=["172.30.1.5"],
        loadBalancerSourceRanges=["10.0.0.0/8"],
    )
    rules = rules_of(balanced, [slice_of(endpoint(1), port_name="web")], HERE)
    assert {(each.address, each.port, each.protocol): rule.kind for each, rule in rules.items()} == {
        (VIP, 80, "TCP"): Kind.CLUSTER_IP,
        ("192.0.2.1", 80, "TCP"): Kind.EXTERNAL_IP,
        ("172.30.1.5", 80, "TCP"): Kind.LOAD_BALANCER,
        ("", 30080, "TCP"): Kind.NODE_PORT,
        (VIP, 53, "UDP"): Kind.CLUSTER_IP,
        ("192.0.2.1", 53, "UDP"): Kind.EXTERNAL_IP,
        ("172.30.1.5", 53, "UDP"): Kind.LOAD_BALANCER,
        (VIP, 9, "SCTP"): Kind.CLUSTER_IP,
        ("192.0.2.1", 9, "SCTP"): Kind.EXTERNAL_IP,
        ("172.30.1.5", 9, "SCTP"): Kind.LOAD_BALANCER,
    }
    assert rules[Listener(VIP, 80, "TCP")].service == "d/s:web"
    assert rules[Listener(VIP, 53, "UDP")].targets == ()
    assert rules[Listener("172.30.1.5", 80, "TCP")].sources == ("10.0.0.0/8",)
    assert rules[Listener(VIP, 80, "TCP")].sources == ()


def test_only_ready_endpoints_are_led_to():
    there = slice_of(endpoint(1), endpoint(2, ready=False), endpoint(3, ready=False, serving=True, terminating=True), {"addresses": ["10.244.0.4"]})
    assert targets(rules_of(service(), [there], HERE)) == [1, 4]


def test_those_that_terminate_serve_on_when_nobody_else_does():
    there = slice_of(
        endpoint(1, ready=False), endpoint(2, ready=False, serving=True, terminating=True), endpoint(3, ready=False, serving=False, terminating=True)
    )
    assert targets(rules_of(service(), [there], HERE)) == [2]


def test_slices_are_one_set_and_a_pod_in_two_of_them_counts_once():
    both = [slice_of(endpoint(1), endpoint(2, ready=False)), slice_of(endpoint(2), endpoint(1), name="s-2"), slice_of(endpoint(9), family="IPv6")]
    assert targets(rules_of(service(), both, HERE)) == [1, 2]


def test_ports_are_matched_by_name_and_protocol():
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    rules = rules_of(
        service(ports=ports), [slice_of(endpoint(1), port_name="a"), slice_of(endpoint(2), port_name="b", protocol="UDP", name="s-2")], HERE
    )
    assert (targets(rules), targets(rules, port=81)) == ([1], [])


def test_an_internal_policy_of_local_stays_on_the_node():
    there = slice_of(endpoint(1), endpoint(2, node="node-1"))
    assert targets(rules_of(service(internalTrafficPolicy="Local"), [there], HERE)) == [2]
    assert targets(rules_of(service(internalTrafficPolicy="Local"), [slice_of(endpoint(1))], HERE)) == []


def test_an_external_policy_of_local_binds_those_from_outside():
    there = slice_of(endpoint(1), endpoint(2, node="node-1"))
    local = service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}], externalTrafficPolicy="Local")
    rules = rules_of(local, [there], HERE)
    rule = rules[Listener("", 30080, "TCP")]
    assert [each.address for each in targets_for(rule, "203.0.113.5", ["10.244.0.0/16"])] == ["10.244.0.2"]
    assert [each.address for each in targets_for(rule, "10.244.3.5", ["10.244.0.0/16"])] == ["10.244.0.1", "10.244.0.2"]
    assert targets(rules) == [1, 2]
    assert local_ready(local, [there], HERE) == 1


def test_hints_count_when_all_have_them_and_one_is_ours():
    near, far = endpoint(1, zones=("z1",)), endpoint(2, zones=("z2",))
    assert targets(rules_of(service(), [slice_of(near, far)], HERE)) == [1]
    assert targets(rules_of(service(), [slice_of(near, endpoint(2))], HERE)) == [1, 2]
    assert targets(rules_of(service(), [slice_of(far)], HERE)) == [2]
    assert targets(rules_of(service(), [slice_of(near, far)], Locality("node-1"))) == [1, 2]
    own = [endpoint(1, zones=("z1",), nodes=("node-1",)), endpoint(2, zones=("z1",), nodes=("node-2",))]
    assert targets(rules_of(service(), [slice_of(*own)], HERE)) == [1]


def test_affinity_has_a_time():
    def affinity(**spec):
        return rules_of(service(**spec), [], HERE)[Listener(VIP, 80, "TCP")].affinity_s

    assert affinity() == 0
    assert affinity(sessionAffinity="ClientIP") == 10800
    assert affinity(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 5}}) == 5


def test_who_wants_the_same_address_is_first_by_name():
    one, two = Listener("192.0.2.1", 80, "TCP"), Listener("192.0.2.2", 80, "TCP")
    rule = {name: Rule(name, Kind.EXTERNAL_IP, (Target("10.0.0.1", 1),)) for name in ("d/a", "d/b")}
    assert merged({"d/b": {one: rule["d/b"], two: rule["d/b"]}, "d/a": {one: rule["d/a"]}}) == {one: rule["d/a"], two: rule["d/b"]}


def test_sources_are_networks():
    rule = Rule("d/a", Kind.LOAD_BALANCER, (), sources=("10.0.0.0/8", "nonsense"))
    assert may_use(rule, "10.1.2.3")
    assert not may_use(rule, "11.1.2.3")
    assert may_use(Rule("d/a", Kind.LOAD_BALANCER, ()), "11.1.2.3")


def test_what_is_ready_farther_away_is_for_when_nothing_near_answers():
    def others(endpoints, **spec):
        found = rules_of(service(**spec), [slice_of(*endpoints)], HERE)[Listener(VIP, 80, "TCP")].others
        return [int(target.address.rpartition(".")[2]) for target in found]

    hinted = [endpoint(1, zones=("z1",)), endpoint(2, zones=("z2",)), endpoint(3, zones=("z2",), ready=False)]
    assert others(hinted) == [2]
    assert others([endpoint(1), endpoint(2)]) == []
    assert others(hinted, internalTrafficPolicy="Local") == []


READY, UNREADY = {"ready": True}, {"ready": False}
LEAVING, GONE = {"ready": False, "serving": True, "terminating": True}, {"ready": False, "serving": False, "terminating": True}
PUBLISHED = {"ready": True, "serving": False, "terminating": True}
"""What a service that publishes addresses which are not ready says of a pod that terminates."""
ON_IT, THERE = "node-1", "node-2"


@pytest.mark.parametrize(
    ("endpoints", "cluster", "local", "silent"),
    [
        pytest.param([], [], [], False, id="none at all"),
        pytest.param([(READY, ON_IT), (READY, THERE)], [1, 2], [1], False, id="ready here and there"),
        pytest.param([(READY, THERE)], [1], [], True, id="ready there alone"),
        pytest.param([(UNREADY, ON_IT), (UNREADY, THERE)], [], [], False, id="nobody ready"),
        pytest.param([(LEAVING, ON_IT), (READY, THERE)], [2], [1], False, id="the one here is leaving: those from outside still get it"),
        pytest.param([(LEAVING, ON_IT), (LEAVING, THERE)], [1, 2], [1], False, id="all are leaving"),
        pytest.param([(LEAVING, THERE)], [1], [], True, id="the last is leaving there"),
        pytest.param([(GONE, ON_IT), (LEAVING, THERE)], [2], [], True, id="one that does not serve is none"),
        pytest.param([(LEAVING, ON_IT), (READY, ON_IT)], [2], [2], False, id="who leaves is not asked beside one that is ready"),
        pytest.param([(PUBLISHED, ON_IT), (UNREADY, THERE)], [1], [1], False, id="published though it terminates"),
        pytest.param([({"serving": None, "terminating": True, "ready": False}, ON_IT)], [1], [1], False, id="nobody says that it does not serve"),
        pytest.param([({}, ON_IT)], [1], [1], False, id="nothing is said: it is ready"),
    ],
)
def test_which_endpoints_a_policy_leads_to(endpoints, cluster, local, silent):
    there = slice_of(*({**endpoint(number, node=node), "conditions": conditions} for number, (conditions, node) in enumerate(endpoints, 1)))
    ports = [{"port": 80, "nodePort": 30080}]
    rules = rules_of(service(type="NodePort", ports=ports), [there], HERE)
    assert targets(rules) == targets(rules, address="", port=30080) == cluster
    assert not any(rule.silent for rule in rules.values())
    both = rules_of(service(type="NodePort", ports=ports, externalTrafficPolicy="Local", internalTrafficPolicy="Local"), [there], HERE)
    assert targets(both) == targets(both, address="", port=30080) == local
    assert [int(each.address.rpartition(".")[2]) for each in both[Listener("", 30080, "TCP")].inside] == cluster
    assert {rule.silent and not rule.targets for rule in both.values()} == {silent}


def test_a_slice_that_somebody_made_by_hand_counts_as_any_other():
    by_hand = {**slice_of({"addresses": ["192.0.2.8"]}, port=9376), "ports": [{"port": 9376}]}
    rules = rules_of(service(), [by_hand, {**slice_of(endpoint(1), name="fqdn"), "addressType": "FQDN"}], HERE)
    assert rules[Listener(VIP, 80, "TCP")].targets == (Target("192.0.2.8", 9376),)
