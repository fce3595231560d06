"""What waits for the outcome of a call in a lane, whichever way its answer goes out (lane.py, gateway_lane.py)."""

from abc import abstractmethod
from collections.abc import Callable
from time import perf_counter
from typing import Any

from kvstore.api.calls import outcome_of
from kvstore.wire.status import Code

Later = Callable[[float, Callable[[], None]], Any]
"""Calls a function after so many seconds, unless what it gives is cancelled: an event loop's `call_later`."""


class Pending:
    """A call's `backend.Answer`, less `set_result`, and its time limit."""

    __slots__ = ("_began_s", "_done", "timer")

    def __init__(self) -> None:
        self._began_s = perf_counter()
        self._done = False
        self.timer: Any = None

    def done(self) -> bool:
        return self._done

    def set_exception(self, error: BaseException) -> None:
        self._fail(*outcome_of(error))

    def expire(self) -> None:
        self.timer = None
        if not self._done:
            self.set_exception(TimeoutError())

    @abstractmethod
    def _fail(self, code: Code, text: str) -> None:
        """Answer with that, and end."""

    def _close(self) -> float:
        """Nobody waits any more; how many seconds it took."""
        self._done = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return perf_counter() - self._began_s
