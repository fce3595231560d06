"""UDP behind a service address: each client's datagrams go to one endpoint, and its answers come back from the service's address.

A flow is a client's address and port. It ends when nothing has been said for `IDLE_S`, when its endpoint is no longer wanted, or when the endpoint
refuses; the client's next datagram then begins another one.
"""

import asyncio
import socket
from collections.abc import Callable, Collection
from typing import Any

from msgspec import Struct

from agents.proxy.choice import Choice
from agents.proxy.rules import Rule, Target

IDLE_S = 60.0
FLOWS_MAX = 4096
"""Per listener; the one that is silent longest ends for a new one."""
DATAGRAM_BYTES_MAX = 65535
UNANSWERED_MAX = 8
"""A resolver asks for both families of addresses at once; who sends more without an answer is on his own."""
READS_MAX = 64
"""Answers taken from one flow before others have their turn."""

Order = Callable[[str], tuple[Rule, list[Target]]]
"""The rule, and the targets for a client in the order in which they are to be tried."""


class Flow(Struct):
    target: Target
    bound: socket.socket
    used_s: float
    unanswered: list[bytes] = []
    """The datagrams since the last answer, at most UNANSWERED_MAX: an endpoint that refuses has had none of them, and the next one gets them."""


class Flows(asyncio.DatagramProtocol):
    """One listener."""

    def __init__(self, order: Order, choice: Choice) -> None:
        self._order, self._choice = order, choice
        self._flows: dict[Any, Flow] = {}
        """By the client's address, the one used longest ago first."""
        self._transport: asyncio.DatagramTransport | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def open(self, bound: socket.socket) -> None:
        """Answer what comes to this socket. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=bound)
        self._sweeping = loop.call_later(IDLE_S / 2, self._sweep)

    def close(self) -> None:
        """Datagrams have no end that one could wait for: the flows end as well."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for client in list(self._flows):
            self._end(client)
        if self._transport is not None:
            self._transport.close()

    def keep(self, targets: Collection[Target]) -> None:
        """Ends the flows to others."""
        for client, flow in list(self._flows.items()):
            if flow.target not in targets:
                self._end(client)

    def __len__(self) -> int:
        return len(self._flows)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        flow = self._flows.pop(addr, None) or self._begin(addr)
        if flow is None:
            return
        self._flows[addr] = flow
        flow.used_s = asyncio.get_running_loop().time()
        if len(flow.unanswered) < UNANSWERED_MAX:
            flow.unanswered.append(data)
        try:
            flow.bound.send(data)
        except BlockingIOError:
            pass  # a full buffer loses datagrams, as a full router does
        except OSError:
            self._fail(addr)

    def error_received(self, exc: Exception) -> None:
        """An answer that a client did not want: it may be gone, and that is its own affair."""

    def _begin(self, client: Any) -> Flow | None:
        rule, targets = self._order(client[0])
        for target in targets:
            bound = socket.socket(socket.AF_INET6 if ":" in target.address else socket.AF_INET, socket.SOCK_DGRAM)
            bound.setblocking(False)
            try:
                bound.connect((target.address, target.port))
            except OSError:
                bound.close()
                self._choice.silent(target)
                continue
            if len(self._flows) >= FLOWS_MAX:
                self._end(next(iter(self._flows)))
            loop = asyncio.get_running_loop()
            loop.add_reader(bound, self._answered, client, bound)
            self._choice.answered(rule, target, client[0])
            return Flow(target, bound, loop.time())
        return None

    def _answered(self, client: Any, bound: socket.socket) -> None:
        for _ in range(READS_MAX):
            try:
                data = bound.recv(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                self._fail(client)
                return
            if (flow := self._flows.get(client)) is not None:
                flow.unanswered.clear()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.sendto(data, client)

    def _fail(self, client: Any) -> None:
        """The endpoint refuses: nobody listens there. The next one is asked instead, until one has refused twice."""
        if (flow := self._flows.get(client)) is None:
            return
        known = self._choice.is_silent(flow.target)
        self._choice.silent(flow.target)
        self._end(client)
        if not known:
            for data in flow.unanswered:
                self.datagram_received(data, client)

    def _end(self, client: Any) -> None:
        flow = self._flows.pop(client)
        asyncio.get_running_loop().remove_reader(flow.bound)
        flow.bound.close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for client, flow in list(self._flows.items()):
            if flow.used_s > loop.time() - IDLE_S:
                break  # the others were used later
            self._end(client)
        self._sweeping = loop.call_later(IDLE_S / 2, self._sweep)
