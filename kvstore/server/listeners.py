"""The client port: HTTP/1.1 and HTTP/2 through h2corn, in the clear and with TLS.

TLS has two ways. Usually h2corn does it, in Rust; since it takes its files once, changed files mean a successor on the same socket: it accepts
from then on, while the old one asks its clients to come anew (GOAWAY, which gRPC clients follow without an error) and serves the streams that it
has for as long as they last. What h2corn cannot do (cipher suites, a highest or another lowest version, a revocation list, allowed names) is done by
`Terminator`, in Python, only when flags ask for it.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h2corn
import h2corn._lib

from keelson.cogs.logs import fields
from keelson.cogs.tasks import TaskSet
from kvstore.api.app import Application
from kvstore.http.limits import Limits
from kvstore.http.protocol import Server
from kvstore.server import connections
from kvstore.server.door import Door
from kvstore.server.terminator import Terminator
from kvstore.server.tls import Material, TlsSettings

log = logging.getLogger("kvstore.server")

HEADER_FIELDS_MAX = 100
HEADER_BYTES_MAX = 64 << 10
STREAMS_MAX = 4_000
"""Of one connection at a time, whatever --max-concurrent-streams says: each costs 20 kB, and 0.1 ms to begin, while others wait."""
STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES = 2 << 20, 4 << 20
"""What a client may send before somebody reads it: one request of the largest size, and a few."""
BODY_IDLE_S = 30.0
ANSWER_STALL_S = 60.0
"""How long a unary call may stand still on its client's side before its stream is given up."""
GRACE_S = 1.0
"""How long requests may still run when the member stops."""
DRAIN_S = 1e8
"""How long a server whose certificate was replaced may still serve the streams that it has: years. the end of the member is theirs, too."""
RELOAD_POLL_S = 0.5
"""How often changed files are looked for: four calls of stat, 10 us."""

_POLICIES = tuple(
    h2corn.RequestPolicy(path=path, max_request_body_size=0, timeout_request_body_idle=BODY_IDLE_S, h2_timeout_response_stall=ANSWER_STALL_S)
    for path in ("/etcdserverpb.KV/*", "/etcdserverpb.Auth/*", "/etcdserverpb.Cluster/*")
)
"""Services whose calls are all unary; the others may be silent for days, in both directions."""

# The server announces itself on standard error, which here belongs to the log.
h2corn._lib.emit_banner = lambda *_: None


