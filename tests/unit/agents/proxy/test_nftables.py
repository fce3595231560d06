"""The difference between two rulesets is a transaction that leads from one to the other, whatever they are."""

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.proxy import nftables, remembered
from agents.proxy.nftables import BASE, TABLE, Ruleset, difference, ruleset
from agents.proxy.rules import Kind, Listener, Rule, Target

TARGETS = st.lists(st.builds(Target, st.sampled_from(["10.244.0.1", "10.244.0.2", "10.244.0.3"]), st.just(8080)), max_size=3, unique=True).map(tuple)
RULES = st.dictionaries(
    st.builds(Listener, st.sampled_from(["", "10.96.0.1", "10.96.0.2"]), st.sampled_from([80, 81]), st.sampled_from(["TCP", "UDP"])),
    st.builds(Rule, st.just("d/s"), st.sampled_from(Kind), TARGETS, TARGETS, st.sampled_from([0, 60, 120])),
    max_size=4,
)


class Kernel:
    """As much of nftables as the transactions need: it refuses what the kernel refuses."""

    def __init__(self):
        self.chains, self.sets, self.elements = {}, {}, {name: {} for name in ruleset({}).elements}

    def do(self, lines):
        for line in lines:
            verb, what, _, table, *rest = line.split()
            assert table == TABLE
            if what == "table" or line in BASE:
                continue
            getattr(self, f"{verb}_{what}")(*rest[:1], " ".join(rest[1:]))
        used = set(re.findall(r"(?:goto|jump) ((?:service|endpoint)-[\w-]+)", repr([self.chains, self.elements])))
        assert used <= set(self.chains), "a verdict that leads nowhere"

    def add_chain(self, name, _):
        self.chains.setdefault(name, [])

    def flush_chain(self, name, _):
        self.chains[name].clear()

    def delete_chain(self, name, _):
        assert self.chains.pop(name) == [], "a chain that is not empty cannot go"

    def add_rule(self, name, rule):
        self.chains[name].append(rule)

    def add_set(self, name, definition):
        assert name not in self.sets
        self.sets[name] = definition

    def delete_set(self, name, _):
        assert f"@{name}" not in repr(self.chains), "a set in use cannot go"
        del self.sets[name]

    def add_element(self, name, listed):
        for each in listed.strip("{ }").split(", "):
            key, _, verdict = each.partition(" : ")
            assert key not in self.elements[name]
            self.elements[name][key] = verdict

    def delete_element(self, name, listed):
        for each in listed.strip("{ }").split(", "):
            del self.elements[name][each.partition(" : ")[0]]


@settings(max_examples=40)
@given(st.lists(RULES, min_size=1, max_size=4))
def test_transactions_lead_from_each_ruleset_to_the_next(steps):
    kernel, before = Kernel(), None
    for step in steps:
        after = ruleset(step, ["172.30.0.11"], ["10.244.0.0/16"])
        kernel.do(difference(before, after))
        assert {name: tuple(rules) for name, rules in kernel.chains.items()} == after.chains
        assert kernel.sets == after.sets
        assert kernel.elements == after.elements
        before = after
    assert difference(before, before) == []


def test_the_first_transaction_throws_away_what_was_there():
    assert difference(None, Ruleset())[:2] == [f"add table ip {TABLE}", f"delete table ip {TABLE}"]


def test_sources_of_another_family_alone_are_nobody():
    """`nft` takes no empty set, and refuses the whole transaction with it: one service would stop the rules of all."""
    listener, target = Listener("172.31.77.2", 80, "TCP"), Target("10.244.1.2", 8080)
    made = ruleset({listener: Rule("d/s", Kind.LOAD_BALANCER, (target,), sources=("2001:db8::/32",))})
    assert [rules[0] for name, rules in made.chains.items() if name.startswith("service-")] == ["drop"]


def test_inside_a_policy_of_local_only_the_nodes_own_pods_keep_their_address():
    """A pod of another node may be led back to that node, to an endpoint that would answer it directly."""
    listener, target = Listener("", 30080, "TCP"), Target("10.244.1.2", 8080)
    made = ruleset({listener: Rule("d/s", Kind.NODE_PORT, (target,), inside=(target,))}, ["172.30.0.11"], ["10.244.0.0/16"])
    (inside,) = (rules for name, rules in made.chains.items() if name.endswith("-inside"))
    assert inside[:2] == ("fib saddr type local jump mark-for-masquerade", "iifname != cni0 jump mark-for-masquerade")
    (service,) = (rules for name, rules in made.chains.items() if name.startswith("service-") and not name.endswith("-inside"))
    assert not any("masquerade" in rule for rule in service)


