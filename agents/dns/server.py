"""DNS over UDP and TCP at one address."""

import asyncio
import logging
import struct
from contextlib import suppress
from typing import Any

from agents.dns import wire
from agents.dns.forward import Forwarder
from agents.dns.zone import Zone
from keelson.cogs.tasks import TaskSet

log = logging.getLogger(__name__)

IDLE_S = 10.0
"""A connection on which nothing is asked for so long ends."""
CONNECTIONS_MAX = 500
PENDING_MAX = 2000
"""Datagrams whose answer must be asked for elsewhere; more are dropped, and their clients ask again."""


class Server:
    """Answers from `zone`, and through `forwarder` for names that are not ours."""

    def __init__(self, zone: Zone, forwarder: Forwarder) -> None:
        self._zone, self._forwarder = zone, forwarder
        self._tasks = TaskSet("dns")
        self._tcp: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self.questions = 0
        self.malformed = 0

    async def open(self, host: str, port: int) -> int:
        """The port: the same for both protocols, also if 0 was asked for. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._connection, host, port)
        port = self._tcp.sockets[0].getsockname()[1]
        try:
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, port))
        except BaseException:
            self._tcp.close()
            raise
        return port

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for writer in list(self._connections):
            writer.close()
        await self._tasks.close()

    def at_once(self, data: bytes, *, tcp: bool) -> bytes | wire.Question | None:
        """The answer, or the question if others must be asked, or None if there is nothing to say."""
        self.questions += 1
        question = wire.parse(data, tcp=tcp)
        if not isinstance(question, wire.Question):
            self.malformed += 1
            return question
        if not self._zone.is_ours(question.name):
            return question
        answer = self._zone.answer(question.name, question.type)
        return question if answer.follow else wire.reply(question, self._zone, answer)

    async def asked(self, question: wire.Question, *, tcp: bool) -> bytes:
        """The answer to a question that `at_once` left open."""
        if not self._zone.is_ours(question.name):
            return await self._forwarder.ask(question, tcp=tcp)
        # An external name: our CNAME, and what it leads to.
        answer = self._zone.answer(question.name, question.type)
        there = await self._forwarder.ask(wire.renamed(question, answer.follow), tcp=tcp)
        return wire.reply_with(question, answer, there)

    def datagram(self, data: bytes, client: Any) -> None:
        said = self.at_once(data, tcp=False)
        if isinstance(said, bytes):
            self._say(said, client)
        elif said is not None and len(self._tasks) < PENDING_MAX:
            self._tasks.start("forward", self._later(said, client))

    async def _later(self, question: wire.Question, client: Any) -> None:
        self._say(await self.asked(question, tcp=False), client)

    def _say(self, data: bytes, client: Any) -> None:
        if self._udp is not None and not self._udp.is_closing():
            self._udp.sendto(data, client)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(writer)
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                while True:
                    async with asyncio.timeout(IDLE_S):
                        (length,) = struct.unpack(">H", await reader.readexactly(2))
                        data = await reader.readexactly(length)
                    said = self.at_once(data, tcp=True)
                    if isinstance(said, wire.Question):
                        said = await self.asked(said, tcp=True)
                    if said is None:
                        return
                    writer.write(struct.pack(">H", len(said)) + said)
                    async with asyncio.timeout(IDLE_S):
                        await writer.drain()
        finally:
            self._connections.discard(writer)
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            self._server.datagram(data, addr)
        except Exception:
            # One datagram must never end the service for all others.
            log.exception("a datagram could not be answered")

    def error_received(self, exc: Exception) -> None:
        """A client that is gone before its answer."""
