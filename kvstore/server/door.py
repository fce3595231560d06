"""Who comes in through a port of ours: accepts, shakes hands, and looks at the certificate before anybody reads a byte of what follows.

It stands at the peer port and at the client port. Each handshake uses the certificates as they are on disk at that moment.

Limits, because anybody can connect: `HANDSHAKES_MAX` at a time, each for `HANDSHAKE_TIMEOUT_S`. Beyond that the oldest is given up for the newest:
whoever means it needs milliseconds, and callers that only hold a place must not keep out those who do not.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

from keelson.cogs.logs import fields
from kvstore.server import certificates
from kvstore.server.certificates import Presented
from kvstore.server.throttle import Throttle
from kvstore.server.tls import Material

log = logging.getLogger("kvstore.tls")

HANDSHAKES_MAX = 512
HANDSHAKE_TIMEOUT_S = 5.0
LOOK_UP_TIMEOUT_S = 5.0
ACCEPT_RETRY_S = 0.1
"""How long to wait when there is no descriptor for another connection."""
HELD_BYTES_MAX = 512 << 10
"""What a caller may send while its certificate is looked at: what the loop reads at a time (256 kB), before it knows that reading is paused."""


_RESET, _NO_RESET = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
"""How a connection is closed. With TLS 1.3 a client without a certificate believes the handshake done before we say no, and the loop's TLS does not
send the alert that would: the reset of a connection is an error to him in any case, its end looks like an answer that was cut off."""


class Refused(Exception):
    """The caller's certificate does not fit; says why."""


class _Vestibule(asyncio.Protocol):
    """Holds the connection still until its certificate has been looked at."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.transport: asyncio.Transport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        # Some bytes may come with the end of the handshake, before the pause has its effect.
        self.held += data
        if len(self.held) > HELD_BYTES_MAX and self.transport is not None:
            self.transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost = True


Welcome = Callable[[asyncio.Transport], Awaitable[asyncio.Protocol]]


class Door:
    """A listening socket. `welcome` gives the protocol for a connection that was let in; None for `material` serves in the clear."""

    def __init__(self, listener: socket.socket, material: Material | None, welcome: Welcome, what: str) -> None:
        self.listener = listener
        self._material = material
        self._welcome = welcome
        self._what = what
        self._throttle = Throttle()
        self._handshakes: dict[asyncio.Task[None], str] = {}
        """Under way, the oldest first, and from where."""

    async def serve(self) -> None:
        """Let in whoever may come, until cancelled; then hangs up on those whose handshake is under way."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    connection, address = await loop.sock_accept(self.listener)
                except OSError as error:
                    self._tell(loop, "cannot accept a connection", "", error)
                    await asyncio.sleep(ACCEPT_RETRY_S)
                    continue
                if len(self._handshakes) >= HANDSHAKES_MAX:
                    self._give_up_oldest(loop)
                task = group.create_task(self._admit(loop, connection, address), name=f"{self._what} handshake {address}")
                self._handshakes[task] = _host(address)
                task.add_done_callback(lambda done: self._handshakes.pop(done, None))

    def _give_up_oldest(self, loop: asyncio.AbstractEventLoop) -> None:
        task, remote = next(iter(self._handshakes.items()))
        del self._handshakes[task]
        task.cancel()
        self._tell(loop, "rejected connection", remote, f"more than {HANDSHAKES_MAX} handshakes at a time; this was the oldest")

    async def _admit(self, loop: asyncio.AbstractEventLoop, connection: socket.socket, address: Any) -> None:
        vestibule = _Vestibule()
        remote = _host(address)
        try:
            connection.setblocking(False)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                context = self._context()
                if context is not None:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                await loop.connect_accepted_socket(lambda: vestibule, connection, ssl=context)
            if context is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_RESET)
            assert vestibule.transport is not None, "the connection is made by the end of the handshake"
            if context is not None:
                await self._look_at(loop, vestibule.transport, remote)
            protocol = await self._welcome(vestibule.transport)
        except (OSError, ssl.SSLError, TimeoutError, ValueError, Refused) as error:
            self._tell(loop, "rejected connection", remote, str(error) or f"no handshake within {HANDSHAKE_TIMEOUT_S:g} s")
            self._hang_up(vestibule, connection)
        except BaseException:
            self._hang_up(vestibule, connection)
            raise
        else:
            _let_in(vestibule, protocol)

    def _context(self) -> ssl.SSLContext | None:
        if self._material is None:
            return None
        self._material.refresh()
        return self._material.listen

    async def _look_at(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, remote: str) -> None:
        """Raises Refused, or ValueError for a certificate that cannot be read."""
        assert self._material is not None
        settings = self._material.settings
        presented = certificates.read(chain_of(transport.get_extra_info("ssl_object")))
        refused = certificates.why_refused(presented, settings.rules, self._material.revoked)
        if refused:
            raise Refused(refused)
        if settings.check_remote:
            await _check_remote(loop, presented, remote)

    def _hang_up(self, vestibule: _Vestibule, connection: socket.socket) -> None:
        if vestibule.transport is not None:
            vestibule.transport.abort()
        else:
            with contextlib.suppress(OSError):
                connection.close()

    def _tell(self, loop: asyncio.AbstractEventLoop, what: str, remote: str, error: object) -> None:
        left_out = self._throttle.admit(loop.time())
        if left_out is not None:
            more = {"not_logged": left_out} if left_out else {}
            log.warning(what, extra=fields(port=self._what, remote_addr=remote, error=str(error), **more))


