"""A service proxy in a network namespace, told by lines on standard input what there is: `python -m tests.support.proxy_child NAMESPACE MODE`.

Each line is {"services": [...], "slices": [...], "hostPorts": [...]}; it answers with one line of what it could not do. The end of the input is a
clean stop.
"""

import asyncio
import json
import sys

import msgspec
from pyroute2 import netns

from agents.proxy.host_ports import HostPort, rules_of_ports
from agents.proxy.keeping import Keeping
from agents.proxy.link import Link
from agents.proxy.nftables import Nftables
from agents.proxy.rules import Locality, merged, rules_of, service_of
from agents.proxy.userspace import Userspace
from apiserver.machinery.objects import key_of


async def main(mode: str, node_address: str, cluster: str) -> None:
    link, keeping = Link(), Keeping() if mode == "kept" else None
    proxy = Nftables([node_address], [cluster]) if mode == "nftables" else Userspace(link, [node_address], [cluster], keeping=keeping)
    if isinstance(proxy, Userspace):
        await proxy.inherit()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        told = json.loads(line)
        rules = {
            key_of(service): rules_of(service, [each for each in told["slices"] if service_of(each) == key_of(service)], Locality("node-1", "z1"))
            for service in told["services"]
        }
        host_ports = rules_of_ports(msgspec.convert(told["hostPorts"], list[HostPort]))
        print(json.dumps(await proxy.sync({**host_ports, **merged(rules)})), flush=True)
    await proxy.close()
    if keeping is not None:
        keeping.end()
    if mode != "nftables":
        await link.remove()


if __name__ == "__main__":
    netns.setns(sys.argv[1])
    asyncio.run(main(*sys.argv[2:]))
