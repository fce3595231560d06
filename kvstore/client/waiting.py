"""Waiting for a key to change, for callers that look at the state, wait, and look again.

A wait may end early, and nothing is to be concluded from its end but that a look is worth while: history that was compacted meanwhile and a watch
that hangs on a member which does not answer both only cost time.
"""

import asyncio
import contextlib

from kvstore.client.client import Client
from kvstore.client.errors import WatchCompacted
from kvstore.wire import messages

LOOK_AGAIN_S = 10.0

_Watch = messages.WatchCreateRequest


async def deleted_or_late(client: Client, key: bytes, revision: int) -> None:
    """Until a deletion of `key` after `revision`."""
    await _changed(client, key, b"", revision, [_Watch.NOPUT])


async def changed_or_late(client: Client, key: bytes, revision: int, range_end: bytes = b"") -> None:
    """Until something is put at `key`, or in the range, after `revision`."""
    await _changed(client, key, range_end, revision, [_Watch.NODELETE])


async def _changed(client: Client, key: bytes, range_end: bytes, revision: int, filters: list[int]) -> None:
    watcher = client.watch(key, range_end, start_revision=revision + 1, filters=filters)
    with contextlib.suppress(WatchCompacted, TimeoutError):
        async with asyncio.timeout(LOOK_AGAIN_S), contextlib.aclosing(aiter(watcher)) as responses:
            async for response in responses:
                if response.events:
                    return
