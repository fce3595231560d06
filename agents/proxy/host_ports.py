"""Ports of the node that lead to a pod (hostPort), as the kubelet tells them in a file: it knows its pods' addresses before anybody, and a proxy need
not be allowed to read pods.

The file is a list of {"hostIP", "hostPort", "protocol", "ip", "port", "pod"}, written whole. A runtime that forwards these ports itself (by CNI's
portmap) writes none.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from agents.proxy.rules import Kind, Listener, Rule, Target
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

LOOK_S = 0.2


class HostPort(Struct, frozen=True, rename={"host_ip": "hostIP", "host_port": "hostPort"}):
    host_port: int
    ip: str
    port: int
    protocol: str = "TCP"
    host_ip: str = ""
    pod: str = ""
    """namespace/name, for people."""


def rules_of_ports(told: Iterable[HostPort]) -> dict[Listener, Rule]:
    found: dict[Listener, Rule] = {}
    for each in told:
        address = "" if each.host_ip in ("", "0.0.0.0") else each.host_ip
        rule = Rule(f"hostPort {each.host_port} of {each.pod}", Kind.HOST_PORT, (Target(each.ip, each.port),))
        found.setdefault(Listener(address, each.host_port, each.protocol), rule)
    return found


async def follow(path: Path, changed: Callable[[dict[Listener, Rule]], None]) -> None:
    """Tells what the file says, whenever it says something else. Until cancelled."""
    seen: tuple[int, int] | None = None
    while True:
        now = await asyncio.to_thread(_identity, path)
        if now != seen:
            seen = now
            try:
                changed(rules_of_ports(msgspec.json.decode(await asyncio.to_thread(path.read_bytes), type=list[HostPort])))
            except FileNotFoundError:
                changed({})
            except (OSError, msgspec.MsgspecError) as error:
                log.warning("the ports of the node's pods cannot be read", extra=fields(path=str(path), error=str(error)))
        await asyncio.sleep(LOOK_S)


def _identity(path: Path) -> tuple[int, int]:
    """It is never changed in its place: another file has another number."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