def _let_in(vestibule: _Vestibule, protocol: asyncio.Protocol) -> None:
    transport = vestibule.transport
    assert transport is not None
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if vestibule.lost:
        # The loop has told the vestibule, and does not tell again.
        protocol.connection_lost(None)
        return
    if vestibule.held:
        protocol.data_received(bytes(vestibule.held))
    if not transport.is_closing():
        transport.resume_reading()


async def _check_remote(loop: asyncio.AbstractEventLoop, presented: Presented | None, remote: str) -> None:
    """etcd's checkCertSAN. Raises Refused."""
    hosts = certificates.names_to_look_up(presented, remote)
    if isinstance(hosts, str):
        raise Refused(hosts)
    if not hosts:
        return
    try:
        async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
            if certificates.is_named(hosts, await _names_of(loop, remote)) or await _any_is_at(loop, hosts, remote):
                return
    except TimeoutError:
        pass
    raise Refused(certificates.not_of(hosts, remote))


async def _names_of(loop: asyncio.AbstractEventLoop, address: str) -> list[str]:
    try:
        name, _ = await loop.getnameinfo((address, 0), socket.NI_NAMEREQD)
    except OSError:
        return []
    return [name]


async def _any_is_at(loop: asyncio.AbstractEventLoop, hosts: tuple[str, ...], address: str) -> bool:
    for host in hosts:
        if host.startswith("*."):
            continue
        try:
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            continue
        if any(sockaddr[0] == address for *_, sockaddr in found):
            return True
    return False


def chain_of(ssl_object: Any) -> list[bytes]:
    """The certificates that the other side sent, DER, its own first; empty if it sent none."""
    leaf = ssl_object.getpeercert(binary_form=True)
    if leaf is None:
        return []
    # Public only from Python 3.13 on, where it gives bytes; before, objects of a private module.
    inner: Any = getattr(ssl_object, "_sslobj", None)
    sent = inner.get_unverified_chain() if hasattr(inner, "get_unverified_chain") else None
    others = [each if isinstance(each, bytes) else _der(each) for each in sent or []]
    return [leaf, *(each for each in others if each != leaf)]


def _der(certificate: Any) -> bytes:
    import _ssl

    content: bytes = certificate.public_bytes(_ssl.ENCODING_DER)
    return content


def _host(address: Any) -> str:
    return str(address[0]) if isinstance(address, tuple) else str(address)