def test_a_service_without_endpoints_refuses():
    made = ruleset({Listener("10.96.0.1", 80, "TCP"): Rule("d/s", Kind.CLUSTER_IP, ())})
    assert made.elements["silent-services"] == {"10.96.0.1 . tcp . 80": "goto refuse"}
    assert made.chains == {}
    assert made.elements["cluster-ips"] == {"10.96.0.1": ""}


def test_a_kernel_that_does_not_agree_is_told_everything_anew(monkeypatch):
    told = []

    async def run(text):
        told.append(text)
        if len(told) in (2, 4, 5, 6):  # the last but one and the last are one: with what clients had, and without
            raise OSError("nft: Device or resource busy")

    async def ask(_):
        return {}

    monkeypatch.setattr(nftables, "run", run)
    monkeypatch.setattr(nftables.remembered, "ask", ask)
    listener, target = Listener("10.96.0.1", 80, "TCP"), Target("10.244.1.2", 8080)
    rules = {number: {listener: Rule("d/s", Kind.CLUSTER_IP, (target,) * number)} for number in (0, 1)}

    async def play():
        kernel = nftables.Nftables()
        for number in (1, 0):
            assert await kernel.sync(rules[number]) == []
        with pytest.raises(OSError, match="busy"):
            await kernel.sync(rules[1])
        assert await kernel.sync(rules[1]) == []

    asyncio.run(play())
    assert [f"delete table ip {TABLE}" in text for text in told] == [True, False, True, False, True, True, True]


STICKY = {Listener("10.96.0.1", 80, "TCP"): Rule("d/s", Kind.CLUSTER_IP, (Target("10.244.1.2", 8080),), affinity_s=60)}


def test_clients_keep_the_endpoint_that_a_proxy_before_gave_them(monkeypatch):
    (name,) = ruleset(STICKY).sets
    told = []

    async def run(text):
        told.append(text)

    async def ask(table):
        assert table == TABLE
        return {name: ["10.244.1.9 expires 50s", "172.30.0.1 expires 7s"], "endpoint-of-another": ["10.244.1.9 expires 50s"]}

    monkeypatch.setattr(nftables, "run", run)
    monkeypatch.setattr(nftables.remembered, "ask", ask)
    asyncio.run(nftables.Nftables().sync(STICKY))
    assert [line for line in told[0].splitlines() if "expires" in line] == [
        f"add element ip {TABLE} {name} {{ 10.244.1.9 expires 50s, 172.30.0.1 expires 7s }}"
    ]


def test_rules_come_even_if_nobody_can_tell_who_had_what(monkeypatch):
    told = []

    async def run(text):
        told.append(text)

    async def ask(table):
        raise ValueError("no JSON")

    monkeypatch.setattr(nftables, "run", run)
    monkeypatch.setattr(nftables.remembered, "ask", ask)
    assert asyncio.run(nftables.Nftables().sync(STICKY)) == []
    assert len(told) == 1


def test_what_nft_lists_is_understood():
    listed = """{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"set": {"table": "keelson-proxy", "name": "cluster-ips", "elem": ["10.97.0.1"]}},
        {"set": {"table": "keelson-proxy", "name": "cluster", "elem": [{"prefix": {"addr": "10.243.0.0", "len": 16}}]}},
        {"set": {"table": "keelson-proxy", "name": "endpoint-1", "timeout": 10800}},
        {"set": {"table": "keelson-proxy", "name": "endpoint-2", "timeout": 10800, "elem": [{"elem": {"val": "172.30.1.1", "expires": 10799}}]}},
        {"set": {"table": "another", "name": "endpoint-3", "timeout": 60, "elem": [{"elem": {"val": "172.30.1.1", "expires": 59}}]}}]}"""
    assert remembered.elements(listed.encode(), TABLE) == {"endpoint-2": ["172.30.1.1 expires 10799s"]}
