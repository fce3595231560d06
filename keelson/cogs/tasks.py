"""Named tasks with an owner and an end: the one place where asyncio tasks are made outside a plain `asyncio.TaskGroup`.

Three rules (after trio's nurseries), for code in which a task that nobody waits for loses its error and outlives its reason:

* every task has a name, which is in the log when it ends badly and in `asyncio.all_tasks()` when somebody asks what runs;
* every task has an owner, which ends its tasks when it ends: nothing is fire-and-forget;
* what ends unexpectedly is logged with its name and takes its owner with it.

`Tasks` owns tasks for the length of an `async with` block, `TaskSet` for the life of an object that has its own `close()`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class EndedUnexpectedly(RuntimeError):
    """A task that was to run until cancelled returned instead."""


class Tasks:
    """A TaskGroup whose tasks have names: leaving the block waits for them, and the first error cancels the others and is raised.

    async with Tasks("server") as tasks:
        tasks.serve("ticker", tick_forever())
        await stop_asked.wait()
        tasks.cancel()
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._group.__aexit__(kind, error, trace)

    def start(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work`, which may end by itself; an error in it ends the whole group."""
        task = self._group.create_task(work, name=f"{self.owner}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_log_failure)
        return task

    def serve(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        """Run `work`, which must go on until it is cancelled: its end, even without an error, ends the whole group."""
        return self.start(name, _never_ending(f"{self.owner}/{name}", work))

    def cancel(self) -> None:
        """Ask every task to end; leaving the block then waits until they have."""
        for task in tuple(self._tasks):
            task.cancel()


class TaskSet:
    """The tasks of an object that is opened and closed rather than entered and left, such as a client.

    A task that fails is logged and told to `on_failure` (which may close the object); the others go on.
    """

    def __init__(self, owner: str, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        self.owner = owner
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        if self._closed:
            work.close()
            raise RuntimeError(f"{self.owner} is closed and starts no task {name!r}")
        task = asyncio.create_task(work, name=f"{self.owner}/{name}")  # noqa: TID251 - here it gets its name, its owner and its end
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = _log_failure(task)
        if error is not None and self._on_failure is not None:
            self._on_failure(task.get_name(), error)

    async def close(self) -> None:
        """Cancel every task and wait until all have ended. Harmless when called again.

        Called from one of the tasks, it lets that one finish.
        """
        self._closed = True
        own = asyncio.current_task()
        ending = [task for task in self._tasks if task is not own]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)  # their errors were logged by `_ended`


def _log_failure(task: asyncio.Task[Any]) -> BaseException | None:
    if task.cancelled():
        return None
    error = task.exception()
    if error is not None:
        log.error("task failed", exc_info=error, extra={"fields": {"task": task.get_name()}})
    return error


async def _never_ending(name: str, work: Coroutine[Any, Any, Any]) -> None:
    await work
    raise EndedUnexpectedly(f"task {name} was to run until cancelled, but returned")
