"""How every load connects: to HOST:PORT, in clear or with TLS, and it is an error if that takes long."""

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from bench.load.tally import CONNECT_TIMEOUT_S


class Link(asyncio.Protocol):
    """One connection of a load. `ready` is done when requests may be sent, or fails with why not."""

    def __init__(self) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._closed = False

    def close(self) -> None:
        """At once, without TLS' good-bye: the loop may end right after this."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()


L = TypeVar("L", bound=Link)


def scheme(tls: ssl.SSLContext | None) -> str:
    return "http" if tls is None else "https"


async def dial(endpoint: str, link: Callable[[], L], tls: ssl.SSLContext | None = None) -> L:
    """Raises OSError, TimeoutError, or what `ready` fails with."""
    host, port = endpoint.rsplit(":", 1)
    connecting = asyncio.get_running_loop().create_connection(link, host, int(port), ssl=tls)
    _, protocol = await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
    try:
        await asyncio.wait_for(protocol.ready, CONNECT_TIMEOUT_S)
    except BaseException:
        protocol.close()
        raise
    return protocol
