"""How the host reaches service addresses: over a node whose proxy answers, and over another one when it does not any more.

As a load balancer does, the proxy's /healthz is asked, of the node that has the route alone; when it fails the others are asked, and the first that
is well gets the route. It keeps it when the first one comes back: what is under way would be lost otherwise. If nobody is well all stays as it is.

Connections that begin meanwhile come through: what is sent again goes by the new route. Those that stand are lost with it, so a proxy that is merely
away or busy is waited for: it is being started again, and its keeper (or the kernel's rules) has what comes meanwhile. Whether a machine is there
its kernel tells, by taking a connection or refusing it. One process does it, the one that has the lock.
"""

import asyncio
import contextlib
import errno
import fcntl
import ipaddress
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from keelson.cogs.logs import fields

log = logging.getLogger("keelson.routes")

HEALTH_PORT = 10256
INTERVAL_S = 0.5
TIMEOUT_S = 0.8
SILENCES = 2
"""So often in a row a machine may not be heard of; a proxy that says that it is not well is believed at once."""
ABSENCES = 10
"""So often in a row nobody may answer on a machine that is there: five seconds and more, several times what a proxy needs to start."""
LATE = 1.5
"""Times `TIMEOUT_S`: who is told so late that time is up did not get to run himself, and has learned nothing."""
TABLE = Path("/proc/net/route")
ANSWER_BYTES = 64


class Unwell(Exception):
    """It says so."""


class Away(Exception):
    """The machine is there, and nobody answers on it."""


Ask = Callable[[str], Awaitable[None]]
"""Raises Unwell, Away, or TimeoutError for one that is silent."""


class Routes:
    """`networks` lead over one of `gateways`."""

    def __init__(self, networks: Sequence[str], gateways: Sequence[str], ask: Ask | None = None) -> None:
        self._networks, self._gateways = list(networks), list(gateways)
        self._ask = ask or ask_proxy
        self._silences = self._absences = 0

    async def run(self, lock: Path) -> None:
        """Until cancelled; without the lock nothing but wait for it."""
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    if _locked(handle):
                        await self.look()
                except OSError as error:
                    log.warning("the routes to services cannot be changed", extra=fields(error=str(error)))
                await asyncio.sleep(INTERVAL_S)
        finally:
            os.close(handle)

    async def look(self) -> None:
        """Ask once, and change what has to be changed. Raises OSError."""
        text = _table()
        now = {network: gateway_of(text, network) for network in self._networks}
        known = [gateway for gateway in now.values() if gateway in self._gateways]
        via = known[0] if known and not await self._is_lost(known[0]) else await self._first_well()
        if via is None or all(gateway == via for gateway in now.values()):
            return
        log.info("services are reached over another node", extra=fields(gateway=via, before=known[0] if known else ""))
        await asyncio.to_thread(lead, self._networks, via)

    async def _is_lost(self, gateway: str) -> bool:
        try:
            await self._ask(gateway)
        except TimeoutError:
            self._silences += 1
            return self._silences >= SILENCES
        except Away:
            self._silences = 0
            self._absences += 1
            return self._absences >= ABSENCES
        except Unwell:
            return True
        self._silences = self._absences = 0
        return False

    async def _first_well(self) -> str | None:
        self._silences = self._absences = 0

        async def is_well(gateway: str) -> bool:
            try:
                await self._ask(gateway)
            except (TimeoutError, Unwell, Away):
                return False
            return True

        answers = await asyncio.gather(*(is_well(gateway) for gateway in self._gateways))
        return next((gateway for gateway, well in zip(self._gateways, answers, strict=True) if well), None)


async def ask_proxy(gateway: str, port: int = 0) -> None:
    """Its own health, or that of a service at another port. Raises Unwell, Away, TimeoutError."""
    loop = asyncio.get_running_loop()
    began_s, connected = loop.time(), False
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(gateway, port or HEALTH_PORT)
            connected = True
            with contextlib.closing(writer):
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % gateway.encode())
                line = await reader.readline()
    except TimeoutError:
        if connected or loop.time() - began_s > LATE * TIMEOUT_S:
            raise Away("too busy to answer") from None
        raise
    except ConnectionError as error:
        raise Away(str(error)) from None
    except (OSError, ValueError) as error:
        raise Unwell(str(error)) from None
    if not line:
        raise Away("closed without an answer")
    if b" 200 " not in line:
        raise Unwell(line[:ANSWER_BYTES].decode(errors="replace").strip())


def gateway_of(table: str, network: str) -> str | None:
    """Where a network leads, by the kernel's table (its numbers are hexadecimal, in the machine's order of bytes)."""
    wanted = ipaddress.IPv4Network(network)
    for line in table.splitlines()[1:]:
        words = line.split()
        destination, gateway, mask = (ipaddress.IPv4Address(bytes.fromhex(words[each])[::-1]) for each in (1, 2, 7))
        if destination == wanted.network_address and mask == wanted.netmask:
            return str(gateway)
    return None


def lead(networks: Sequence[str], gateway: str) -> None:
    """Raises OSError."""
    from pyroute2 import IPRoute  # only when it is needed: this process is small otherwise
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as host:
            for network in networks:
                host.route("replace", dst=network, gateway=gateway)
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from None


def forget(network: str) -> None:
    """Raises OSError."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as host:
            host.route("del", dst=network)
    except NetlinkError as error:
        if error.code != errno.ESRCH:
            raise OSError(error.code, str(error)) from None


def way_to(network: str) -> str | None:
    """The gateway that a network has now."""
    return gateway_of(_table(), network)


def _table() -> str:
    return TABLE.read_text()


def _locked(handle: int) -> bool:
    """Whether we have it: now, or for long."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
