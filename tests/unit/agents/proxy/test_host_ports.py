"""Ports of the node that lead to pods: from the kubelet's file to rules, as often as it changes."""

import asyncio
import json

from agents.proxy.host_ports import HostPort, follow, rules_of_ports
from agents.proxy.rules import Kind, Listener, Target


def test_a_port_is_answered_where_it_is_asked_for():
    told = [
        HostPort(8080, "10.244.1.5", 80, pod="d/a"),
        HostPort(53, "10.244.1.6", 5353, "UDP", "172.30.0.11", "d/b"),
        HostPort(8080, "10.244.1.7", 80, "TCP", "0.0.0.0", "d/late"),
    ]
    rules = rules_of_ports(told)
    assert {listener: rule.targets for listener, rule in rules.items()} == {
        Listener("", 8080, "TCP"): (Target("10.244.1.5", 80),),
        Listener("172.30.0.11", 53, "UDP"): (Target("10.244.1.6", 5353),),
    }
    assert {rule.kind for rule in rules.values()} == {Kind.HOST_PORT}


def test_the_file_is_followed(tmp_path):
    async def run():
        path, told = tmp_path / "ports.json", asyncio.Queue()

        async def says(entries):
            (tmp_path / "new").write_text(entries if isinstance(entries, str) else json.dumps(entries))
            (tmp_path / "new").rename(path)

        following = asyncio.ensure_future(follow(path, told.put_nowait))  # noqa: TID251
        try:
            await says([{"hostIP": "", "hostPort": 8080, "protocol": "TCP", "ip": "10.244.1.5", "port": 80, "pod": "d/a"}])
            while not (rules := await asyncio.wait_for(told.get(), 20)):
                pass  # it may have looked before there was a file
            assert list(rules) == [Listener("", 8080, "TCP")]
            await says("{")
            await says([])
            assert await asyncio.wait_for(told.get(), 20) == {}
        finally:
            following.cancel()

    asyncio.run(run())
