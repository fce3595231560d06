"""TLS of the client port in Python, in front of an h2corn that speaks in the clear inside the process: for what its own TLS cannot do.

    client == TLS ==> Door ==> Terminator -- abstract Unix socket, PROXY header --> h2corn --> application

Who the client is must reach the application, and nobody else may be able to say so: the header names the connection by 128 random bits, which
the application's wrapper (`wrap`) looks up here and replaces by the client's address and certificate, in the form that h2corn's own TLS gives
(ASGI's TLS extension). A request that brings no such number, from another process that found the socket, is refused.
"""

import asyncio
import ipaddress
import secrets
import socket
import ssl
from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct

from kvstore.server.door import Door, chain_of
from kvstore.server.tls import Material

BACKLOG = 1024
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, 0x21]) + (36).to_bytes(2, "big")
"""Signature, version 2, "proxied", TCP over IPv6, length of the two addresses and ports."""
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class Client(Struct, frozen=True):
    """What the application is told of a connection."""

    address: Any
    server: Any
    extension: dict[str, Any]


class Terminator:
    def __init__(self, listeners: Sequence[socket.socket], material: Material) -> None:
        self._doors = [Door(listener, material, self._welcome, "client") for listener in listeners]
        self._clients: dict[str, Client] = {}
        self._outsides: set[_Outside] = set()
        self._name = b"\0keelson-" + secrets.token_hex(16).encode()
        self.inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.inner.bind(self._name)
        self.inner.listen(BACKLOG)
        self.inner.setblocking(False)

    async def serve(self) -> None:
        """Until cancelled; connections that were let in before live on."""
        async with asyncio.TaskGroup() as group:
            for door in self._doors:
                group.create_task(door.serve(), name="door of the client port")

    def wrap(self, app: Any) -> Any:
        """The application as the inner server calls it."""

        def outer(scope: dict[str, Any], receive: Any, send: Any) -> Any:
            client = self._clients.get((scope.get("client") or ("", 0))[0])
            if client is None:
                return _refuse(scope, send)
            scope["client"], scope["server"], scope["scheme"] = client.address, client.server, "https"
            scope["extensions"] = {**scope["extensions"], "tls": client.extension}
            return app(scope, receive, send)

        return outer

    async def _welcome(self, transport: asyncio.Transport) -> asyncio.Protocol:
        """A connection to the inner server for one that was let in. Raises OSError if there is no place for it."""
        client = _client_of(transport)
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        wire.setblocking(False)
        try:
            wire.connect(self._name)  # at once, or not at all: it waits for nobody
        except OSError:
            wire.close()
            raise
        number = secrets.token_bytes(16)
        name = str(ipaddress.IPv6Address(number))
        outside, inside = _Outside(self, name), _Inside()
        outside.other, inside.other = inside, outside
        # The inner server reads nothing until it has the header, so that the client is known before anybody asks for it.
        await asyncio.get_running_loop().create_unix_connection(lambda: inside, sock=wire)
        self._clients[name] = client
        self._outsides.add(outside)
        assert inside.transport is not None
        inside.transport.write(PROXY_V2 + number + bytes(16) + (1).to_bytes(2, "big") * 2)
        return outside

    def leave(self, outside: "_Outside") -> None:
        """That connection is gone."""
        self._clients.pop(outside.name, None)
        self._outsides.discard(outside)

    def hang_up(self) -> None:
        """On everybody who is in."""
        for outside in list(self._outsides):
            if outside.transport is not None:
                outside.transport.abort()


async def _refuse(scope: dict[str, Any], send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class _Half(asyncio.Protocol):
    """One side of a connection: what it gets, the other writes; when the other cannot take more, it reads no more."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Half | None = None

    def data_received(self, data: bytes) -> None:
        assert self.other is not None and self.other.transport is not None, "nothing is read before both sides are there"
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Inside(_Half):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)


class _Outside(_Half):
    def __init__(self, owner: Terminator, name: str) -> None:
        super().__init__()
        self._owner = owner
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.leave(self)
        super().connection_lost(error)


def _client_of(transport: asyncio.Transport) -> Client:
    """As h2corn tells of a connection (ASGI's TLS extension, version 0.2)."""
    from cryptography import x509  # here, so that a start without certificates does not wait for it
    from cryptography.hazmat.primitives.serialization import Encoding

    inside: ssl.SSLObject = transport.get_extra_info("ssl_object")
    chain = [x509.load_der_x509_certificate(each) for each in chain_of(inside)]
    extension = {
        "server_cert": None,
        "client_cert_chain": tuple(each.public_bytes(Encoding.PEM).decode() for each in chain),
        "client_cert_name": chain[0].subject.rfc4514_string() if chain else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(inside.version() or ""),
        "cipher_suite": None,
    }
    return Client(transport.get_extra_info("peername")[:2], transport.get_extra_info("sockname")[:2], extension)
