"""The client port: an HTTP server (`kvstore/http`) behind a door for each socket, in the clear or with TLS.

The door shakes hands with the certificates as they are on disk at that moment; connections of before live on, as with etcd.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from keelson.cogs.logs import fields
from keelson.cogs.tasks import TaskSet
from kvstore.http.limits import App, Limits
from kvstore.http.protocol import Server
from kvstore.server import connections
from kvstore.server.door import Door, chain_of
from kvstore.server.tls import Material, TlsSettings

log = logging.getLogger("kvstore.server")

STREAMS_MAX = 4_000
"""Of one connection at a time, whatever --max-concurrent-streams says: each that is a task costs 20 kB, and 0.1 ms to begin, while others wait."""
MADE_FREE = 1 / 4
"""The part of the connections that there may be that is hung up on when there are so many: the oldest of those on which nothing is under way."""
GRACE_S = 1.0
"""How long requests may still run when the member stops."""
FINISH_POLL_S = 0.02
UNARY = ("/etcdserverpb.KV/", "/etcdserverpb.Auth/", "/etcdserverpb.Cluster/", "/v3/kv/", "/v3/auth/", "/v3/cluster/")
"""Services whose calls are all unary, over gRPC and over the gateway; the others may be silent for days, in both directions."""
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class KeepAlive(Struct, frozen=True):
    """etcd's --grpc-keepalive-*."""

    interval_s: float = 0.0
    timeout_s: float = 20.0
    least_s: float = 0.0


NO_KEEP_ALIVE = KeepAlive()


class ClientPort:
    """All sockets of one application, which are open already. Raises tls.Unusable for files that make no certificate."""

    def __init__(
        self,
        app: App,
        listening: Sequence[tuple[str, socket.socket]],
        tls: TlsSettings,
        streams_max: int,
        body_bytes_max: int,
        hold: Callable[[Any, int], None] | None = None,
        keep_alive: KeepAlive = NO_KEEP_ALIVE,
    ) -> None:
        limits = Limits(
            streams_max=min(streams_max, STREAMS_MAX),
            body_bytes_max=body_bytes_max,
            unary_prefixes=UNARY,
            ping_interval_s=keep_alive.interval_s,
            ping_timeout_s=keep_alive.timeout_s,
            ping_least_s=keep_alive.least_s,
            hold=hold,
        )
        self._requests = TaskSet("client port")
        self._server = Server(app, limits, lambda work, name: self._requests.start(name, work))
        secure = any(urlsplit(url).scheme == "https" for url, _ in listening)
        material = Material(tls, "client") if secure else None
        self._doors = [Door(listener, material if urlsplit(url).scheme == "https" else None, self._welcome, "client") for url, listener in listening]
        self._helpers: list[asyncio.Task[None]] = []
        self._connections_max = connections.raise_limit()

    async def open(self, group: asyncio.TaskGroup) -> None:
        """Serve from now on."""
        self._helpers = [group.create_task(door.serve(), name="door of the client port") for door in self._doors]
        self._helpers.append(group.create_task(self._server.sweep_forever(), name="sweep of the client port"))

    def stop(self) -> None:
        """Accept nothing more; what is under way goes on until `finish`."""
        for helper in self._helpers[:-1]:
            helper.cancel()
        self._server.drain()

    @property
    def is_settled(self) -> bool:
        """After `stop`: nobody waits for an answer that comes soon, and nobody asks any more."""
        return self._server.is_settled

    async def finish(self, grace_s: float = GRACE_S) -> None:
        """After `stop`: wait until all requests have ended, and hang up on those that have not in time (a watch has no end of its own)."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + grace_s
        while self.open_requests() and loop.time() < end_s:  # noqa: ASYNC110 - once in a member's life; no request is to pay for being waited for
            await asyncio.sleep(FINISH_POLL_S)
        self._server.close()
        await asyncio.sleep(0)  # the last answers are on their way, and who is left knows that it is over
        self.hang_up()
        await self._requests.close()
        for helper in self._helpers:
            helper.cancel()

    def hang_up(self, client: tuple[str, int] | None = None) -> None:
        """Break a client's connection, or all: who is there sees a server that went away, as with etcd, and comes again."""
        self._server.hang_up(client)

    def open_requests(self) -> Counter[tuple[str, int]]:
        """Requests under way of each client."""
        return self._server.open_requests()

    async def _welcome(self, transport: asyncio.Transport) -> asyncio.Protocol:
        client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        inside = transport.get_extra_info("ssl_object")
        if client is None or server is None:
            raise OSError("the client has left")
        if len(self._server.connections) >= self._connections_max:
            self._make_room()
        return self._server.welcome(client[:2], server[:2], None if inside is None else _extension(inside))

    def _make_room(self) -> None:
        """For a new connection, at the cost of idle ones: a client comes again when it has to. Raises OSError if all are busy."""
        count = self._server.hang_up_idle(max(1, round(MADE_FREE * self._connections_max)))
        if not count:
            raise OSError(f"more than {self._connections_max} connections")
        log.warning("hung up on idle connections", extra=fields(count=count, limit=self._connections_max))


def _extension(inside: ssl.SSLObject) -> dict[str, Any]:
    """ASGI's TLS extension, version 0.2."""
    # Imported only where there is TLS: every start would wait for it.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    chain = [x509.load_der_x509_certificate(each) for each in chain_of(inside)]
    return {
        "server_cert": None,
        "client_cert_chain": tuple(each.public_bytes(Encoding.PEM).decode() for each in chain),
        "client_cert_name": chain[0].subject.rfc4514_string() if chain else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(inside.version() or ""),
        "cipher_suite": None,
    }
