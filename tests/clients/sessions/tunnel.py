"""For a client that speaks no TLS (aetcd 1.0): a port on loopback whose bytes go on through TLS, as stunnel would do it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from tests.clients.sessions.arguments import Arguments


@contextlib.asynccontextmanager
async def tunnel(told: Arguments) -> AsyncIterator[tuple[str, int]]:
    """Host and port to connect to instead of `told`'s: itself if that is in clear."""
    if told.ca is None or told.cert is None:
        yield told.host, told.port
        return
    context = ssl.create_default_context(cafile=told.ca)
    context.load_cert_chain(told.cert, told.key)
    context.set_alpn_protocols(["h2"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(told.host, told.port, ssl=context)
        async with asyncio.TaskGroup() as directions:
            directions.create_task(copy(reader, far_writer), name="to the server")
            directions.create_task(copy(far_reader, writer), name="to the client")

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
