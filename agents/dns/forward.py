"""Names that are not the cluster's: asked of the servers in /etc/resolv.conf, one after the other, the one that answered last first."""

import asyncio
import secrets
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.dns import wire

TIMEOUT_S = 2.0
"""For one server; the next is asked after that."""
DOWN_S = 5.0
"""A server that did not answer is not asked for so long: clients that ask for one name in five forms wait once, not five times."""
AT_ONCE_MAX = 500
"""Questions under way; more are failed at once rather than kept waiting."""
SERVERS_MAX = 3
"""As resolvers read of resolv.conf."""


def servers_of(text: str, own: Sequence[str] = ()) -> list[str]:
    """The name servers of a resolv.conf, without our own addresses: we would ask ourselves for ever."""
    found = [words[1] for line in text.splitlines() if len(words := line.split()) > 1 and words[0] == "nameserver"]
    return [each for each in found if each.partition("%")[0] not in own][:SERVERS_MAX]


def servers_of_file(path: str, own: Sequence[str] = ()) -> list[str]:
    try:
        return servers_of(Path(path).read_text(), own)
    except OSError:
        return []


class Forwarder:
    """`servers` are HOST or HOST:PORT."""

    def __init__(self, servers: Sequence[str], identity: Callable[[], int] = lambda: secrets.randbelow(1 << 16)) -> None:
        self._servers = [_place(each) for each in servers]
        self._identity = identity
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)
        self._down_until_s: dict[tuple[str, int], float] = {}
        self.asked = 0
        self.failed = 0

    async def ask(self, question: wire.Question, *, tcp: bool) -> bytes:
        """The answer for the client, which may be that nobody knows."""
        if self._slots.locked():
            self.failed += 1
            return wire.failure(question)
        async with self._slots:
            loop = asyncio.get_running_loop()
            for place in [each for each in self._servers if self._down_until_s.get(each, 0.0) <= loop.time()]:
                self.asked += 1
                query = wire.query(question, self._identity())
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        said = await (_over_tcp if tcp else _over_udp)(place, query)
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    said = b""
                answer = wire.forwarded(said, question, query) if said else None
                if answer is not None:
                    self._down_until_s.pop(place, None)
                    return answer
                if not said:
                    self._down_until_s[place] = loop.time() + DOWN_S
                if len(self._servers) > 1 and self._servers[0] == place:
                    self._servers.append(self._servers.pop(0))
        self.failed += 1
        return wire.failure(question)


class _Asking(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.said.done():
            self.said.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.said.done():
            self.said.set_exception(exc)


async def _over_udp(place: tuple[str, int], query: bytes) -> bytes:
    """A socket of its own for every question: its port is one more thing that a forger must guess."""
    transport, asking = await asyncio.get_running_loop().create_datagram_endpoint(_Asking, remote_addr=place)
    try:
        transport.sendto(query)
        return await asking.said
    finally:
        asking.said.cancel()
        transport.close()


async def _over_tcp(place: tuple[str, int], query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*place)
    try:
        writer.write(struct.pack(">H", len(query)) + query)
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.close()


def _place(text: str) -> tuple[str, int]:
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, int(port)
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, int(port.lstrip(":") or 53)
    return text, 53
