"""etcdctl in a session: each command's exit status, output and errors become one line of a transcript, masked."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clients.masking import Masking, unnumbered_leases
from tests.support.members import Cluster

COMMAND_TIMEOUT_S = 120
UNHEALTHY = "etcdserver: unhealthy cluster"
"""Members refuse changes of the membership while they have not been connected for five seconds, which on a busy machine may be at any time. Nothing
is done then, and it is no matter of comparison."""


class Etcdctl:
    def __init__(self, program: str, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self._program = program
        self.masking = Masking(cluster)
        self.transcript: list[Any] = []
        assert cluster.tls is not None
        # As flags, not as variables: etcdctl 3.5.1 takes variables for a conflict in a few commands (move-leader).
        self._trust = [f"--cacert={cluster.tls.ca}"]
        self._certificate = [f"--cert={cluster.tls.client_cert}", f"--key={cluster.tls.client_key}"]
        self._user: list[str] = []
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        self._env = {**inherited, "ETCDCTL_API": "3"}

    def _command(self, args: Sequence[str], endpoints: str | None) -> list[str]:
        # A command has five seconds of its own accord, which is not much on a busy machine.
        # After the command's name and before anything else: watch looks for its name in the first place and for "--" by itself.
        flags = [
            f"--command-timeout={COMMAND_TIMEOUT_S // 2}s",
            *self._trust,
            *self._certificate,
            *self._user,
            f"--endpoints={endpoints or self.cluster.endpoints}",
        ]
        return [self._program, args[0], *flags, *args[1:]]

    def __call__(self, *args: str, stdin: str = "", mask: Callable[[str], Any] | None = None, endpoints: str | None = None) -> str:
        """Run one command to its end; its raw output is returned, its masked output goes into the transcript."""
        deadline_s = time.monotonic() + COMMAND_TIMEOUT_S
        while True:
            done = subprocess.run(
                self._command(args, endpoints),
                input=stdin,
                capture_output=True,
                text=True,
                env=self._env,
                timeout=COMMAND_TIMEOUT_S,
                cwd=self.folder,
                check=False,
            )
            if UNHEALTHY not in done.stderr or time.monotonic() > deadline_s:
                break
            time.sleep(0.2)
        self._record(args, done.returncode, done.stdout, done.stderr, mask)
        return done.stdout

    def json(self, *args: str) -> str:
        return self(*args, "-w", "json", mask=self.masking.parsed)

    def without_certificate(self, *args: str) -> None:
        shown, self._certificate = self._certificate, []
        self(*args)
        self._certificate = shown

    @contextmanager
    def as_user(self, user: str) -> Iterator[None]:
        """`user` is name:password."""
        self._user = [f"--user={user}"]
        yield
        self._user = []

    def sorted_json(self, *args: str) -> str:
        """For lists with one item a member, in no certain order."""
        return self(*args, "-w", "json", mask=lambda out: sort_lists(self.masking.parsed(out)))

    def until(self, *args: str, wanted: str) -> None:
        """Repeat a command until its output is `wanted`; that goes into the transcript once."""
        before = len(self.transcript)
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        while self(*args) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        del self.transcript[before:-1]

    @contextmanager
    def background(self, *args: str) -> Iterator[None]:
        """A command that runs during the block."""
        running = subprocess.Popen(self._command(args, None), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self._env)
        try:
            yield
        finally:
            running.kill()
            running.wait()

    def following(self, *args: str, do: Callable[[], object], lines: int, until: Callable[[str], bool] | None = None) -> None:
        """Start a command that goes on for ever, `do` something, and note the first `lines` lines that it prints.

        `until(line)` tells the line at which to `do` it; without it, that is done at once after the start.
        """
        with subprocess.Popen(
            self._command(args, None),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._env,
        ) as running:
            assert running.stdout is not None
            timer = _kill_after(running, COMMAND_TIMEOUT_S)
            got: list[str] = []
            if until is None:
                do()
            while len(got) < lines and (line := running.stdout.readline()):
                got.append(line)
                if until is not None and until(line):
                    do()
                    until = None
            timer()
            running.send_signal(signal.SIGKILL)
        self._record(args, 0, "".join(got), "", None)

    def _record(self, args: Sequence[str], code: int, out: str, err: str, mask: Callable[[str], Any] | None) -> None:
        # The Go client's own log lines tell of retries, with addresses and times.
        lines = [line for line in err.splitlines() if not re.match(r'^\{"level"|^\d{4}[-/]', line)]
        errors = self.masking.text("\n".join(lines)).split("\n")
        errors = sorted(errors) if args[0] == "endpoint" else errors
        shown: Any = unnumbered_leases(self.masking.text(out)) if mask is None else mask(out) if code == 0 else out
        self.transcript.append((" ".join(self.masking.text(unnumbered_leases(arg)) for arg in args), code, shown, errors))


def sort_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: sort_lists(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return sorted((sort_lists(inner) for inner in value), key=repr)
    return value


def _kill_after(process: subprocess.Popen[str], timeout_s: float) -> Callable[[], None]:
    timer = threading.Timer(timeout_s, process.kill)
    timer.start()
    return timer.cancel
