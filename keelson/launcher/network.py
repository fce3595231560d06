"""The machines of a cluster on one machine: each node is a network namespace with an address of its own, all on one bridge.

    host                       keelson0       172.30.0.1/24
      node1 (keelson0-node1)   eth0           172.30.0.11/24, pods 10.244.1.0/24, made by its kubelet
      node2 ...

The host reaches pods by their node's address, and service addresses by that of the first node, whose proxy answers on them. Everything is made
through netlink, needs root, and is removed again by `remove`; both are harmless if it was done before.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

NAMESPACES = Path("/run/netns")
NUMBER_MAX = 50
"""Clusters with nodes on one machine at once: each takes a number, and the ranges that go with it."""
NODES_MAX = 50


class Network(Struct, frozen=True):
    """The addresses of cluster `number` on this machine, with `nodes` nodes."""

    number: int
    nodes: int

    @property
    def bridge(self) -> str:
        return f"keelson{self.number}"

    @property
    def gateway(self) -> str:
        return f"172.30.{self.number}.1"

    @property
    def pods(self) -> str:
        return f"10.{244 - self.number}.0.0/16"

    @property
    def services(self) -> str:
        return f"10.{96 + self.number}.0.0/16"

    @property
    def first_service(self) -> str:
        """That of the API servers themselves."""
        return f"10.{96 + self.number}.0.1"

    @property
    def dns(self) -> str:
        return f"10.{96 + self.number}.0.10"

    @property
    def balancers(self) -> str:
        """Addresses that services of type LoadBalancer get."""
        return f"172.30.{100 + self.number}.0/24"

    def address(self, node: int) -> str:
        """Of node 1, 2, ..."""
        return f"172.30.{self.number}.{10 + node}"

    def pods_of(self, node: int) -> str:
        return f"10.{244 - self.number}.{node}.0/24"

    def namespace(self, node: int) -> str:
        return f"{self.bridge}-node{node}"


def may_be_made() -> bool:
    """Whether this user may make network namespaces."""
    return os.geteuid() == 0


def claim() -> int | None:
    """The lowest number that no cluster on this machine has, taken by making its bridge: of several that ask at once, one gets it. None if there is
    none left. What was claimed is given back by `remove`."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as host:
        for number in range(NUMBER_MAX):
            bridge = Network(number, 0).bridge
            if _link(host, bridge) is None:
                try:
                    host.link("add", ifname=bridge, kind="bridge")
                except NetlinkError as error:
                    if error.code != errno.EEXIST:
                        raise
                else:
                    return number
    return None


def ensure(network: Network) -> None:
    """Make what is missing of it."""
    from pyroute2 import IPRoute, netns  # only here: it takes longer to import than most commands need

    with IPRoute() as host:
        bridge = _link(host, network.bridge)
        if bridge is None:
            host.link("add", ifname=network.bridge, kind="bridge")
            bridge = _link(host, network.bridge)
        with _already():
            host.addr("add", index=bridge, address=network.gateway, prefixlen=24)
        host.link("set", index=bridge, state="up")
        for node in range(1, network.nodes + 1):
            namespace = network.namespace(node)
            if namespace not in netns.listnetns():
                netns.create(namespace)
            _connect(host, bridge, network, node)
            with _already():
                host.route("add", dst=network.pods_of(node), gateway=network.address(node))
        if network.nodes:
            for reached in (network.services, network.balancers):
                with _already():
                    host.route("add", dst=reached, gateway=network.address(1))
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _connect(host: object, bridge: int | None, network: Network, node: int) -> None:
    """A cable from the bridge to the node's namespace, with the address and the routes at its far end."""
    from pyroute2 import IPRoute, NetNS

    assert isinstance(host, IPRoute)
    outer = f"{network.bridge}n{node}"
    namespace = network.namespace(node)
    if _link(host, outer) is None:
        host.link("add", ifname=outer, kind="veth", peer={"ifname": "eth0", "net_ns_fd": namespace})
        index = _link(host, outer)
        host.link("set", index=index, master=bridge, state="up")
    with NetNS(namespace) as inside:
        inside.link("set", index=1, state="up")
        index = _link(inside, "eth0")
        with _already():
            inside.addr("add", index=index, address=network.address(node), prefixlen=24)
        inside.link("set", index=index, state="up")
        with _already():
            inside.route("add", dst="default", gateway=network.gateway)
        for other in range(1, network.nodes + 1):
            if other != node:
                with _already():
                    inside.route("add", dst=network.pods_of(other), gateway=network.address(other))
    _forward_inside(namespace)


def remove(network: Network) -> None:
    from pyroute2 import IPRoute, netns

    with IPRoute() as host:
        for node in range(1, NODES_MAX + 1):
            namespace = network.namespace(node)
            if not (NAMESPACES / namespace).exists():
                continue
            outer = _link(host, f"{network.bridge}n{node}")
            if outer is not None:
                host.link("del", index=outer)
            netns.remove(namespace)
        bridge = _link(host, network.bridge)
        if bridge is not None:
            host.link("del", index=bridge)  # its addresses and routes go with it


def unplug(network: Network, node: int) -> None:
    """Cut the node's cable at the bridge."""
    _switch(network, node, "down")


def plug(network: Network, node: int) -> None:
    _switch(network, node, "up")


def _switch(network: Network, node: int, state: str) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as host:
        host.link("set", index=_link(host, f"{network.bridge}n{node}"), state=state)


def enter(namespace: str) -> None:
    """Put this thread into a network namespace: for the moment between fork and exec, or for a thread that ends there."""
    import ctypes

    handle = os.open(NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, 0x40000000) != 0:  # CLONE_NEWNET
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    finally:
        os.close(handle)


def _forward_inside(namespace: str) -> None:
    """Let packets for pods through. /proc/sys/net is that of the namespace of the thread that opens it: one goes there, and ends there."""
    failed: list[OSError] = []

    def go() -> None:
        try:
            enter(namespace)
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=go, name=f"into {namespace}")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _link(where: object, name: str) -> int | None:
    found = where.link_lookup(ifname=name)  # type: ignore[attr-defined]
    return found[0] if found else None


@contextlib.contextmanager
def _already() -> Iterator[None]:
    """What is there already is no failure."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
