"""Whom the end of a cluster ends: its pods, and nobody who only looks at its files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keelson.launcher import nodes
from keelson.launcher.control_plane import ControlPlane

PLAN = ControlPlane(number=49, port=30_000, nodes=1)


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    program = "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE) as made:
        assert made.stdout is not None
        made.stdout.readline()  # it runs: a process that is being born has no command line yet
        try:
            yield made
        finally:
            made.kill()


def test_a_shim_is_found_by_its_folder_and_who_reads_a_log_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "nodes"
    sandbox = str(place / "node1" / "runtime" / "sandboxes" / "1")
    with process("agents.kubelet.shim.main", sandbox) as shim, process(str(place / "node1" / "kubelet.log")) as reader:
        found = {each.pid for each in nodes._processes(place, PLAN, [])}
        assert shim.pid in found
        assert reader.pid not in found


def test_who_asks_for_it_is_not_ended_by_it(tmp_path: Path) -> None:
    """A script that starts with the words of a shim, and takes the cluster down itself."""
    program = (
        "import os, sys; from pathlib import Path; from keelson.launcher import nodes; from tests.unit.keelson.test_nodes import PLAN;"
        "print(os.getpid() in {each.pid for each in nodes._processes(Path(sys.argv[1]), PLAN, [])})"
    )
    script = f'"{sys.executable}" -c "$0" "$1"; : agents.kubelet.shim.main {tmp_path}/nodes/node1/'
    done = subprocess.run(["sh", "-c", script, program, str(tmp_path / "nodes")], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "False"
