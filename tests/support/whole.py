"""A whole cluster by `keelson up`, in a folder and on ports of its own; `down` at the end, and nothing left behind."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keelson.drills.ports import free_ports
from keelson.drills.whole.stage import free_block
from keelson.launcher import cluster as clusters
from keelson.launcher import processes
from keelson.launcher.control_plane import PORTS
from tests.support.kubectl import NEWEST, Tool, program
from tests.support.traces import left, marks_of

UP_TIMEOUT_S = 600


class Whole:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"

    @property
    def kubeconfig(self) -> Path:
        return self.data / "kube" / "admin.kubeconfig"

    def keelson(self, *words: str, timeout_s: float = UP_TIMEOUT_S) -> str:
        command = [sys.executable, "-m", "keelson.launcher.main", *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}\n{self.logs()}"
        return done.stdout

    def down(self) -> None:
        """Stop it; nothing but its folder may be left."""
        made = clusters.load(self.data)
        marks = None if made is None else marks_of(made)
        self.keelson("down")
        remaining = [] if marks is None else left(marks)
        assert not remaining, "\n".join(remaining)

    def kubectl(self, minor: int = NEWEST) -> Tool:
        return Tool(program("kubectl", minor), self.kubeconfig, self.folder)

    def helm(self, minor: int = NEWEST) -> Tool:
        return Tool(program("helm", minor), self.kubeconfig, self.folder)

    def kill(self, name: str) -> None:
        """kill -9 of one program; its supervisor starts it again."""
        identity = processes.running(self.data, name)
        assert identity is not None, f"{name} does not run"
        assert processes.send(identity, processes.signal.SIGKILL)

    def logs(self, lines: int = 15) -> str:
        """The ends of all logs, for a report."""
        told = []
        for path in sorted((self.data / "logs").glob("*.log")):
            told.append(f"--- {path.name}")
            told += path.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(told)


@contextmanager
def whole(folder: Path, *words: str, nodes: int = 3) -> Iterator[Whole]:
    """Skips without root: nodes are network namespaces."""
    if os.geteuid() != 0:
        pytest.skip("nodes are network namespaces, which need root")
    cluster = Whole(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clients, peers = (",".join(map(str, free_ports(3))) for _ in range(2))
    port = free_block(PORTS)
    try:
        cluster.keelson(
            "up", "--client-port", clients, "--peer-port", peers, "--api-port", str(port), "--nodes", str(nodes), "--wait", "240s", *words
        )
        yield cluster
    finally:
        cluster.down()


def names(listed: str) -> list[str]:
    return [item["metadata"]["name"] for item in json.loads(listed)["items"]]
