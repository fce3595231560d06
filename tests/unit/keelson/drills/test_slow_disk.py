"""Flushes of one command take longer, as long as it is told so; what it writes and how it ends is as without."""

import subprocess
import sys
from pathlib import Path

import pytest

from keelson.drills import slow_disk
from keelson.drills.slow_disk import Delay

FLUSH = """
import os, sys, time
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
for line in sys.stdin:
    os.write(file, line.encode())
    began = time.monotonic()
    os.fdatasync(file)
    os.fsync(file)
    print(time.monotonic() - began, flush=True)
sys.exit(7)
"""
DELAY_S = 0.1

pytestmark = pytest.mark.skipif(slow_disk.why_not() is not None, reason=str(slow_disk.why_not()))


def test_flushes_take_longer_while_they_are_told_to(tmp_path: Path) -> None:
    delay = Delay(str(tmp_path / "delay"))
    words = [sys.executable, "-I", "-S", slow_disk.__file__, delay.path, sys.executable, "-I", "-S", "-c", FLUSH, str(tmp_path / "file")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def flush_s(text: str) -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            print(text, file=process.stdin, flush=True)
            return float(process.stdout.readline())

        flush_s("before")
        delay.set(DELAY_S)
        assert flush_s("meanwhile") >= 2 * DELAY_S
        delay.set(0.0)
        assert min(flush_s("after") for _ in range(5)) < 2 * DELAY_S
        process.stdin.close()
        assert process.wait(10) == 7
    assert (tmp_path / "file").read_text().split() == ["before", "meanwhile", *["after"] * 5]


def test_the_command_ends_with_its_own_status(tmp_path: Path) -> None:
    delay = Delay(str(tmp_path / "delay"))
    words = [sys.executable, "-I", "-S", slow_disk.__file__, delay.path, "false"]
    assert subprocess.run(words, check=False, timeout=10).returncode == 1
