"""An event loop whose clock jumps: what sleeps wakes as soon as nothing else can run, so that minutes of back-off take no time at all."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

RUN_S_MAX = 100_000.0
"""Virtual seconds after which a test is taken for stuck."""


class _Selector(selectors.DefaultSelector):
    """Waits by moving the clock. Works for loops without sockets but their own."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("deadlock: nothing runs, nothing sleeps, and somebody waits")
        self.now_s += max(timeout, 0)
        if self.now_s > RUN_S_MAX:
            raise RuntimeError(f"still running after {RUN_S_MAX} virtual seconds")
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


def run(work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, in virtual time that begins at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


async def settle(turns: int = 50) -> None:
    """Let everything run that can run now, without moving the clock."""
    for _ in range(turns):
        await asyncio.sleep(0)
