"""Networks of clusters on real bridges, in a process of their own: pyroute2 works in a namespace through a forked child, and a process that has
gRPC's threads, as a worker of the tests has, must not fork."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.keelson import networks


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.geteuid() != 0, reason="bridges and network namespaces need root")
def test_networks_in_a_process_of_their_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={tmp_path / 'networks'}"]
    done = subprocess.run([*command, str(networks.__file__)], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
