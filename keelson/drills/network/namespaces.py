"""Each member in a network namespace of its own, all on one bridge: needs root and iproute2, nothing else, no firewall and no traffic control.

A direction is cut by a lie in the sender's neighbour table: its packets for the receiver go to a hardware address that nobody has. They leave as
always, without an error, and nobody takes them: SYN, data and acknowledgements alike. (A route of type blackhole would tell the sender.)

So a cut of one direction soon silences the other one, too, on every TCP connection: what arrives is acknowledged to nobody, so the sender repeats it
until its window is full. That is how asymmetric partitions are.

Clients come from outside, by the bridge's own address, and are in nobody's way. The addresses are of 198.18.0.0/15, which RFC 2544 keeps for tests.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from keelson.drills.fault import Impossible
from keelson.drills.network.network import Network

if TYPE_CHECKING:
    from keelson.drills.cluster import Cluster, Member

NOBODYS_ADDRESS = "02:00:00:00:de:ad"
MARK = "kd"
"""Begins the names of all that is made here; the process id of the drill follows, so that a later one finds what a killed one left."""
BRIDGE_HOST = 1
FIRST_MEMBER_HOST = 11
SUBNETS = 256


def why_not() -> str | None:
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    if shutil.which("ip") is None:
        return "needs the program ip (Debian: iproute2)"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"cannot make network namespaces: {done.stderr.strip()}"


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Namespaces(Network):
    name = "network namespaces"

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}
        self._cuts: set[tuple[str, str]] = set()

    async def prepare(self, cluster: "Cluster") -> None:
        _sweep()
        bridge = f"{MARK}{os.getpid()}"
        subnet = _free_subnet()
        try:
            _ip("link", "add", bridge, "type", "bridge")
            _ip("addr", "add", f"{subnet}.{BRIDGE_HOST}/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            for number, member in enumerate(cluster.members):
                self._house(member, bridge, f"{subnet}.{FIRST_MEMBER_HOST + number}")
        except BaseException:
            await self.close()
            raise

    def _house(self, member: "Member", bridge: str, host: str) -> None:
        space = _space(member)
        _ip("netns", "add", space)
        _ip("link", "add", space, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", space, "master", bridge, "up")
        _ip("-n", space, "addr", "add", f"{host}/24", "dev", "eth0")
        _ip("-n", space, "link", "set", "eth0", "up")
        _ip("-n", space, "link", "set", "lo", "up")
        self._hosts[member.name] = host
        member.wrapper = ["ip", "netns", "exec", space, *member.wrapper]
        member.client_url = member.listen_client_url = f"{member.scheme}://{host}:{member.client_port}"
        member.peer_url = member.listen_peer_url = f"{member.scheme}://{host}:{member.peer_port}"

    async def cut(self, sender: "Member", receiver: "Member") -> None:
        space, host = _space(sender), self._hosts[receiver.name]
        self._cuts.add((space, host))
        _ip("-n", space, "neigh", "replace", host, "lladdr", NOBODYS_ADDRESS, "dev", "eth0", "nud", "permanent")

    async def mend(self) -> None:
        while self._cuts:
            space, host = self._cuts.pop()
            _ip("-n", space, "neigh", "del", host, "dev", "eth0")

    async def close(self) -> None:
        self._cuts.clear()
        _remove(os.getpid())


def _space(member: "Member") -> str:
    return f"{MARK}{os.getpid()}{member.name}"


def _free_subnet() -> str:
    taken = {address["local"].rpartition(".")[0] for link in json.loads(_ip("-j", "-4", "addr")) for address in link.get("addr_info", ())}
    for number in range(SUBNETS):
        subnet = f"198.18.{(os.getpid() + number) % SUBNETS}"
        if subnet not in taken:
            return subnet
    raise Impossible("no network of 198.18.0.0/16 is free")


def _owner(name: str) -> int | None:
    """The drill that made what is called so."""
    digits = name.removeprefix(MARK).partition("m")[0]
    return int(digits) if name.startswith(MARK) and digits.isdigit() else None


def _sweep() -> None:
    """What drills left that were killed."""
    for name in (*_spaces(), *_links()):
        owner = _owner(name)
        if owner is not None and not Path(f"/proc/{owner}").exists():
            _remove(owner)


def _remove(owner: int) -> None:
    """Namespaces first, for their ends of the cables go with them; then the bridge."""
    for name in _spaces():
        if _owner(name) == owner:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    for name in _links():
        if _owner(name) == owner:
            subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)


def _spaces() -> list[str]:
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line]


def _links() -> list[str]:
    return [link["ifname"] for link in json.loads(_ip("-j", "link"))]
