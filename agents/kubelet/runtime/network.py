"""The node's side of pod networking in embedded mode: a bridge in the node's network namespace, and a veth pair for
each pod. Routes to other nodes' pods are made by whoever makes the nodes.

By netlink (pyroute2), in one thread of its own, because its calls block. The pod's side is set by the pod's shim, which lives in that namespace.
"""

import asyncio
import errno
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from agents.kubelet.runtime.base import RuntimeRefused

BRIDGE = "cni0"
POD_INTERFACE = "eth0"

T = TypeVar("T")


def interface_name(sandbox_id: str) -> str:
    """The node's end: 15 characters at most."""
    return "veth" + hashlib.sha256(sandbox_id.encode()).hexdigest()[:8]


class PodNetwork:
    def __init__(self, pod_range: str, gateway: str, bridge: str = BRIDGE) -> None:
        self.pod_range = IPv4Network(pod_range)
        self.gateway = gateway
        self.bridge = bridge
        self._thread = ThreadPoolExecutor(1, "netlink")
        self._netlink: Any = None
        self._bridge_index = 0

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Raises RuntimeRefused for what the kernel refuses: the pod's namespace may be gone with its shim at any moment."""
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except NetlinkError as error:
            raise RuntimeRefused(f"pod network: {error}") from None

    async def open(self) -> None:
        await self._run(self._open)

    def _open(self) -> None:
        from pyroute2 import IPRoute

        self._netlink = netlink = IPRoute()
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        found = netlink.link_lookup(ifname=self.bridge)
        if not found:
            netlink.link("add", ifname=self.bridge, kind="bridge")
            found = netlink.link_lookup(ifname=self.bridge)
        self._bridge_index = found[0]
        netlink.addr("replace", index=self._bridge_index, address=self.gateway, prefixlen=self.pod_range.prefixlen)
        netlink.link("set", index=self._bridge_index, state="up")

    async def close(self) -> None:
        def end() -> None:
            if self._netlink is not None:
                self._netlink.close()

        await self._run(end)
        self._thread.shutdown()

    async def attach(self, sandbox_id: str, shim_pid: int) -> None:
        """A veth pair: one end on the bridge, the other, eth0, in the namespace of `shim_pid`."""
        await self._run(self._attach, interface_name(sandbox_id), shim_pid)

    def _attach(self, name: str, pid: int) -> None:
        netlink = self._netlink
        self._remove(name)
        netlink.link("add", ifname=name, kind="veth", peer={"ifname": POD_INTERFACE, "net_ns_pid": pid})
        index = netlink.link_lookup(ifname=name)[0]
        netlink.link("set", index=index, master=self._bridge_index, state="up")
        netlink.brport("set", index=index, mode=1)  # hairpin: a pod that reaches itself through its service comes back over the port it left by

    async def detach(self, sandbox_id: str) -> None:
        await self._run(self._remove, interface_name(sandbox_id))

    def _remove(self, name: str) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        for index in self._netlink.link_lookup(ifname=name):
            try:
                self._netlink.link("del", index=index)
            except NetlinkError as error:
                if error.code != errno.ENODEV:  # it went with the pod's namespace since it was found
                    raise
