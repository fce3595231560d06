"""TLS to a server that nobody checks: what --insecure-skip-tls-verify asks for, and gRPC for Python has no setting for.

gRPC speaks in the clear into a Unix socket in a folder of our own, and this carries it over TLS to the server, whatever certificate that shows.
"""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keelson.cogs.tasks import TaskSet

CHUNK_BYTES = 64 << 10
BACKLOG = 16


class Tunnel:
    """To `target` ("host:port"). Open from the beginning; `path` is where to connect."""

    def __init__(self, target: str, context: ssl.SSLContext) -> None:
        host, _, port = target.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._context = context
        self._folder = tempfile.TemporaryDirectory(prefix="keelson-")  # 0700
        self.path = str(Path(self._folder.name) / "tunnel")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._tasks = TaskSet(f"tunnel to {target}")
        self._tasks.start("accept", self._accept())

    async def close(self) -> None:
        await self._tasks.close()
        self._listener.close()
        self._folder.cleanup()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            self._tasks.start("connection", self._carry(connection))

    async def _carry(self, connection: socket.socket) -> None:
        """Both ways, until either side ends; gRPC dials anew then."""
        with contextlib.suppress(OSError):
            inside_reader, inside_writer = await asyncio.open_unix_connection(sock=connection)
            with _closing(inside_writer):
                outside_reader, outside_writer = await asyncio.open_connection(self._host, self._port, ssl=self._context, server_hostname=self._host)
                with _closing(outside_writer):
                    try:
                        async with asyncio.TaskGroup() as group:
                            group.create_task(_copy(inside_reader, outside_writer), name="to the server")
                            group.create_task(_copy(outside_reader, inside_writer), name="from the server")
                    except* (_Ended, OSError):
                        pass


class _Ended(Exception):
    """One side has nothing more to say, so the other has nobody to talk to."""


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    raise _Ended


@contextlib.contextmanager
def _closing(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.close()
