"""Connections between members: one from each to each, dialled by the sender, so that each carries messages one way.

Consensus expects messages to get lost, so nothing is queued for a peer that is not connected, and what a slow one has not taken beyond
`UNSENT_BYTES_MAX` is dropped; the core sends again what matters.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast
from urllib.parse import urlsplit

from keelson.cogs.logs import fields
from keelson.cogs.metrics import Histogram
from kvstore.ids import ClusterId, MemberId
from kvstore.member.messages import AnyPeerMessage
from kvstore.model import Member
from kvstore.peer import handshake
from kvstore.peer.frames import FRAME_BYTES_MAX, BadFrame, FrameReader, MessageCodec, frame, is_ping, ping, ping_number
from kvstore.peer.handshake import GREETING_BYTES_MAX, Answer, Hello, answer, hello, parse_answer, parse_hello, why_refused
from kvstore.server import certificates
from kvstore.server.door import Door, chain_of
from kvstore.server.observed import ROUND_TRIP
from kvstore.server.throttle import Throttle
from kvstore.server.tls import Material, TlsSettings

log = logging.getLogger("kvstore.peer")

UNSENT_BYTES_MAX = 64 << 20
REDIAL_S_MIN, REDIAL_S_MAX = 0.05, 1.0
GREETING_TIMEOUT_S = 5.0
STRANGERS_MAX = 256
"""Connections that have not greeted yet; beyond that the oldest is given up for the newest (see door.py)."""
UNACKNOWLEDGED_S_MAX = 5.0
"""A connection on which the peer's machine acknowledges nothing for so long is given up and dialled anew (etcd's ConnWriteTimeout).
TCP itself would wait for a quarter of an hour, and after a partition heals for up to two minutes until it tries again."""


PING_INTERVAL_S = 1.0
PONGS_UNSENT_BYTES_MAX = 64 << 10
"""A peer that asks and does not read gets no more answers than this."""


class PeerCounters:
    """Bytes and failures by peer, for the metrics."""

    def __init__(self) -> None:
        self.sent_bytes: dict[MemberId, int] = {}
        self.received_bytes: dict[MemberId, int] = {}
        self.send_failures: dict[MemberId, int] = {}
        self.receive_failures: dict[MemberId, int] = {}
        self.disconnects: dict[MemberId, int] = {}
        self.round_trip: dict[MemberId, Histogram] = {}
        """Seconds until a ping came back through both event loops, every `PING_INTERVAL_S`."""


class _Listener(asyncio.Protocol):
    """A connection that somebody made to us."""

    def __init__(self, owner: "Transport") -> None:
        self._owner = owner
        self._reader = FrameReader(GREETING_BYTES_MAX)
        self._sender: MemberId | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        self._owner.incoming[transport] = None
        self._owner.await_greeting(transport)
        self._deadline = self._owner.loop.call_later(GREETING_TIMEOUT_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self._payload(payload)
        except BadFrame as error:
            assert self._transport is not None
            if self._sender is not None:
                failures = self._owner.counters.receive_failures
                failures[self._sender] = failures.get(self._sender, 0) + 1
            self._owner.tell("rejected peer connection", self._transport, str(error))
            self._transport.abort()
            return
        if self._sender is not None:
            counted = self._owner.counters.received_bytes
            counted[self._sender] = counted.get(self._sender, 0) + len(data)

    def _payload(self, payload: bytes) -> None:
        owner = self._owner
        if self._sender is not None:
            if is_ping(payload):
                if self._transport is not None and self._transport.get_write_buffer_size() < PONGS_UNSENT_BYTES_MAX:
                    self._transport.write(frame(payload))
                return
            message = owner.codec.decode(payload)
            if message.sender != self._sender:
                raise BadFrame(f"member {self._sender:x} speaks in the name of {message.sender:x}")
            owner.receive(message)  # type: ignore[arg-type]
            return
        greeting = parse_hello(payload)
        assert self._transport is not None
        if greeting.asks:
            self._tell_roster(greeting)
            return
        refused = why_refused(greeting, owner.cluster_id, owner.own_id, owner.members())
        removed = bool(refused) and greeting.cluster_id == owner.cluster_id and greeting.sender in owner.removed_members()
        self._transport.write(answer(owner.cluster_id, owner.own_id, refused, removed=removed))
        if removed:
            owner.tell("rejected stream from remote peer because it was removed", self._transport, refused)
        elif refused:
            owner.tell("refused a peer", self._transport, refused)
        if refused:
            self._transport.close()
            return
        owner.strangers.pop(self._transport, None)
        self._sender = MemberId(greeting.sender)
        owner.supersede(self._sender)
        owner.incoming[self._transport] = self._sender
        self._reader.payload_bytes_max = FRAME_BYTES_MAX
        if self._deadline is not None:
            self._deadline.cancel()
        owner.called_by(self._sender)

    def _tell_roster(self, greeting: Hello) -> None:
        """To whoever came in at the door: over TLS that is somebody whose certificate was looked at, if there is an authority to check it by."""
        owner, connection = self._owner, self._transport
        assert connection is not None
        if greeting.asks != handshake.ROSTER or greeting.version != handshake.PROTOCOL_VERSION:
            raise BadFrame(f"a question that is not known: {greeting.asks[:20]!r}")
        connection.write(handshake.roster(owner.cluster_id, owner.members().values()))
        connection.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._transport is not None:
            self._owner.incoming.pop(self._transport, None)
            self._owner.strangers.pop(self._transport, None)


class _Dialled(asyncio.Protocol):
    """A connection that we made to a peer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, round_trip: Callable[[float], None]) -> None:
        self._reader = FrameReader(GREETING_BYTES_MAX)
        self._round_trip = round_trip
        self._pings = 0
        self._pinged_s = 0.0
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[Answer] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                if not self.answered.done():
                    self.answered.set_result(parse_answer(payload))
                elif is_ping(payload) and ping_number(payload) == self._pings:
                    self._round_trip(time.perf_counter() - self._pinged_s)
        except BadFrame as error:
            if not self.answered.done():
                self.answered.set_exception(ConnectionError(str(error)))
            if self.transport is not None:
                self.transport.abort()

    def ping(self, connection: asyncio.Transport) -> None:
        """An answer that comes after the next ping is not counted: then the peer is known to be slow by everything else."""
        self._pings += 1
        self._pinged_s = time.perf_counter()
        if not connection.is_closing():
            connection.write(ping(self._pings))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(ConnectionError(str(error or "the peer hung up before it answered")))
            self.answered.exception()  # somebody may not wait for it any more
        if not self.lost.done():
            self.lost.set_result(None)


