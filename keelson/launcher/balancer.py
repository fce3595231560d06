"""The one address of several API servers: connections are passed on to one that is ready, byte for byte.

Several may run on the same address: the kernel spreads connections over those that live (SO_REUSEPORT), so that the loss of one costs its connections
and refuses no new one.

TLS goes through: the balancer holds no key, and who connects is known to the API server alone. A server counts as ready while its /readyz says so;
one that refuses a connection is left out at once, and the connection goes to the next. A connection lives and dies with its server: clients connect
again. What the balancers balance beside it is the host's way to service addresses (see routes).

    python -m keelson.launcher.balancer --certificate-authority=ca.crt --listen=127.0.0.1:6443 --backend=127.0.0.1:6444 --backend=127.0.0.1:6445
"""

import argparse
import asyncio
import contextlib
import logging
import ssl
import sys
from itertools import count
from pathlib import Path

from keelson.cogs import logs
from keelson.cogs.logs import fields
from keelson.cogs.routes import Routes
from keelson.cogs.shutdown import stop_on_signals
from keelson.cogs.tasks import Tasks

CHECK_INTERVAL_S = 0.5
CHECK_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 2.0
CHUNK_BYTES = 64 << 10
CONNECTIONS_MAX = 10_000
"""Beyond it new connections are closed at once: each costs two file descriptors and two buffers."""

log = logging.getLogger("keelson.balancer")

Address = tuple[str, int]


class Balancer:
    """`backends` in the order in which they were given; each gets its turn as long as it is ready."""

    def __init__(self, backends: list[Address], tls: ssl.SSLContext) -> None:
        self.backends = backends
        self.ready = dict.fromkeys(backends, True)
        self._tls = tls
        self._turn = count()
        self._connections = 0

    def order(self) -> list[Address]:
        """Whom to try for the next connection: the ready ones in turns, then the others, which may have come back meanwhile."""
        first = next(self._turn) % len(self.backends)
        turned = [*self.backends[first:], *self.backends[:first]]
        return sorted(turned, key=lambda each: not self.ready[each])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, from its beginning to its end."""
        if self._connections >= CONNECTIONS_MAX:
            writer.close()
            return
        self._connections += 1
        try:
            if (server := await self._connect()) is not None:
                await _splice(reader, writer, *server)
        finally:
            self._connections -= 1
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for backend in self.order():
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    return await asyncio.open_connection(*backend, limit=CHUNK_BYTES)
            except (OSError, TimeoutError) as error:
                self._note(backend, False, str(error) or "no answer")
        return None

    async def watch(self, backend: Address) -> None:
        """Ask a server again and again whether it is ready."""
        while True:
            try:
                async with asyncio.timeout(CHECK_TIMEOUT_S):
                    told = await self._ask(backend)
                self._note(backend, told == 200, f"/readyz answers {told}")
            except (OSError, TimeoutError, ValueError) as error:
                self._note(backend, False, str(error) or "no answer")
            await asyncio.sleep(CHECK_INTERVAL_S)

    async def _ask(self, backend: Address) -> int:
        reader, writer = await asyncio.open_connection(*backend, ssl=self._tls)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: %s\r\nUser-Agent: keelson-balancer\r\nConnection: close\r\n\r\n" % backend[0].encode())
            line = await reader.readline()
            return int(line.split(b" ")[1]) if line.startswith(b"HTTP/1.1 ") else 0
        finally:
            writer.close()

    def _note(self, backend: Address, ready: bool, why: str) -> None:
        if self.ready[backend] != ready:
            self.ready[backend] = ready
            log.info("API server is ready" if ready else "API server is not ready", extra=fields(address=f"{backend[0]}:{backend[1]}", why=why))


async def _splice(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server_reader: asyncio.StreamReader, server_writer: asyncio.StreamWriter
) -> None:
    """Bytes both ways until both sides have ended; the end of one side is passed on, and a broken one ends both."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(reader, server_writer), name="balancer/to server")
            group.create_task(_pass_on(server_reader, writer), name="balancer/to client")
    except* (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        server_writer.close()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK_BYTES):
        target.write(chunk)
        await target.drain()
    with contextlib.suppress(OSError):
        target.write_eof()


async def run(listen: list[Address], backends: list[Address], tls: ssl.SSLContext, routes: Routes | None = None, lock: Path = Path()) -> None:
    """Until a stop signal. `routes` are looked after as well, by whoever has the `lock`."""
    balancer = Balancer(backends, tls)
    async with contextlib.AsyncExitStack() as servers, Tasks("balancer") as tasks:
        for address in listen:
            server = await asyncio.start_server(balancer.serve, *address, limit=CHUNK_BYTES, reuse_port=True)
            await servers.enter_async_context(server)
        for backend in backends:
            tasks.serve(f"watch {backend[1]}", balancer.watch(backend))
        if routes is not None:
            tasks.serve("routes", routes.run(lock))
        log.info("balancing", extra=fields(listen=[f"{host}:{port}" for host, port in listen]))
        with stop_on_signals() as stopped:
            await stopped.wait()
        tasks.cancel()


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def main() -> int:
    parser = argparse.ArgumentParser(prog="keelson-balancer", description="One address for several API servers.")
    parser.add_argument("--listen", type=_address, action="append", required=True, metavar="HOST:PORT")
    parser.add_argument("--backend", type=_address, action="append", required=True, metavar="HOST:PORT")
    parser.add_argument("--name", default="", help="to tell it from others on the same address")
    parser.add_argument("--certificate-authority", required=True, help="whose certificates the API servers have")
    parser.add_argument("--route", action="append", default=[], metavar="NETWORK", help="a network of service addresses, for this machine")
    parser.add_argument("--via", action="append", default=[], metavar="ADDRESS", help="a node that answers for them, while its proxy is well")
    parser.add_argument("--route-lock", type=Path, default=Path("routes.lock"), help="of several balancers one looks after the routes")
    arguments = parser.parse_args()
    logs.configure()
    routes = Routes(arguments.route, arguments.via) if arguments.route and arguments.via else None
    tls = ssl.create_default_context(cafile=arguments.certificate_authority)
    asyncio.run(run(arguments.listen, arguments.backend, tls, routes, arguments.route_lock))
    return 0


if __name__ == "__main__":
    sys.exit(main())
