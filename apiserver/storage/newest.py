"""The store's revision now, asked once for everybody who waits (linearizable, so a list that reaches it misses no write that was answered before)."""

import asyncio
from collections.abc import Awaitable, Callable


class Newest:
    """Who asks while a question is on its way joins the next one: that one may have been answered before their own write was."""

    def __init__(self, ask: Callable[[], Awaitable[int]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._next: asyncio.Future[int] | None = None

    async def revision(self) -> int:
        """Raises StoreError."""
        while self._next is not None:
            try:
                return await asyncio.shield(self._next)
            except ConnectionAbortedError:
                continue
        mine: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._next = mine
        try:
            async with self._asking:
                self._next = None
                revision = await self._ask()
            mine.set_result(revision)
            return revision
        except BaseException as error:
            if self._next is mine:
                self._next = None
            if not mine.done():
                # Whoever waits asks again by its own rules; an asker who went away must not be the others' failure.
                mine.set_exception(error if isinstance(error, Exception) else ConnectionAbortedError("who asked for the revision went away"))
                mine.exception()
            raise
