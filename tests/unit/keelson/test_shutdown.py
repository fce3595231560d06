"""The first signal asks; the second finds the default action."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from keelson.cogs.shutdown import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event(number: signal.Signals) -> None:
    async def story() -> None:
        with stop_on_signals() as asked:
            assert asked.number is None
            os.kill(os.getpid(), number)
            await asyncio.wait_for(asked.wait(), 10)
            assert asked.number is number

    asyncio.run(story())


def test_a_second_signal_ends_the_process() -> None:
    program = """
import asyncio, os, signal
from keelson.cogs.shutdown import stop_on_signals
async def main():
    with stop_on_signals() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        await asked.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == -signal.SIGTERM


def test_a_process_can_die_of_its_signal() -> None:
    program = "import signal; from keelson.cogs.shutdown import die_of; die_of(signal.SIGTERM)"
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == -signal.SIGTERM
