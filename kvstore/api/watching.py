"""One watcher, read by a service that acts like a client of its own store.

What the member delivers waits in a short queue. When that is full, `deliver` refuses, and the member keeps nothing but the revision from which
this watcher goes on once it reads again: a call that waits for days costs one watcher and at most `UPDATES_MAX` updates.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from kvstore.api.behalf import OnBehalf
from kvstore.model import WatchSpec, WatchUpdate

UPDATES_MAX = 8


class Watching:
    """Enter it to watch, iterate over it for updates, leave it to end the watcher. `spec.watch_id` is of no matter."""

    def __init__(self, store: OnBehalf, spec: WatchSpec) -> None:
        self._spec = spec
        self._queue: deque[WatchUpdate] = deque()
        self._idle: asyncio.Future[None] | None = None
        self._refused = False
        self._stream = store.open_watch_stream(self._deliver)

    def __enter__(self) -> Self:
        self._stream.create(self._spec)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchUpdate:
        while not self._queue:
            if self._refused:
                self._refused = False
                self._stream.resume()
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        return self._queue.popleft()

    def _deliver(self, update: WatchUpdate) -> bool:
        if len(self._queue) >= UPDATES_MAX:
            self._refused = True
            return False
        self._queue.append(update)
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        return True
