"""The ports: UDP and TCP on one address. Each packet is answered on its own; a client that sends garbage hears nothing."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import cast

import dns.message
import dns.rcode

from agents.dns import wire
from agents.dns.upstream import Upstream
from agents.dns.wire import Elsewhere
from agents.dns.zone import Zone
from keelson.cogs.tasks import TaskSet

log = logging.getLogger(__name__)

TCP_IDLE_S = 10.0
TCP_CONNECTIONS_MAX = 500
TCP_BYTES_MAX = 65535


class Counts:
    """What /metrics tells, under CoreDNS' names."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], int] = {}
        self.responses: dict[str, int] = {}
        self.seconds = 0.0
        self.dropped = 0

    def note(self, protocol: str, kind: str, code: str, took_s: float) -> None:
        self.requests[protocol, kind] = self.requests.get((protocol, kind), 0) + 1
        self.responses[code] = self.responses.get(code, 0) + 1
        self.seconds += took_s


class Dns:
    """`serial` tells the version of what we know, for the SOA."""

    def __init__(self, zone: Zone, upstream: Upstream) -> None:
        self.zone = zone
        self.upstream = upstream
        self.counts = Counts()
        self.serial = 1

    def answer_at_once(self, query: dns.message.Message) -> dns.message.Message | None:
        """The answer if we have it ourselves; None if others must be asked."""
        try:
            return wire.answer(query, self.zone, self.serial)
        except Elsewhere:
            return None

    async def answer(self, packet: bytes, tcp: bool) -> bytes | None:
        """The answer's bytes; None for what deserves none."""
        began_s = perf_counter()
        query = wire.parsed(packet)
        if query is None:
            self.counts.dropped += 1
            return None
        limit = TCP_BYTES_MAX if tcp else wire.size_max(query)
        try:
            made = self.answer_at_once(query)
            if made is not None:
                code, told = made.rcode(), wire.to_wire(made, limit)
            else:
                asked = await self.upstream.ask(packet, tcp)
                code = dns.rcode.SERVFAIL if asked is None else dns.rcode.Rcode(asked[3] & 15)
                told = wire.failure(query, dns.rcode.SERVFAIL) if asked is None else asked
        except Exception:
            log.exception("a question could not be answered for a reason of our own")
            code, told = dns.rcode.SERVFAIL, wire.failure(query, dns.rcode.SERVFAIL)
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.counts.note("tcp" if tcp else "udp", kind, dns.rcode.to_text(code), perf_counter() - began_s)
        return told


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: Dns, under_way: TaskSet) -> None:
        self._server, self._under_way = server, under_way
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._under_way.start("query", self._answer(data, addr))

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        told = await self._server.answer(data, tcp=False)
        if told is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(told, addr)


@asynccontextmanager
async def listening(server: Dns, host: str, port: int) -> AsyncIterator[int]:
    """Both ports open, on the number it gives (`port` 0: any). Raises OSError."""
    loop = asyncio.get_running_loop()
    under_way = TaskSet("dns")
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            if connections <= TCP_CONNECTIONS_MAX:
                await _conversation(server, reader, writer)
        finally:
            connections -= 1
            writer.close()

    tcp = await asyncio.start_server(serve, host, port)
    port = tcp.sockets[0].getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(server, under_way), local_addr=(host, port))
    try:
        async with tcp:
            yield port
    finally:
        transport.close()
        await under_way.close()


async def _conversation(server: Dns, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        while True:
            async with asyncio.timeout(TCP_IDLE_S):
                size = int.from_bytes(await reader.readexactly(2))
                packet = await reader.readexactly(size)
            told = await server.answer(packet, tcp=True)
            if told is None:
                return
            writer.write(len(told).to_bytes(2) + told)
            await writer.drain()
