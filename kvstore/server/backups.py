"""Copies of the state on their way to clients (`Maintenance.Snapshot`).

A backup holds every write that was acknowledged before it was asked for, also a follower's, which asks the leader how far that is.

A copy is a file beside the state, made by the state's thread at one commit. From then on it concerns nobody: a client may take its blobs as slowly
as it likes, and commits, compactions and defragmentation go on. It is removed when its client has it or has left, whatever the moment.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from kvstore.errors import StoreError, TooManyRequests
from kvstore.storage.engine import Export

COPIES_MAX = 4
"""Each takes as much disk as the state: more clients at once are refused. A backup is one client's affair."""

PIECE_BYTES = 256 << 10
"""Read at once, off the event loop."""


CATCH_UP_S = 2.0
"""A member that cannot reach a quorum for so long gives what it has: a backup may be the last thing that is wanted of it."""


class Backups:
    """`catch_up` is done when everything has been applied here that was acknowledged anywhere before; `ask` wants a copy of the state, its
    future is completed with an Export, or with a StoreError."""

    def __init__(self, catch_up: Callable[[], Awaitable[object]], ask: Callable[[], asyncio.Future[Export]]) -> None:
        self._catch_up = catch_up
        self._ask = ask
        self._under_way = 0

    async def pieces(self) -> AsyncGenerator[tuple[int, bytes], None]:
        """(bytes that remain behind, piece), of one state. Close the generator: that gives its file back. Raises StoreError."""
        if self._under_way >= COPIES_MAX:
            raise TooManyRequests
        self._under_way += 1
        try:
            export = await self._copy()
            try:
                offset = 0
                while offset < export.total_bytes:
                    piece = await asyncio.to_thread(export.read, offset, PIECE_BYTES)
                    offset += len(piece)
                    yield export.total_bytes - offset, piece
            finally:
                export.close()
        finally:
            self._under_way -= 1

    async def _copy(self) -> Export:
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(CATCH_UP_S):
                await self._catch_up()
        asked = self._ask()
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(_close)  # the client has left; its copy is made all the same, and has to go
            raise


def _close(asked: asyncio.Future[Export]) -> None:
    if not asked.cancelled() and asked.exception() is None:
        asked.result().close()
