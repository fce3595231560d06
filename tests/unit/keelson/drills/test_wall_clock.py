"""One process believes that it is another time; nobody else does, and its monotonic clock goes on as before."""

import subprocess
import sys
import time

import pytest

from keelson.drills import wall_clock
from keelson.drills.wall_clock import WallClock

TELL = """
import sys, time
COARSE = 5  # <time.h> has a name for it, Python not
for line in sys.stdin:
    print(time.time(), time.clock_gettime(COARSE), time.monotonic(), flush=True)
"""
NEAR_S = 60.0
"""A jump is an hour, so a minute's doubt tells it from none on the slowest machine."""


@pytest.mark.skipif(wall_clock.why_not() is not None, reason=str(wall_clock.why_not()))
def test_a_process_believes_another_time_for_a_while() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def told() -> list[float]:
            assert process.stdin is not None
            assert process.stdout is not None
            print(file=process.stdin, flush=True)
            return [float(word) for word in process.stdout.readline().split()]

        told()  # it runs
        clock = WallClock(process.pid)
        for seconds in (3600, -3600, 0):
            clock.shift(seconds)
            wall_s, coarse_s, monotonic_s = told()
            assert abs(wall_s - time.time() - seconds) < NEAR_S
            assert abs(coarse_s - time.time() - seconds) < NEAR_S
            assert abs(monotonic_s - time.monotonic()) < NEAR_S
        process.stdin.close()
