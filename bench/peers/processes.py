"""Processes of systems that are not etcd's kind: started on a leash, stopped whatever happens."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from keelson.drills import leash
from tests.support.members import wait_until

START_TIMEOUT_S = 40.0


class Processes:
    def __init__(self) -> None:
        self.all: list[subprocess.Popen[bytes]] = []

    def start(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, piped: bool = False
    ) -> subprocess.Popen[bytes]:
        """Dies with us, if need be by the kernel. `piped`: its input and output are ours instead of nothing and the log."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command],
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else file,
                stderr=file,
                cwd=log.parent,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )
        self.all.append(process)
        return process

    def alive(self) -> bool:
        return all(process.poll() is None for process in self.all)

    def wait(self, probe: Callable[[], object], what: str) -> None:
        """Until `probe` says so. Raises AssertionError if that takes too long or a process ended."""
        wait_until(lambda: bool(probe()) or not self.alive(), START_TIMEOUT_S, what)
        ended = [process for process in self.all if process.poll() is not None]
        assert not ended, f"{what}: a process ended with {ended[0].returncode}: {' '.join(map(str, ended[0].args[5:7]))}"  # type: ignore[index]


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    started = Processes()
    try:
        yield started
    finally:
        for process in started.all:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
