"""Real server processes on loopback: start, break, restart, and always stop.

    with Cluster(kind, folder, size=3) as cluster:
        cluster.leader().kill()

Three nets catch a process that a test forgets: the context manager, an exit handler, and the kernel (see leash.py).
"""

import atexit
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from keelson.drills import leash
from tests.support.http import Http
from tests.support.kinds import Kind
from tests.support.ports import free_port
from tests.support.tls import TlsFiles

READY = ("ready to serve client requests", "serving client traffic insecurely")  # etcd 3.4 says only the latter, without TLS
READY_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 15.0
LEASH = leash.__file__

T = TypeVar("T")

running: "list[Member]" = []
"""Every member whose process may be alive: for reports and for the exit handler."""


class NotReady(AssertionError):
    """A server did not come up; the text holds the end of its log."""


def wait_until(probe: Callable[[], T], timeout_s: float, what: str, pause_s: float = 0.02) -> T:
    """The first true value of `probe`, asked again and again; an AssertionError that tells `what` if there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(pause_s)


_LOG_CUT = re.compile(r'"msg":"compacted Raft logs","compact-index":(\d+)')


class Member:
    """One server: its command line, its files, and its process, if it runs. Log and data outlive the process."""

    def __init__(self, kind: Kind, name: str, folder: Path, tls: TlsFiles | None = None, flags: Sequence[str] = ()) -> None:
        self.kind, self.name, self.folder, self.tls, self.flags = kind, name, folder, tls, list(flags)
        self.client_port, self.peer_port = free_port(), free_port()
        self.data = folder / name / "data"
        self.log_path = folder / name / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.paused = False
        self._id: str | None = None
        self._log_start = 0
        self._http: Http | None = None
        self.initial_cluster = f"{name}={self.peer_url}"
        self.initial_cluster_state = "new"
        self.initial_cluster_token = f"test-{folder.name}"

    # --- where it is

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def client_url(self) -> str:
        return f"{self.scheme}://{self.endpoint}"

    @property
    def peer_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.peer_port}"

    @property
    def http(self) -> Http:
        if self._http is None:
            self._http = Http(self.client_port, self.tls)
        return self._http

    def command(self) -> list[str]:
        return [
            *self.kind.command,
            f"--name={self.name}",
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.client_url}",
            f"--advertise-client-urls={self.client_url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.initial_cluster}",
            f"--initial-cluster-state={self.initial_cluster_state}",
            f"--initial-cluster-token={self.initial_cluster_token}",
            *([] if self.tls is None else self.tls.server_flags()),
            *self.kind.flags,
            *self.flags,
        ]

    # --- its life

    def start(self) -> None:
        """Start the process; `wait_ready` tells when it serves."""
        assert not self.alive(), f"{self.name} runs already"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        # Servers run as installed ones do, from compiled modules: compiling all of them at every start takes as long again as starting.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD") and key != "PYTHONDONTWRITEBYTECODE"}
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", LEASH, str(os.getpid()), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.log_path.parent,
                start_new_session=True,
            )
        running.append(self)

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Until this incarnation has logged that it serves."""
        deadline = time.monotonic() + timeout_s
        while not any(ready in self.log() for ready in READY):
            if not self.alive():
                code = None if self.process is None else self.process.returncode
                raise NotReady(f"{self.kind.name} {self.name} ended with {code} instead of serving:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.kind.name} {self.name} does not serve after {timeout_s} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def wait_exit(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """The exit status of a process that ends by itself (negative: by that signal)."""
        assert self.process is not None
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.kind.name} {self.name} still runs after {timeout_s} s:\n{self.log_tail()}") from None
        self._ended()
        return code

    def signal(self, number: int) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """As if the power of this process went: no handler runs."""
        self.signal(signal.SIGKILL)
        self.wait_exit()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        self.signal(signal.SIGCONT)
        self.paused = False

    def terminate(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask it to stop in good order; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_exit(timeout_s)

    def restart(self) -> None:
        """Start it again over its data and wait until it serves."""
        self.start()
        self.wait_ready()

    def stop(self) -> None:
        """Whatever state it is in, afterwards it does not run."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_TIMEOUT_S)
        self._ended()

    def _ended(self) -> None:
        self.paused = False
        if self._http is not None:
            self._http.close()
            self._http = None
        if self in running:
            running.remove(self)

    # --- what it says

    def log(self) -> str:
        """What this incarnation has logged."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def wait_log_cut(self, index: int) -> None:
        """Until its Raft log has forgotten the entry of that index: who was away since then needs a snapshot. Of Keelson only."""
        wait_until(lambda: any(int(cut) >= index for cut in _LOG_CUT.findall(self.log())), READY_TIMEOUT_S, f"{self.name} has cut its log at {index}")

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def healthy(self) -> bool:
        try:
            return {"reason": "", **self.http.get("/health", timeout_s=2).json()} == {"health": "true", "reason": ""}  # 3.4 gives no reason
        except (OSError, ValueError):
            return False

    def status(self) -> dict[str, object]:
        """The maintenance status as the JSON gateway tells it; ids and numbers are strings there."""
        return self.http.post("/v3/maintenance/status", {}, timeout_s=5).json()

    def leader_seen(self) -> str:
        """Id of the leader that this member knows, "0" if none; "" if it does not answer."""
        if self.paused or not self.alive():
            return ""
        try:
            return str(self.http.post("/v3/maintenance/status", {}, timeout_s=2).json().get("leader", "0"))
        except (OSError, ValueError):
            return ""

    def member_id(self) -> str:
        """Its own id, which it keeps for life; asked once."""
        if self._id is None:
            self._id = str(self.http.post("/v3/maintenance/status", {}).json()["header"]["member_id"])
        return self._id


class Cluster:
    """Members that form one cluster. Entering starts them and waits until all are healthy; leaving stops them."""

    def __init__(self, kind: Kind, folder: Path, size: int = 3, tls: TlsFiles | None = None, flags: Sequence[str] = ()) -> None:
        self.kind, self.folder, self.tls = kind, folder, tls
        self.members = [Member(kind, f"m{number}", folder, tls, flags) for number in range(1, size + 1)]
        everyone = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.initial_cluster = everyone

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __getitem__(self, index: int) -> Member:
        return self.members[index]

    @property
    def endpoints(self) -> str:
        return ",".join(member.client_url for member in self.members)

    def start(self) -> None:
        for member in self.members:
            if not member.alive():
                member.start()
        self.wait_healthy()

    def wait_healthy(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Until each running member serves and knows a leader."""
        for member in self.alive():
            member.wait_ready(timeout_s)
        for member in self.alive():
            try:
                wait_until(member.healthy, timeout_s, f"{self.kind.name} {member.name} healthy", 0.05)
            except AssertionError as late:
                raise NotReady(f"{late}\n{member.log_tail()}") from None

    def alive(self) -> list[Member]:
        return [member for member in self.members if member.alive()]

    def find_leader(self) -> Member | None:
        """The running member that leads according to itself and a majority: an old leader may not know yet that it is one."""
        seen = {member: member.leader_seen() for member in self.alive()}
        for member, leader in seen.items():
            if leader not in ("", "0") and member.member_id() == leader and 2 * list(seen.values()).count(leader) > len(self.members):
                return member
        return None

    def leader(self, timeout_s: float = READY_TIMEOUT_S) -> Member:
        """The running member that leads; waits for an election."""
        found = wait_until(self.find_leader, timeout_s, f"a leader of {self.kind.name}", 0.05)
        assert found is not None
        return found

    def followers(self) -> list[Member]:
        leader = self.leader()
        return [member for member in self.alive() if member is not leader]

    def stop(self) -> None:
        for member in self.members:
            member.stop()


def logs_of_running(lines: int = 40) -> list[tuple[str, str]]:
    """(title, end of its log) of every member that runs: what a failed test's report shows."""
    return [(f"log of {member.kind.name} {member.name}", member.log_tail(lines)) for member in running]


def _stop_all() -> None:
    while running:
        running[0].stop()


atexit.register(_stop_all)
