"""How long answers leave the server: in pieces, each only when the client has taken enough of those before, so that who does not read holds no more
than two or three pieces of memory of its own. What all of them hold together has a bound, too: beyond it the one that has not moved for longest is
hung up on.

What is shared (the bytes of objects in a watch cache) is cut without being copied and counts for nobody; what was made for one client counts. Answers
so large that a few of them would be all there is room for wait for their turn before they are made, and take nobody else's room.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

PIECE_BYTES = 1 << 16
BUFFERED_BYTES = 3 * PIECE_BYTES
"""Of one client that does not read: a piece before encryption, one after, one in the socket's queue."""
HELD_BYTES_MAX = 128 << 20
"""680 clients that have all stopped reading, or tens of lists that were made for one client each."""
HUGE_BYTES = 8 << 20
HUGE_AT_ONCE = 2
"""How many answers larger than that are made and sent at a time, apart from HELD_BYTES_MAX. Objects of one resource bound each of them."""
STALLED_S = 2.0
"""Who takes nothing for so long stands in the way of others, if there is no room or no turn for them."""
YIELD_BYTES = 1 << 20
"""Sent to one client who takes everything at once, before others have their turn."""
SEND_TIMEOUT_S = 60.0
"""From the first byte of an answer to its last; upstream's --request-timeout ends such answers as well."""

Part = bytes | memoryview


class Large(web.Response):
    """An answer that is sent in pieces. `made_bytes`: how much of it was made for this client alone."""

    def __init__(self, parts: Sequence[bytes], made_bytes: int, *, status: int = 200, headers: dict[str, str]) -> None:
        super().__init__(status=status, headers={**headers, "Content-Length": str(sum(map(len, parts)))})
        self.parts = parts
        self.made_bytes = made_bytes

    @property
    def body(self) -> bytes:
        """The whole of it, for the audit log."""
        return b"".join(self.parts)

    @body.setter
    def body(self, value: object) -> None:
        """The base class sets None when it begins."""
        assert value is None, "parts are given once"
        self._body = None


def answer(parts: Sequence[bytes], made_bytes: int, status: int, headers: dict[str, str]) -> web.Response:
    """A Large one if it is."""
    if sum(map(len, parts)) > PIECE_BYTES:
        return Large(parts, made_bytes, status=status, headers=headers)
    return web.Response(body=b"".join(parts), status=status, headers=headers)


