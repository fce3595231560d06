"""The proxy in this process: a listener for each rule, connections spliced, datagrams carried in flows.

Listeners come and go with the rules; connections that stand live on to their own end, whatever becomes of rule and endpoint. A connection is made to
one endpoint after the other until one answers (see dials), before a byte of the client has been read; an endpoint that did not answer is tried last
for a while.
"""

import asyncio
import logging
import random
import socket
import struct
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol

from agents.proxy import dials
from agents.proxy.choice import Choice
from agents.proxy.datagrams import Flows
from agents.proxy.dials import Dials
from agents.proxy.keeping import Keeping
from agents.proxy.rules import Kind, Listener, Rule, Target, may_use, targets_for
from keelson.cogs.logs import fields
from keelson.cogs.tasks import TaskSet

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 8192
"""At once, over all services; more are reset, for file descriptors are the process's all."""
DESCRIPTORS_RESERVED = 256
"""For everything but connections and listeners."""
TELL_S = 10.0
"""Not more often is it told that there are too many."""
BACKLOG = 1024
DRAIN_S = 2.0
"""What a proxy that stops leaves to connections that are there."""
DRAIN_LOOK_S = 0.02
LOOPBACK = "127.0.0.1"
PROTOCOLS = ("TCP", "UDP")
"""An association of SCTP has several addresses and streams: nobody can splice two. Its ports stay closed here; the kernel's proxy carries it."""


class Addresses(Protocol):
    """The service addresses that this machine answers to."""

    async def keep(self, wanted: set[str]) -> None:
        """Exactly these, whatever was there before. Raises OSError."""


class Counters:
    def __init__(self) -> None:
        self.connections = 0
        self.refused = 0
        self.over_limit = 0
        self.open = 0
        self.dials = dials.Counters()


