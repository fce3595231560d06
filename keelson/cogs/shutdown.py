"""From signals to one event: SIGTERM and SIGINT ask a process to stop, and it stops as it started, backwards.

The first signal asks; a second one of the same kind finds the default action again, so that an operator can always force the end.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopAsked(asyncio.Event):
    """Set once a stop signal came; `number` tells which one."""

    number: signal.Signals | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopAsked]:
    """An event that the first SIGTERM or SIGINT sets, while the block runs. Needs the running event loop of the main thread."""
    asked = StopAsked()
    loop = asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        asked.number = number
        asked.set()
        loop.remove_signal_handler(number)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, ask, number)
    try:
        yield asked
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def die_of(number: signal.Signals) -> None:
    """End the process as the signal would have without a handler, so that a parent sees "killed by SIGTERM" (what etcd does, too).

    As process 1 of a container the default action does nothing: then, and only then, this returns.
    """
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
