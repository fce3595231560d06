"""The watcher of a service that acts as its own client: what it buffers is bounded, and what it refused comes later."""

import asyncio

from kvstore.api.behalf import OnBehalf
from kvstore.api.watching import UPDATES_MAX, Watching
from kvstore.model import Put, WatchSpec
from tests.model.backend import ModelBackend


def test_updates_beyond_the_queue_are_refused_and_come_when_there_is_room() -> None:
    asyncio.run(_overfill())


async def _overfill() -> None:
    backend = ModelBackend()
    with Watching(OnBehalf(backend, None), WatchSpec(0, b"a", start_revision=2)) as updates:
        [stream] = backend.streams
        for _ in range(3 * UPDATES_MAX):
            await backend.put(Put(b"a"))
        assert len(updates._queue) == UPDATES_MAX
        told = 0
        async for update in updates:
            assert len(updates._queue) < UPDATES_MAX
            told += len(update.events)
            if told == 3 * UPDATES_MAX:
                break
    assert not stream.watchers
    assert not backend.streams