class Peer:
    """Our connection to one other member; dialled again whenever it breaks."""

    def __init__(self, owner: "Transport", peer_id: MemberId, urls: Sequence[str]) -> None:
        self._owner = owner
        self.id = peer_id
        self.urls = tuple(urls)
        self._connection: asyncio.Transport | None = None
        self.active_since_s: float | None = None
        self.is_there = asyncio.Event()
        """It called us, so that the next try need not wait."""
        self._round_trip = owner.counters.round_trip.setdefault(peer_id, Histogram(ROUND_TRIP)).observe

    @property
    def active(self) -> bool:
        return self._connection is not None

    def send(self, frames: list[bytes]) -> None:
        connection = self._connection
        # One whose end the event loop has seen but not told yet raises on writing, and that would end this turn with all that it still has to do.
        if connection is None or connection.is_closing() or connection.get_write_buffer_size() > UNSENT_BYTES_MAX:
            failures = self._owner.counters.send_failures
            failures[self.id] = failures.get(self.id, 0) + len(frames)
            return
        data = b"".join(frames)
        connection.write(data)
        counted = self._owner.counters.sent_bytes
        counted[self.id] = counted.get(self.id, 0) + len(data)

    async def run(self) -> None:
        """Keep a connection open until cancelled."""
        delay_s = REDIAL_S_MIN
        turn = 0
        reason = ""
        while True:
            url = self.urls[turn % len(self.urls)]
            turn += 1
            self.is_there.clear()
            try:
                await self._connect_and_wait(url)
                delay_s, reason = REDIAL_S_MIN, ""
            except (OSError, ConnectionError, TimeoutError, ssl.SSLError, ValueError) as error:
                # ValueError: a host that cannot even be asked for, like "a..b". It is in the members' table of all of us, and must end none.
                if str(error) != reason:
                    reason = str(error)
                    log.warning("cannot reach peer", extra=fields(peer=f"{self.id:x}", url=url, error=reason))
            self._owner.unreachable(self.id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self.is_there.wait()
            delay_s = min(delay_s * 2, REDIAL_S_MAX)

    async def _connect_and_wait(self, url: str) -> None:
        owner = self._owner
        parts = urlsplit(url)
        tls = owner.dial_context() if parts.scheme in ("https", "unixs") else None
        async with asyncio.timeout(GREETING_TIMEOUT_S):
            # The transport as returned: uvloop may tell the protocol of its connection only later.
            connection, protocol = await owner.loop.create_connection(
                lambda: _Dialled(owner.loop, self._round_trip),
                parts.hostname or "",
                parts.port or 0,
                ssl=tls,
                server_hostname=parts.hostname if tls else None,
            )
            try:
                if tls is not None:
                    owner.check_dialled(connection)
                connection.write(hello(owner.cluster_id, owner.own_id, self.id))
                greeting = await protocol.answered
            except BaseException:
                connection.abort()
                raise
        if greeting.refused:
            connection.abort()
            if greeting.removed:
                owner.told_removed(self.id)
            raise ConnectionError(f"refused: {greeting.refused}")
        connection.set_write_buffer_limits(high=1 << 20)
        _give_up_early(connection)
        self._connection = connection
        self.active_since_s = owner.loop.time()
        log.info("peer became active", extra=fields(peer=f"{self.id:x}", url=url))
        owner.connected(self.id)
        try:
            while not protocol.lost.done():
                protocol.ping(connection)
                await asyncio.wait([protocol.lost], timeout=PING_INTERVAL_S)
        finally:
            self._connection = None
            disconnects = owner.counters.disconnects
            disconnects[self.id] = disconnects.get(self.id, 0) + 1
            self.active_since_s = None
            connection.abort()
        log.warning("peer became inactive", extra=fields(peer=f"{self.id:x}"))


class Transport:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cluster_id: ClusterId,
        own_id: MemberId,
        codec: MessageCodec,
        *,
        receive: Callable[[AnyPeerMessage], None],
        connected: Callable[[MemberId], None],
        heard: Callable[[MemberId], None],
        unreachable: Callable[[MemberId], None],
        told_removed: Callable[[MemberId], None],
        members: Callable[[], Mapping[MemberId, Member]],
        removed_members: Callable[[], Collection[MemberId]],
        material: Material | None = None,
    ) -> None:
        self.loop = loop
        self.cluster_id = cluster_id
        self.own_id = own_id
        self.codec = codec
        self.receive = receive
        self.connected = connected
        self.heard = heard
        """A peer made a connection to us."""
        self.unreachable = unreachable
        self.told_removed = told_removed
        """A peer says that this member was removed from the cluster."""
        self.members = members
        self.removed_members = removed_members
        self.material = material
        self.counters = PeerCounters()
        self.incoming: dict[asyncio.Transport, MemberId | None] = {}
        """Connections made to us, and who calls on each; None: has not been let in yet."""
        self.strangers: dict[asyncio.Transport, None] = {}
        """Those among them that have not greeted yet, the oldest first."""
        self.peers: dict[MemberId, Peer] = {}
        self._tasks: dict[MemberId, asyncio.Task[None]] = {}
        self._doors: list[Door] = []
        self._serving: list[asyncio.Task[None]] = []
        self._throttle = Throttle()

    def listen(self, listening: Sequence[tuple[str, socket.socket]], group: asyncio.TaskGroup) -> None:
        """Let peers in on sockets that are open already."""
        for url, listener in listening:
            material = self.material if urlsplit(url).scheme == "https" else None
            door = Door(listener, material, self._welcome, "peer")
            self._serving.append(group.create_task(door.serve(), name=f"peer listener {url}"))

    async def _welcome(self, _transport: asyncio.Transport) -> asyncio.Protocol:
        return _Listener(self)

    def supersede(self, sender: MemberId) -> None:
        """A member calls once: an older connection in its name is a dead one, or somebody else's who may only be as many as one."""
        for older, known in list(self.incoming.items()):
            if known == sender:
                older.abort()

    def called_by(self, sender: MemberId) -> None:
        """It is there: if we cannot reach it, it is worth another try now."""
        self.heard(sender)
        peer = self.peers.get(sender)
        if peer is not None:
            peer.is_there.set()

    def await_greeting(self, transport: asyncio.Transport) -> None:
        if len(self.strangers) >= STRANGERS_MAX:
            oldest = next(iter(self.strangers))
            del self.strangers[oldest]
            self.tell("rejected peer connection", oldest, f"more than {STRANGERS_MAX} that have not greeted; this was the oldest")
            oldest.abort()
        self.strangers[transport] = None

    def tell(self, what: str, transport: asyncio.Transport, reason: str) -> None:
        """Log what a stranger caused, unless there was too much of it."""
        left_out = self._throttle.admit(self.loop.time())
        if left_out is not None:
            more = {"not_logged": left_out} if left_out else {}
            log.warning(what, extra=fields(remote=_name(transport), error=reason, **more))

    def dial_context(self) -> ssl.SSLContext:
        """With the certificates as they are now. Without flags: none of our own, and the system's authorities."""
        if self.material is None:
            self.material = Material(TlsSettings(), "peer")
        self.material.refresh()
        return self.material.dial

    def check_dialled(self, connection: asyncio.Transport) -> None:
        assert self.material is not None
        check_dialled(connection, self.material)

    def set_peers(self, wanted: dict[MemberId, Sequence[str]], group: asyncio.TaskGroup) -> None:
        """Dial exactly these members from now on, and hang up on callers that are none of them."""
        for connection, caller in list(self.incoming.items()):
            if caller is not None and caller not in wanted:
                log.warning("hung up on a peer that is no member any more", extra=fields(peer=f"{caller:x}"))
                connection.abort()
        for peer_id in [known for known in self.peers if known not in wanted or tuple(wanted[known]) != self.peers[known].urls]:
            self._tasks.pop(peer_id).cancel()
            del self.peers[peer_id]
        for peer_id, urls in wanted.items():
            if peer_id not in self.peers and urls:
                peer = self.peers[peer_id] = Peer(self, peer_id, urls)
                self._tasks[peer_id] = group.create_task(peer.run(), name=f"peer {peer_id:x}")

    def send(self, messages: list[AnyPeerMessage]) -> None:
        """Hand over to the connections; what cannot be sent now is dropped."""
        frames: dict[MemberId, list[bytes]] = {}
        encode = self.codec.encode
        for message in messages:
            frames.setdefault(message.receiver, []).append(encode(message))
        for receiver, batch in frames.items():
            peer = self.peers.get(receiver)
            if peer is not None:
                peer.send(batch)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self.peers.clear()
        for serving in self._serving:
            serving.cancel()
        for transport in list(self.incoming):
            transport.abort()


def check_dialled(connection: asyncio.BaseTransport, material: Material) -> None:
    """The same rules for whom we call as for who calls us. Raises ConnectionError."""
    presented = certificates.read(chain_of(connection.get_extra_info("ssl_object")))
    refused = certificates.why_refused(presented, material.settings.rules, material.revoked)
    if refused:
        raise ConnectionError(refused)


def _give_up_early(connection: asyncio.Transport) -> None:
    wire = connection.get_extra_info("socket")
    if wire is not None and hasattr(socket, "TCP_USER_TIMEOUT") and wire.family in (socket.AF_INET, socket.AF_INET6):
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNACKNOWLEDGED_S_MAX * 1000))


def _name(transport: asyncio.Transport) -> str:
    return str(transport.get_extra_info("peername"))
