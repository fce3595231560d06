"""How tests are handed out to workers (tests/conftest.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TESTS = """
import os
import pytest

@pytest.mark.parametrize("number", range(40))
def test_one(number):
    if number in ({dies}):
        os._exit(1)
"""


@pytest.mark.parametrize(("dies", "failed"), [("7, 20", 2), ("0, 1", 2), ("39,", 1)])
def test_a_worker_that_dies_costs_the_test_it_died_of_and_no_other(tmp_path: Path, dies: str, failed: int) -> None:
    """A segmentation fault once kept a whole run waiting until its time was up, and nobody was told of which test."""
    (tmp_path / "test_it.py").write_text(TESTS.format(dies=dies))
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "--rootdir",
            tmp_path,
            "-n",
            "2",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            tmp_path,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert f"{failed} failed, {40 - failed} passed" in ran.stdout
    assert ran.stdout.count("crashed while running") >= failed
