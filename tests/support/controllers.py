"""Controllers against the API in memory: `async with running(api, Controller)`; the clock of day follows the virtual loop."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents.kit.controller import Context, Controller
from agents.kit.informer import Informers
from keelson.cogs.tasks import Tasks
from tests.support.fake_api import FakeApi
from tests.support.recorder import ListRecorder

EPOCH_S = 1_767_225_600.0
"""2026-01-01T00:00:00Z: where the API in memory begins."""


def now_s() -> float:
    return EPOCH_S + asyncio.get_running_loop().time()


def context_of(api: FakeApi, recorder: ListRecorder) -> Context:
    return Context(api, Informers(api), lambda component: recorder, now_s, random.Random(1), lambda: asyncio.get_running_loop().time())  # type: ignore[arg-type]


@asynccontextmanager
async def running(api: FakeApi, *kinds: Any) -> AsyncIterator[tuple[list[Controller], ListRecorder]]:
    """The controllers, made of their classes (or of functions of the context), working until the block is left."""
    recorder = ListRecorder()
    context = context_of(api, recorder)
    made = [kind(context) for kind in kinds]
    async with Tasks("test") as tasks:
        context.informers.start(tasks)
        for controller in made:
            tasks.serve(controller.name, controller.run())
        await context.informers.synced()
        yield made, recorder
        tasks.cancel()
