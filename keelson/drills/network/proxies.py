"""A TCP proxy before each member's peer port, whose address the member advertises. Works for everybody, everywhere, and for what is inside TLS.

A cut direction is one that the proxy does not read from: the connection stays open, the bytes wait in the kernel, and arrive when it is mended. Who
dialled is found out by asking the kernel which member's process has the other end. A new connection waits until both directions are open,
since its first packets go both ways.

What differs from packets that are lost: the sender's kernel gets its acknowledgements from the proxy until buffers are full, so a time-out on
unacknowledged data does not strike; and the direction that is not cut stays fully usable.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from keelson.cogs.tasks import TaskSet
from keelson.drills.network.network import Network
from keelson.drills.ports import free_port

if TYPE_CHECKING:
    from keelson.drills.cluster import Cluster, Member

HOST = "127.0.0.1"
WAITING_BYTES_MAX = 1 << 20
"""In the proxy, for a receiver that is slow; then the sender is not read from until it is less."""


class Proxies(Network):
    name = "proxies"

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self._cuts: set[tuple[str, str]] = set()
        self.tasks = TaskSet("proxies")
        self._servers: list[asyncio.Server] = []
        self.pairs: set[_Pair] = set()

    async def prepare(self, cluster: "Cluster") -> None:
        loop = asyncio.get_running_loop()
        for member in cluster.members:
            port = free_port()
            self.members[member.name] = member
            self._servers.append(await loop.create_server(lambda target=member: _Pair(self, target).near, HOST, port))  # type: ignore[misc]
            member.peer_url = f"{member.scheme}://{HOST}:{port}"

    def admit(self, member: "Member") -> None:
        """One that joins later may pass. Nobody passes a proxy to reach it."""
        self.members[member.name] = member

    def is_cut(self, sender: str, receiver: str) -> bool:
        return (sender, receiver) in self._cuts

    async def cut(self, sender: "Member", receiver: "Member") -> None:
        self._cuts.add((sender.name, receiver.name))
        self._follow()

    async def mend(self) -> None:
        self._cuts.clear()
        self._follow()

    def _follow(self) -> None:
        for pair in self.pairs:
            pair.follow()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for pair in list(self.pairs):
            pair.end()
        self._servers.clear()
        await self.tasks.close()

    def caller(self, near: asyncio.Transport) -> str | None:
        """The member whose process has the other end of a connection to the proxy."""
        inode = _inode(near.get_extra_info("peername")[1], near.get_extra_info("sockname")[1])
        for name, member in self.members.items():
            if inode and member.process is not None and _holds(member.process.pid, inode):
                return name
        return None


class _Pair:
    """A connection to the proxy and the one it makes in turn; `near` is whoever dialled, `far` the member dialled."""

    def __init__(self, owner: Proxies, target: "Member") -> None:
        self._owner, self._target = owner, target
        self._caller: str | None = None
        self._dialling: asyncio.Task[None] | None = None
        self.near = _End(self)
        self.far = _End(self)
        owner.pairs.add(self)

    def made(self, end: "_End") -> None:
        if end is self.near:
            assert end.transport is not None
            self._caller = self._owner.caller(end.transport)
            if self._caller is None:  # it has gone already, or is no member
                self.end()
                return
        self.follow()

    def follow(self) -> None:
        """Do as the cuts are now."""
        if self._caller is None:
            return
        there = self._owner.is_cut(self._caller, self._target.name)
        back = self._owner.is_cut(self._target.name, self._caller)
        if self.far.transport is None:
            self.near.hold(True)
            if not there and not back and self._dialling is None:
                self._dialling = self._owner.tasks.start(f"{self._caller} to {self._target.name}", self._dial())
            return
        self.near.hold(there or self.far.full)
        self.far.hold(back or self.near.full)

    async def _dial(self) -> None:
        port = urlsplit(self._target.listen_peer_url).port
        assert port is not None, self._target.listen_peer_url
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.far, HOST, port)
        except OSError:
            self.end()

    def take(self, end: "_End", data: bytes) -> None:
        other = self.far if end is self.near else self.near
        if other.transport is not None:
            other.transport.write(data)

    def end(self) -> None:
        self._owner.pairs.discard(self)
        if self._dialling is not None:
            self._dialling.cancel()
        for each in (self.near, self.far):
            if each.transport is not None:
                each.transport.close()


class _End(asyncio.Protocol):
    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        self._held = False
        self.full = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WAITING_BYTES_MAX)
        self._pair.made(self)

    def hold(self, held: bool) -> None:
        if held == self._held or self.transport is None or self.transport.is_closing():
            return
        self._held = held
        if held:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._pair.take(self, data)

    def pause_writing(self) -> None:
        self.full = True
        self._pair.follow()

    def resume_writing(self) -> None:
        self.full = False
        self._pair.follow()

    def connection_lost(self, _error: Exception | None) -> None:
        self._pair.end()


def _inode(port: int, other_port: int) -> str:
    """Of the socket on `port` of loopback that is connected to `other_port`; "" if there is none."""
    ours, theirs = f"0100007F:{port:04X}", f"0100007F:{other_port:04X}"
    with Path("/proc/net/tcp").open() as table:
        for line in table:
            words = line.split()
            if words[1] == ours and words[2] == theirs:
                return words[9]
    return ""


def _holds(pid: int, inode: str) -> bool:
    try:
        return any(str(entry.readlink()) == f"socket:[{inode}]" for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
