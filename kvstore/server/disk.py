"""Threads that own a disk: blocking work in its order, off the event loop.

A job's outcome comes back to the loop in the order of the jobs. An exception that a job lets out is not an answer but the end of the member: a disk
that failed a write has forgotten who knows what, and etcd, too, stops then.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

STOP_TIMEOUT_S = 5.0

Job = Callable[[], Any]
Done = Callable[[Any], None]


class DiskThread:
    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, failed: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self._failed = failed
        self._error: BaseException | None = None
        self._jobs: SimpleQueue[tuple[Job, Done] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        """Run `job` in the thread, then `done(result)` on the loop."""
        self._jobs.put((job, done))

    async def call(self, job: Job) -> Any:
        """Run `job` in the thread and wait for its result; its exception comes out here, and that which ended the thread."""
        if self._error is not None:
            raise self._error
        future = self._loop.create_future()

        def guarded() -> tuple[Any, BaseException | None]:
            try:
                return job(), None
            except BaseException as error:
                return None, error

        def done(outcome: tuple[Any, BaseException | None]) -> None:
            if not future.done():
                if outcome[1] is not None:
                    future.set_exception(outcome[1])
                else:
                    future.set_result(outcome[0])

        self.submit(guarded, done)
        return await future

    def stop(self) -> None:
        """Finish what was submitted, then end the thread; one that hangs in its disk is left behind."""
        self._jobs.put(None)
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        while (work := self._jobs.get()) is not None:
            job, done = work
            try:
                result = job()
            except BaseException as error:
                self._error = error
                self._call_loop(self._failed, error)
                return
            self._call_loop(done, result)

    def _call_loop(self, callback: Callable[[Any], None], value: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, value)
        except RuntimeError:
            return  # the loop is closed: the process ends, and nobody waits
