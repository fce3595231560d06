"""Flows of datagrams are forgotten when their endpoint is gone, and no others."""

from agents.proxy.conntrack import Flow, led, stale
from agents.proxy.rules import Kind, Listener, Rule, Target

VIP, A, B = Target("10.96.0.7", 53), Target("10.244.0.1", 5353), Target("10.244.0.2", 5353)
CLIENT = Target("10.244.0.9", 40000)


def rule(*targets: Target, inside: tuple[Target, ...] = ()) -> Rule:
    return Rule("d/s", Kind.CLUSTER_IP, targets, inside)


def test_only_datagrams_are_led_and_node_ports_at_each_address_of_the_node() -> None:
    wanted = {
        Listener("10.96.0.7", 53, "UDP"): rule(A),
        Listener("10.96.0.7", 80, "TCP"): rule(A),
        Listener("", 30053, "UDP"): rule(A, inside=(B,)),
        Listener("fd00::1", 53, "UDP"): rule(A),
    }
    assert led(wanted, ["172.30.0.11"]) == {VIP: {A}, Target("172.30.0.11", 30053): {A, B}}


def test_what_leads_to_an_endpoint_that_is_gone_is_forgotten() -> None:
    to_a, to_b, untranslated = (Flow(CLIENT, VIP, each) for each in (A, B, VIP))
    other = Flow(CLIENT, Target("192.0.2.1", 53), Target("192.0.2.1", 53))
    flows = [to_a, to_b, untranslated, other]
    assert stale(flows, {VIP: {A, B}}, {VIP: {B}}) == [to_a, untranslated]
    assert stale(flows, {}, {VIP: {A, B}}) == [untranslated]
    assert stale(flows, {VIP: {A, B}}, {}) == [to_a, to_b, untranslated]
    assert stale(flows, {VIP: {B}}, {VIP: {B}}) == []