class Outgoing:
    """All that is on its way to clients and has not been taken."""

    def __init__(self, held_bytes_max: int = HELD_BYTES_MAX, stalled_s: float = STALLED_S) -> None:
        self._held_bytes_max = held_bytes_max
        self._stalled_s = stalled_s
        self._huge: dict[int, Sending | None] = {}
        """Requests whose turn it is (requests are no keys: by `id`), and their answers on their way."""
        self._sendings: OrderedDict[Sending, None] = OrderedDict()
        """In the order of their last progress: the first has waited longest."""
        self.held_bytes = 0
        self._wanted_bytes = 0
        """By those who wait for room."""
        self._leaving_bytes = 0
        """Of those who were hung up on and have not let go yet."""
        self._released = asyncio.Event()
        self.cut = 0
        """How many were hung up on because all together held too much."""

    async def turn(self, request: web.BaseRequest) -> None:
        """Returns when this request may have an answer larger than HUGE_BYTES, until `done`. Who has his turn and does not read gives way."""
        while id(request) not in self._huge and len(self._huge) >= HUGE_AT_ONCE:
            await self._wait(sending for sending in self._huge.values() if sending is not None)
        self._huge.setdefault(id(request), None)

    def done(self, request: web.BaseRequest) -> None:
        """The answer is with the client, or there will be none."""
        self._huge.pop(id(request), None)
        self._released.set()

    @asynccontextmanager
    async def sending(self, request: web.BaseRequest, made_bytes: int = 0) -> AsyncIterator[Sending]:
        """While the block runs its answer counts. Raises ConnectionError if the client is gone."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        transport.set_write_buffer_limits(high=PIECE_BYTES)
        sending = Sending(self, transport, self._now_s())
        try:
            if id(request) in self._huge:
                self._huge[id(request)] = sending
                made_bytes = 0
            await sending.hold(made_bytes)
            yield sending
        finally:
            self.release(sending)

    async def send(self, request: web.BaseRequest, response: Large) -> None:
        """The whole answer; a client that does not take it in time is hung up on. Raises nothing for clients that go."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S), self.sending(request, response.made_bytes) as sending:
                await response.prepare(request)
                for piece in pieces(response.parts if request.method != "HEAD" else ()):
                    await sending.write(response, piece)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            return

    async def hold(self, sending: Sending, size_bytes: int) -> None:
        """Returns when there is room; who has not moved for longest, and for some time, makes it. One alone may be larger than all."""
        self.release(sending)
        self._wanted_bytes += size_bytes
        try:
            self._make_room()
            while self.held_bytes and self.held_bytes + size_bytes > self._held_bytes_max:
                await self._wait(itertools.islice(self._sendings, 1))
                self._make_room()
        finally:
            self._wanted_bytes -= size_bytes
        sending.held_bytes = size_bytes
        sending.moved_s = self._now_s()
        self.held_bytes += size_bytes
        self._sendings[sending] = None

    def release(self, sending: Sending) -> None:
        if sending in self._sendings:
            del self._sendings[sending]
        elif sending.held_bytes:
            self._leaving_bytes -= sending.held_bytes
        self.held_bytes -= sending.held_bytes
        sending.held_bytes = 0
        self._released.set()

    def moved(self, sending: Sending) -> None:
        sending.moved_s = self._now_s()
        if sending in self._sendings:
            self._sendings.move_to_end(sending)

    def _make_room(self) -> None:
        while self._sendings and self.held_bytes - self._leaving_bytes + self._wanted_bytes > self._held_bytes_max:
            slowest = next(iter(self._sendings))
            if self._patience_s(slowest) > 0:
                return
            self._cut(slowest)

    def _cut(self, sending: Sending) -> None:
        if sending in self._sendings:
            del self._sendings[sending]
            self._leaving_bytes += sending.held_bytes
            sending.transport.abort()
            self.cut += 1

    async def _wait(self, in_the_way: Iterable[Sending]) -> None:
        """Until something changes, or one of those has stalled; then it is hung up on."""
        slowest = min(in_the_way, key=lambda each: each.moved_s, default=None)
        self._released.clear()
        try:
            async with asyncio.timeout(None if slowest is None else max(self._patience_s(slowest), 0.01)):
                await self._released.wait()
        except TimeoutError:
            if slowest is not None and self._patience_s(slowest) <= 0:
                self._cut(slowest)

    def _patience_s(self, sending: Sending) -> float:
        return sending.moved_s + self._stalled_s - self._now_s()

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


class Sending:
    """One answer on its way."""

    __slots__ = ("_at_once_bytes", "_outgoing", "held_bytes", "moved_s", "transport")

    def __init__(self, outgoing: Outgoing, transport: asyncio.Transport, now_s: float) -> None:
        self._outgoing = outgoing
        self.transport = transport
        self.held_bytes = 0
        self.moved_s = now_s
        self._at_once_bytes = 0

    async def hold(self, made_bytes: int) -> None:
        """Called before as much is made for this client alone; instead of what it held before."""
        await self._outgoing.hold(self, made_bytes + BUFFERED_BYTES)

    async def write(self, response: web.StreamResponse, piece: Part) -> None:
        """Returns when the client has taken enough for another piece. Raises ConnectionError."""
        if self.transport.is_closing():
            raise ConnectionResetError("the client is gone, or was hung up on")
        await response.write(piece)
        self._outgoing.moved(self)
        self._at_once_bytes += len(piece)
        if self._at_once_bytes > YIELD_BYTES:
            self._at_once_bytes = 0
            await asyncio.sleep(0)


def pieces(parts: Iterable[bytes]) -> Iterator[Part]:
    """The same bytes in the same order: small parts joined up to a piece, large ones as views into themselves."""
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        if waiting and size + len(part) > PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
        if len(part) > PIECE_BYTES:
            view = memoryview(part)
            yield from (view[start : start + PIECE_BYTES] for start in range(0, len(part), PIECE_BYTES))
        elif part:
            waiting.append(part)
            size += len(part)
    if waiting:
        yield b"".join(waiting)
