"""A scenario of the client library against a served model."""

import asyncio
from collections.abc import Awaitable, Callable

from kvstore.client.client import Client
from tests.unit.api.served import Served

TIMEOUT_S = 10


def play(served: Served, scenario: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(TIMEOUT_S), Client([f"127.0.0.1:{served.port}"]) as client:
            await scenario(client)

    asyncio.run(run())
    assert served.wait_until(lambda backend: not any(stream.watchers for stream in backend.streams)), "a watcher outlives its client"


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that has no way to tell by itself; the scenario's own time limit ends it."""
    while not true():  # noqa: ASYNC110 - what is waited for happens in the server's thread
        await asyncio.sleep(0.001)


async def until_watched(served: Served, watchers: int) -> None:
    """Wait until so many watchers are there: whoever is to wait does."""
    await until(lambda: served.do(lambda backend: sum(len(stream.watchers) for stream in backend.streams)) == watchers)


async def until_keys(served: Served, count: int) -> None:
    await until(lambda: served.do(lambda backend: len(backend.model.state.range(b"\0", b"\0")) == count))


async def keys(client: Client) -> list[bytes]:
    return [kv.key for kv in (await client.get(b"\0", b"\0")).kvs]