class ClientPort:
    """All servers of one application on sockets that are open already. Raises tls.Unusable for files that make no certificate."""

    def __init__(
        self, app: Application, listening: Sequence[tuple[str, socket.socket]], tls: TlsSettings, streams_max: int, body_bytes_max: int
    ) -> None:
        self._app = app
        self._streams_max = streams_max
        self._body_bytes_max = body_bytes_max
        self._running: dict[h2corn.Server, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._secure_server: h2corn.Server | None = None
        self._helpers: list[asyncio.Task[None]] = []
        self._clear = [listener for url, listener in listening if urlsplit(url).scheme == "http"]
        self._secure = [listener for url, listener in listening if urlsplit(url).scheme == "https"]
        self._ports = {listener.getsockname()[1] for _, listener in listening}
        self.connections_max = connections.raise_limit()
        self._material = Material(tls, "client") if self._secure else None
        self._terminator = Terminator(self._secure, self._material) if self._material and not tls.is_plain else None

    async def open(self, group: asyncio.TaskGroup) -> None:
        """Start and return once connections are accepted. Raises OSError or ValueError if a server cannot start."""
        self._group = group
        if self._clear and os.environ.get("KEELSON_OWN_HTTP2"):  # until HTTP/1.1 is there, too
            self._open_own(group)
        elif self._clear:
            await self._start(self._app, _bind(self._clear))
        if self._terminator is not None:
            inside = self._terminator.wrap(self._app)
            await self._start(inside, _bind([self._terminator.inner]), proxy_protocol="v2")
            self._helpers.append(group.create_task(self._terminator.serve(), name="listener with TLS"))
        elif self._material is not None:
            self._secure_server = await self._start(self._app, _bind(self._secure), **self._tls())
            self._helpers.append(group.create_task(self._follow_files(), name="certificates of the client port"))

    def _open_own(self, group: asyncio.TaskGroup) -> None:
        tasks = TaskSet("client port")
        server = Server(self._app, Limits(), lambda work, name: tasks.start(name, work), lambda *_: asyncio.Protocol())

        async def welcome(transport: asyncio.Transport) -> asyncio.Protocol:
            return server.welcome(transport.get_extra_info("peername")[:2], transport.get_extra_info("sockname")[:2], None)

        for listener in self._clear:
            self._helpers.append(group.create_task(Door(listener, None, welcome, "client").serve(), name="client port"))
        self._helpers.append(group.create_task(server.sweep_forever(), name="sweep"))

    def stop(self) -> None:
        """Accept nothing more; what is under way goes on until `finish`."""
        for helper in self._helpers:
            helper.cancel()
        for server in self._running:
            server.shutdown()

    async def finish(self, grace_s: float = GRACE_S) -> None:
        """After `stop`: wait until all requests have ended, and hang up on those that have not in time (a watch has no end of its own)."""
        tasks = list(self._running.values())
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=grace_s)
        while any(not task.done() for task in tasks):
            self.hang_up()
            await asyncio.wait(tasks, timeout=grace_s)

    def hang_up(self, client: tuple[str, int] | None = None) -> None:
        """Break a client's connection, or all: who is there sees a server that went away, as with etcd, and comes again."""
        for wire in connections.to_ports(self._ports, client):
            with wire, contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def hang_up_idle(self, busy: Collection[Any]) -> int:
        """Break the connections on which nothing is under way; how many."""
        count = 0
        for wire in connections.to_ports(self._ports):
            with wire, contextlib.suppress(OSError):
                if wire.getpeername()[:2] not in busy:
                    wire.shutdown(socket.SHUT_RDWR)
                    count += 1
        return count

    async def _start(self, app: Any, bind: tuple[str, ...], **more: Any) -> h2corn.Server:
        config = h2corn.Config(
            bind=bind,
            grpc=True,
            # One Rust thread beside the one event loop: it needs a third of the loop's time a request, and a second one only adds wake-ups
            # (reads of one key, 200 in flight: 44 to 35 us of processor time a request over three members; one at a time: 310 to 275).
            runtime_threads=1,
            access_log=False,
            lifespan="off",
            date_header=False,
            server_header="off",
            max_concurrent_streams=min(self._streams_max, STREAMS_MAX),
            limit_connections=self.connections_max,
            h2_initial_stream_window_size=STREAM_WINDOW_BYTES,
            h2_initial_connection_window_size=CONNECTION_WINDOW_BYTES,
            request_policies=_POLICIES,
            max_request_body_size=self._body_bytes_max,
            limit_request_fields=HEADER_FIELDS_MAX,
            h2_max_header_list_size=HEADER_BYTES_MAX,
            limit_request_head_size=HEADER_BYTES_MAX,
            timeout_graceful_shutdown=DRAIN_S,
            # A watch may be silent for days, in both directions.
            h2_timeout_response_stall=0.0,
            timeout_keep_alive=0.0,
            **more,
        )
        assert self._group is not None, "open() comes first"
        server = h2corn.Server(app, config)
        task = self._group.create_task(self._run(server), name=f"listener {bind}")
        self._running[server] = task
        await server.wait_started()
        return server

    async def _run(self, server: h2corn.Server) -> None:
        try:
            with contextlib.suppress(ValueError, OSError):  # of a start, which `_start` raises
                await server.serve()
        finally:
            del self._running[server]

    def _tls(self) -> dict[str, Any]:
        assert self._material is not None
        settings = self._material.settings
        secure: dict[str, Any] = {"certfile": Path(settings.cert), "keyfile": Path(settings.key)}
        if settings.ca:
            secure |= {"ca_certs": Path(settings.ca), "cert_reqs": "required"}
        return secure

    async def _follow_files(self) -> None:
        """A successor for each change of the files."""
        assert self._material is not None
        while True:
            await asyncio.sleep(RELOAD_POLL_S)
            if not self._material.refresh():
                continue
            try:
                successor = await self._start(self._app, _bind(self._secure), **self._tls())
            except (OSError, ValueError) as error:
                # The files changed once more since they were found to be good.
                log.error("cannot serve changed TLS files, staying with what they held before", extra=fields(port="client", error=str(error)))
                continue
            assert self._secure_server is not None
            self._secure_server.shutdown()
            self._secure_server = successor


def _bind(listeners: Sequence[socket.socket]) -> tuple[str, ...]:
    return tuple(f"fd://{listener.fileno()}" for listener in listeners)