class Userspace:
    """`sync` makes everything as the rules say. `node_addresses` are where node ports are answered; `cluster` the networks inside."""

    def __init__(
        self,
        addresses: Addresses,
        node_addresses: Iterable[str] = (),
        cluster: Iterable[str] = (),
        chance: random.Random | None = None,
        keeping: Keeping | None = None,
        descriptors: int = 2 * (CONNECTIONS_MAX + DESCRIPTORS_RESERVED),
    ) -> None:
        """`keeping` holds the sockets while there is no proxy; without it a restart refuses connections for a moment. `descriptors`: how many this
        process may have."""
        self._addresses = addresses
        self._keeping = keeping
        self._inherited: dict[Listener, socket.socket] = {}
        self.node_addresses = tuple(node_addresses)
        self._cluster = tuple(cluster)
        self._chance = chance or random.Random()
        self._descriptors = descriptors
        self._served: dict[Listener, Service] = {}
        self._dials: dict[str, Dials[Half]] = {}
        self.counters = Counters()
        self._told_s = -TELL_S
        self._tasks = TaskSet("proxy")

    @property
    def listening(self) -> int:
        return len(self._served)

    async def inherit(self) -> None:
        """Take over what the proxy before has left. Once, before the first `sync`."""
        if self._keeping is not None:
            self._inherited = await self._keeping.take()

    async def sync(self, wanted: Mapping[Listener, Rule]) -> list[str]:
        """What could not be done, in words; it is tried again with the next sync."""
        expanded = self._expanded(wanted)
        faults: list[str] = []
        for listener in [each for each in self._served if each not in expanded or (not expanded[each].targets and not expanded[each].inside)]:
            self.let_go(listener)
            self._served.pop(listener).close()
        served = {listener: rule for listener, rule in expanded.items() if rule.targets or rule.inside}
        # Whoever has waited since the proxy before was killed is answered first: these have their addresses.
        faults += await self._serve({listener: rule for listener, rule in served.items() if listener in self._inherited})
        # Addresses before listeners; an address without a listener refuses, which is what a service without endpoints owes its clients.
        own = {listener.address for listener, rule in wanted.items() if listener.address and rule.kind is not Kind.HOST_PORT}
        await self._addresses.keep(own)
        faults += await self._serve(served)
        for listener, bound in self._inherited.items():
            self.let_go(listener)
            bound.close()
        self._inherited.clear()
        used = {rule.service for rule in wanted.values()}
        for name in [each for each in self._dials if each not in used]:
            del self._dials[name]
        return faults

    async def _serve(self, served: Mapping[Listener, Rule]) -> list[str]:
        """What could not be opened, in words."""
        faults = []
        for listener, rule in served.items():
            if (service := self._served.get(listener)) is not None:
                service.change(rule)
                continue
            service = Service(self, listener, rule, self._dials_of(rule.service))
            try:
                if (bound := self._inherited.pop(listener, None)) is None:
                    if self._keeping is not None:
                        await self._keeping.settle()
                    bound = _bound(listener)
                await service.open(bound)
                self._served[listener] = service
                if self._keeping is not None:
                    self._keeping.keep(listener, bound)
            except OSError as error:
                if rule.kind is Kind.HOST_PORT:
                    # What a pod asks for and cannot have, because a program of the node has it, is no fault of the proxy's.
                    log.warning("a port of the node that a pod asks for is not free", extra=fields(port=listener.port, rule=rule.service))
                    continue
                faults.append(f"{listener.protocol} {listener.address}:{listener.port} of {rule.service}: {error}")
        return faults

    async def close(self) -> None:
        """Everything ends, addresses go."""
        await self._end()
        await self._addresses.keep(set())

    async def leave(self) -> None:
        """This proxy ends, and another one comes: what is asked meanwhile waits for it, and what is being answered has a moment to end."""
        for service in self._served.values():
            service.close()
        for _ in range(int(DRAIN_S / DRAIN_LOOK_S)):
            await asyncio.sleep(DRAIN_LOOK_S)  # first, for what was taken in this turn of the loop is not counted yet
            if not self.counters.open:
                break
        await self._end()
        if self._keeping is not None:
            self._keeping.leave()

    async def _end(self) -> None:
        for service in self._served.values():
            service.close()
        self._served.clear()
        await self._tasks.close()

    def let_go(self, listener: Listener) -> None:
        if self._keeping is not None:
            self._keeping.drop(listener)

    def _expanded(self, wanted: Mapping[Listener, Rule]) -> dict[Listener, Rule]:
        """Node ports at each address of the node; those of its pods at its loopback, too."""
        carried = {listener: rule for listener, rule in wanted.items() if listener.protocol in PROTOCOLS}
        found = {listener: rule for listener, rule in carried.items() if listener.address}
        for listener, rule in carried.items():
            if not listener.address:
                for address in (*self.node_addresses, LOOPBACK) if rule.kind is Kind.HOST_PORT else self.node_addresses:
                    found.setdefault(Listener(address, listener.port, listener.protocol), rule)
        return found

    def _dials_of(self, service: str) -> "Dials[Half]":
        """One for all addresses of a service: affinity is to the service."""
        if service not in self._dials:
            clock = asyncio.get_running_loop().time
            self._dials[service] = Dials(connect, Choice(clock, self._chance), self.counters.dials, clock())
        return self._dials[service]

    def is_full(self) -> bool:
        """Whether there are more connections than there may be, the newest included; each has two sockets."""
        return self.counters.open > min(CONNECTIONS_MAX, (self._descriptors - DESCRIPTORS_RESERVED - self.listening) // 2)

    def tell_full(self, rule: Rule) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s >= TELL_S:
            self._told_s = now_s
            log.warning("too many connections: new ones are reset", extra=fields(open=self.counters.open - 1, service=rule.service))

    def targets(self, listener: Listener, rule: Rule, source: str) -> Sequence[Target]:
        """The node itself is inside as well: it comes from its own address, or from the service's, which is on it."""
        if not may_use(rule, source):
            return ()
        return targets_for(rule, source, (*self._cluster, *self.node_addresses, listener.address))

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.start(name, work)


class Service:
    """One listener."""

    def __init__(self, proxy: Userspace, listener: Listener, rule: Rule, dials: "Dials[Half]") -> None:
        self.proxy, self.listener, self.rule, self.dials, self.choice = proxy, listener, rule, dials, dials.choice
        self._server: asyncio.Server | None = None
        self._flows: Flows | None = None

    async def open(self, bound: socket.socket) -> None:
        """Answer what comes to this socket, which is closed if that fails. Raises OSError."""
        try:
            if self.listener.protocol == "UDP":
                self._flows = Flows(self._udp_order, self.choice)
                await self._flows.open(bound)
            else:
                self._server = await asyncio.get_running_loop().create_server(lambda: Client(self), sock=bound, backlog=BACKLOG)
        except BaseException:
            bound.close()
            raise

    def change(self, rule: Rule) -> None:
        self.rule = rule
        if self._flows is not None:
            self._flows.keep({*rule.targets, *rule.inside, *rule.others})

    def close(self) -> None:
        """No new connections; those that stand live on."""
        if self._server is not None:
            self._server.close()
        if self._flows is not None:
            self._flows.close()

    def order(self, source: str) -> list[Target]:
        return self.choice.order(self.rule, self.proxy.targets(self.listener, self.rule, source), source)

    def _udp_order(self, source: str) -> tuple[Rule, list[Target]]:
        return self.rule, self.order(source)


class Half(asyncio.Protocol):
    """One side of a spliced connection. What one receives the other sends, at the pace of the slower; the end of one direction is passed on and the
    other goes on. Until both are joined, what comes is kept: it is little, for a half stops reading as soon as it is made."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.other: Half | None = None
        self.ended = False
        self.lost = False
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()
        bound = transport.get_extra_info("socket")
        if bound is not None and bound.family in (socket.AF_INET, socket.AF_INET6):
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def join(self, other: "Half") -> None:
        """From now on each sends what the other receives."""
        self.other, other.other = other, self
        for half in (self, other):
            assert half.other is not None
            for data in half._early:
                half.other.send(data)
            half._early.clear()
            if half.ended:
                half.other.finish()
            half.transport.resume_reading()

    def send(self, data: bytes) -> None:
        """To nobody, if this side is gone and the other has not heard of it yet."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def abort(self) -> None:
        self.transport.abort()

    def finish(self) -> None:
        """No more will be sent here."""
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()

    # --- called by the event loop -----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.send(data)

    def eof_received(self) -> bool:
        """False closes this side: when both directions have ended nothing keeps it open."""
        self.ended = True
        if self.other is None:
            return True
        self.other.finish()
        return not self.other.ended

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.other is None or self.other.lost:
            return
        if exc is not None:
            reset(self.other.transport)
        else:
            self.other.transport.close()


class Client(Half):
    """The side of the client, from its first moment."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service = service

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        counters = self._service.proxy.counters
        counters.connections += 1
        counters.open += 1
        if self._service.proxy.is_full():
            counters.over_limit += 1
            self._service.proxy.tell_full(self._service.rule)
            reset(self.transport)
        else:
            self._service.proxy.start("dial", self._dial())

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.proxy.counters.open -= 1
        super().connection_lost(exc)

    async def _dial(self) -> None:
        service, peer = self._service, self.transport.get_extra_info("peername")
        source = peer[0] if peer else ""
        found = await service.dials.first_to_answer(service.order(source))
        if found is None:
            service.proxy.counters.refused += 1
            reset(self.transport)
            return
        target, endpoint = found
        service.choice.answered(service.rule, target, source)
        if self.lost or endpoint.lost:
            reset(endpoint.transport)
            reset(self.transport)
        else:
            self.join(endpoint)


async def connect(target: Target) -> Half:
    """Raises OSError."""
    return (await asyncio.get_running_loop().create_connection(Half, target.address, target.port))[1]


def reset(transport: asyncio.Transport) -> None:
    """Ends a connection with RST: the client shall not take it for an answer that was empty."""
    bound = transport.get_extra_info("socket")
    if bound is not None and not transport.is_closing():
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _bound(listener: Listener) -> socket.socket:
    """Raises OSError."""
    kind = socket.SOCK_DGRAM if listener.protocol == "UDP" else socket.SOCK_STREAM
    made = socket.socket(socket.AF_INET6 if ":" in listener.address else socket.AF_INET, kind)
    try:
        made.setblocking(False)
        if listener.protocol != "UDP":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((listener.address, listener.port))
    except BaseException:
        made.close()
        raise
    return made
