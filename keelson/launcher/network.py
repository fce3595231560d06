"""The machines of a cluster on one machine: each node is a network namespace with an address of its own, all on one bridge.

    host                       keelson0       172.30.0.1/24
      node1 (keelson0-node1)   eth0           172.30.0.11/24, pods 10.244.1.0/24, made by its kubelet
      node2 ...

The host reaches pods by their node's address, and service addresses by that of one node, whose proxy answers on them: by the first at the
beginning, by another one when that does not answer (see routes). Everything is made through netlink, needs root, and is removed again by `remove`;
both are harmless if it was done before.

Whoever has the bridge of a number has the number, with all its addresses and namespaces. A bridge says whose it is, as its alias: it gets its name
when it has its mark, so that there is none without; and it goes last. A cluster that is down has no bridge: another one may take its number.
"""

import contextlib
import errno
import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct


def _as_by_default() -> None:
    """pyroute2 works in a network namespace through a forked child, which it ends with SIGTERM once it has answered: a handler of ours that raises
    would run there, and the child would unwind our stack, with all that takes clusters down at its end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


os.register_at_fork(after_in_child=_as_by_default)

NAMESPACES = Path("/run/netns")
NUMBER_MAX = 50
"""Clusters with nodes on one machine at once: each takes a number, and the ranges that go with it."""
NODES_MAX = 50
PREFIX = "keelson"
MARK_MAX = 255
"""Characters of an alias, says the kernel."""


class Taken(Exception):
    """Somebody else has the number; the text says who."""


class Network(Struct, frozen=True):
    """The addresses of cluster `number` on this machine, with `nodes` nodes."""

    number: int
    nodes: int
    prefix: str = PREFIX

    @property
    def bridge(self) -> str:
        return f"{self.prefix}{self.number}"

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


def mark_of(folder: Path) -> str:
    """How a bridge tells that it is of the cluster in this folder."""
    text = str(folder.resolve())
    if len(text) <= MARK_MAX:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: MARK_MAX - len(digest) - 1]} {digest}"


def owner(network: Network) -> str | None:
    """The mark of the bridge; empty if it has none (we have not made it), None if there is no bridge."""
    from pyroute2 import IPRoute

    with IPRoute() as host:
        return _links(host).get(network.bridge)


def claim(mark: str, prefix: str = PREFIX) -> int | None:
    """The number that has this mark already, else the lowest that nobody on this machine has; None if there is none left. Of several that ask at once
    each gets its own. What was claimed is given back by `remove`."""
    from pyroute2 import IPRoute

    with IPRoute() as host:
        links = _links(host)
        if own := _marked(links, mark, prefix):
            return own[0]
        for number in range(NUMBER_MAX):
            network = Network(number, 0, prefix)
            # Namespaces without a bridge are of somebody whose bridge was taken away by hand.
            if network.bridge not in links and not _namespaces(network) and _make_bridge(host, network, mark):
                return number
    return None


def take(network: Network, mark: str) -> None:
    """Have this number, or go on having it. Raises Taken."""
    from pyroute2 import IPRoute

    with IPRoute() as host:
        if network.bridge not in _links(host):
            _make_bridge(host, network, mark)
        if (has := _links(host).get(network.bridge)) != mark:
            raise Taken(f"the cluster in {has}" if has else f"an interface {network.bridge} that is not of keelson's making")


def ensure(network: Network, mark: str) -> None:
    """Make what is missing of it. Raises Taken."""
    from pyroute2 import IPRoute  # only here: it takes longer to import than most commands need

    take(network, mark)
    with IPRoute() as host:
        bridge = _link(host, network.bridge)
        with _already():
            host.addr("add", index=bridge, address=network.gateway, prefixlen=24)
        host.link("set", index=bridge, state="up")
        for node in range(1, network.nodes + 1):
            _make_namespace(network.namespace(node))
            _connect(host, bridge, network, node)
            with _already():
                host.route("add", dst=network.pods_of(node), gateway=network.address(node))
        if network.nodes:
            for reached in (network.services, network.balancers):
                with _already():
                    host.route("add", dst=reached, gateway=network.address(1))
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _make_bridge(host: object, network: Network, mark: str) -> bool:
    """Whether it is ours now: somebody else may have made one of that name since we looked."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    assert isinstance(host, IPRoute)
    nameless = _nameless(mark, network.prefix)
    with _already():
        host.link("add", ifname=nameless, kind="bridge")
    index = _link(host, nameless)
    host.link("set", index=index, ifalias=mark)
    try:
        host.link("set", index=index, ifname=network.bridge)
    except NetlinkError as error:
        host.link("del", index=index)
        if error.code != errno.EEXIST:
            raise
        return False
    return True


