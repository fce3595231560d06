"""Callers over HTTP/1.1 who leave while their call waits, as one for a lock may for days.

HTTP/2 says so. On HTTP/1.1 the server sees it no sooner than it writes, and there is nothing to write before the answer: so whoever knows the
machine's connections is asked now and then (`Settings.is_connected`). Otherwise the place of somebody who has left would stay in the queue as
long as his lease, and keep the others out when its turn comes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

WAITING = frozenset({"/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign"})
"""Unary methods that may wait for other clients."""

LOOK_S = 5.0

Address = tuple[str, int]
IsConnected = Callable[[Address, Address], bool]
"""(client, server): False only if it is certain that the client has closed the connection."""


class Departed(Exception):
    """There is nobody to answer any more."""


@contextlib.asynccontextmanager
async def noticed(scope: dict[str, Any], path: str, is_connected: IsConnected | None, look_s: float) -> AsyncIterator[None]:
    """The block is cancelled when the client leaves, and Departed comes out of it (in a group, as everything that comes out of it then)."""
    if path not in WAITING or is_connected is None or not scope["http_version"].startswith("1") or not scope.get("client"):
        yield
        return
    client, server = tuple(scope["client"]), tuple(scope["server"])

    async def look() -> None:
        while is_connected(client, server):  # noqa: ASYNC110 - the kernel's table tells nobody when it changes
            await asyncio.sleep(look_s)
        raise Departed

    async with asyncio.TaskGroup() as group:
        looking = group.create_task(look(), name="departure of a waiting client")
        yield
        looking.cancel()