def _nameless(mark: str, prefix: str) -> str:
    """A bridge before it has its number. Of its owner alone, who starts once at a time: one that is there was left by a start that was killed."""
    return f"{prefix[:3]}-{hashlib.sha256(mark.encode()).hexdigest()[:11]}"


def _make_namespace(name: str) -> None:
    from pyroute2 import netns

    place = NAMESPACES / name
    if place.exists() and not os.path.ismount(place):
        place.unlink()  # whoever made it was killed between its two steps
    if not place.exists():
        netns.create(name)


def _connect(host: object, bridge: int | None, network: Network, node: int) -> None:
    """A cable from the bridge to the node's namespace, with the address and the routes at its far end."""
    from pyroute2 import IPRoute, NetNS

    assert isinstance(host, IPRoute)
    outer = f"{network.bridge}n{node}"
    namespace = network.namespace(node)
    if _link(host, outer) is None:
        host.link("add", ifname=outer, kind="veth", peer={"ifname": "eth0", "net_ns_fd": namespace})
    host.link("set", index=_link(host, outer), master=bridge, state="up")
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
    _route_inside(namespace)


def remove(mark: str, network: Network | None = None, prefix: str = PREFIX) -> None:
    """Everything that has this mark; and what is left of `network` if nobody has its bridge. What is somebody else's stays."""
    from pyroute2 import IPRoute

    with IPRoute() as host:
        links = _links(host)
        found = [Network(number, 0, prefix) for number in _marked(links, mark, prefix)]
        if network is not None and network.bridge not in links:
            found.append(network)
        for each in found:
            _remove(host, each)
        if (index := _link(host, _nameless(mark, prefix))) is not None:
            host.link("del", index=index)


def _remove(host: object, network: Network) -> None:
    """The bridge goes last, for whoever has it has the number."""
    from pyroute2 import IPRoute, netns

    assert isinstance(host, IPRoute)
    for node in _namespaces(network):
        namespace = network.namespace(node)
        outer = _link(host, f"{network.bridge}n{node}")
        if outer is not None:
            host.link("del", index=outer)
        if os.path.ismount(NAMESPACES / namespace):
            netns.remove(namespace)
        else:
            (NAMESPACES / namespace).unlink()
    bridge = _link(host, network.bridge)
    if bridge is not None:
        host.link("del", index=bridge)  # its addresses and routes go with it


def _namespaces(network: Network) -> list[int]:
    """The nodes that have one."""
    return [node for node in range(1, NODES_MAX + 1) if (NAMESPACES / network.namespace(node)).exists()]


def _marked(links: dict[str, str], mark: str, prefix: str) -> list[int]:
    """The numbers whose bridge has this mark."""
    return [number for number in range(NUMBER_MAX) if links.get(Network(number, 0, prefix).bridge) == mark]


def _links(host: object) -> dict[str, str]:
    """The marks of all interfaces by their names."""
    from pyroute2 import IPRoute

    assert isinstance(host, IPRoute)
    return {link.get_attr("IFLA_IFNAME"): link.get_attr("IFLA_IFALIAS") or "" for link in host.get_links()}


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


def _route_inside(namespace: str) -> None:
    """Let packets for pods through, and tell nobody of better ways: to the host it looks as if services had one, and the kernel, which sends only so
    many messages, would then have none left to refuse a datagram. /proc/sys/net is that of the namespace of the thread that opens it: one goes there,
    and ends there."""
    failed: list[OSError] = []

    def go() -> None:
        try:
            enter(namespace)
            settings = Path("/proc/sys/net/ipv4")
            (settings / "ip_forward").write_text("1")
            for interface in ("all", "eth0"):
                (settings / "conf" / interface / "send_redirects").write_text("0")
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
