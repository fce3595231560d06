"""The members of a drill: real processes on loopback, as faults and load see them.

    async with Cluster(program, folder, 3) as cluster:      # plans, does not start
        await cluster.start()
        leader = await cluster.leader()
        await leader.kill()

What a fault wants to be different for a member it writes into the member before that starts (again): `flags`, `environment`, `wrapper`, URLs,
`data`. Three nets catch a process that is forgotten: leaving the block, an exit handler, and the kernel (leash.py).
"""

import asyncio
import atexit
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from certs import bundle
from certs.profiles import CLIENT, PEER, SERVER
from keelson.drills import leash
from keelson.drills.ports import free_port
from keelson.drills.program import Program
from keelson.launcher.processes import how_ended
from kvstore.client.client import Client, StoreError
from kvstore.client.endpoints import TlsFiles

HOST = "127.0.0.1"
READY = "ready to serve client requests"
READY_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 2.0
POLL_S = 0.02

_running: "list[Member]" = []


class NotReady(Exception):
    """A member did not come up, or did not go; the text holds the end of its log."""


class Member:
    """One member: its command line, its files, and its process, if it runs. Log and data outlive the process."""

    def __init__(self, program: Program, name: str, folder: Path) -> None:
        self.program, self.name, self.folder = program, name, folder
        self.client_port, self.peer_port = free_port(), free_port()
        self.scheme = "http"
        self.client_url = f"http://{HOST}:{self.client_port}"
        self.peer_url = f"http://{HOST}:{self.peer_port}"
        """What the other members are told: a proxy's, if a fault puts one in between."""
        self.listen_client_url, self.listen_peer_url = self.client_url, self.peer_url
        self.data = folder / name / "data"
        self.log_path = folder / name / "log"
        self.initial_cluster = ""
        self.initial_cluster_state = "new"
        self.token = f"drill-{folder.name}"
        self.flags: list[str] = []
        """Further flags for the next start; the last of repeated ones counts."""
        self.environment: dict[str, str] = {}
        """Further variables for the next start."""
        self.wrapper: list[str] = []
        """Words before the command: `ip netns exec ...`, `strace ...`. It is to become the member, or its signals reach the member as one group."""
        self.process: subprocess.Popen[bytes] | None = None
        self.paused = False
        self.tls: TlsFiles | None = None
        self._client: Client | None = None
        self._log_start = 0

    def secure(self, files: "bundle.Bundle") -> None:
        """TLS on both ports, clients and peers with certificates."""
        self.scheme = "https"
        for name in ("client_url", "peer_url", "listen_client_url", "listen_peer_url"):
            setattr(self, name, getattr(self, name).replace("http://", "https://"))
        self.tls = TlsFiles(str(files.ca), str(files.certificate(CLIENT, bundle.ADMIN)), str(files.key(CLIENT, bundle.ADMIN)))
        self.flags += [
            f"--cert-file={files.certificate(SERVER, self.name)}",
            f"--key-file={files.key(SERVER, self.name)}",
            f"--trusted-ca-file={files.ca}",
            "--client-cert-auth",
            f"--peer-cert-file={files.certificate(PEER, self.name)}",
            f"--peer-key-file={files.key(PEER, self.name)}",
            f"--peer-trusted-ca-file={files.ca}",
            "--peer-client-cert-auth",
        ]

    def command(self) -> list[str]:
        return [
            *self.wrapper,
            *self.program.command,
            f"--name={self.name}",
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.listen_client_url}",
            f"--advertise-client-urls={self.client_url}",
            f"--listen-peer-urls={self.listen_peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.initial_cluster}",
            f"--initial-cluster-state={self.initial_cluster_state}",
            f"--initial-cluster-token={self.token}",
            *self.flags,
        ]

    # --- its life

    def start(self) -> None:
        """Start the process; `wait_ready` tells when it serves."""
        assert not self.alive(), f"{self.name} runs already"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")} | self.environment
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.log_path.parent,
                start_new_session=True,
            )
        _running.append(self)

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Until this incarnation has logged that it serves. Raises NotReady."""
        deadline_s = time.monotonic() + timeout_s
        while READY not in self.log():
            if not self.alive():
                how = how_ended(None if self.process is None else self.process.returncode)
                raise NotReady(f"{self} did not begin to serve ({how}):\n{self.log_tail()}")
            if time.monotonic() > deadline_s:
                raise NotReady(f"{self} does not serve after {timeout_s} s:\n{self.log_tail()}")
            await asyncio.sleep(POLL_S)

    async def restart(self) -> None:
        """Start it again over its data and wait until it serves."""
        self.start()
        await self.wait_ready()

    async def wait_exit(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """The exit status of a process that ends (negative: by that signal). Raises NotReady if it does not."""
        assert self.process is not None
        try:
            status = await asyncio.to_thread(self.process.wait, timeout_s)
        except subprocess.TimeoutExpired:
            raise NotReady(f"{self} still runs after {timeout_s} s:\n{self.log_tail()}") from None
        self._ended()
        return status

    def signal(self, number: int) -> None:
        """To the process and whatever it started."""
        assert self.process is not None
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    async def kill(self) -> None:
        """As if the power of this process went: no handler runs."""
        self.signal(signal.SIGKILL)
        await self.wait_exit()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        self.signal(signal.SIGCONT)
        self.paused = False

    async def terminate(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask it to stop in good order; the exit status."""
        self.signal(signal.SIGTERM)
        return await self.wait_exit(timeout_s)

    def stop(self) -> None:
        """Whatever state it is in, afterwards it does not run."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_TIMEOUT_S)
        self._ended()

    def _ended(self) -> None:
        self.paused = False
        if self in _running:
            _running.remove(self)

    # --- what it says

    @property
    def client(self) -> Client:
        """To this member alone, short of patience; for looking, not for load."""
        if self._client is None:
            self._client = Client([self.client_url], tls=self.tls, timeout_s=CALL_TIMEOUT_S)
        return self._client

    async def close_client(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def status(self) -> Any | None:
        """Its StatusResponse; None if it does not answer."""
        if self.paused or not self.alive():
            return None
        try:
            return await self.client.status()
        except StoreError:
            return None

    async def healthy(self) -> bool:
        """Whether it answers a linearizable read: it serves, and reaches a leader that reaches a majority."""
        try:
            await self.client.get(b"health")
        except StoreError:
            return False
        return True

    def log(self) -> str:
        """What this incarnation has logged."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def __str__(self) -> str:
        return f"{self.program.name} {self.name}"


class Cluster:
    """Members that form one cluster; `members` changes when a fault adds or removes some. Leaving the block stops them all."""

    def __init__(self, program: Program, folder: Path, size: int = 3, *, tls: bool = False, flags: Sequence[str] = ()) -> None:
        self.program, self.folder, self.tls = program, folder, tls
        self.flags = list(flags)
        self._made = 0
        self._certs = bundle.ensure(folder / "certs", [f"m{n}" for n in range(1, size + 1)], datetime.now(UTC)) if tls else None
        self.members = [self.make_member() for _ in range(size)]

    def make_member(self) -> Member:
        """One more, with the next name; not yet among `members`."""
        self._made += 1
        member = Member(self.program, f"m{self._made}", self.folder)
        member.flags += self.flags
        if self._certs is not None:
            bundle.ensure(self._certs.folder, [member.name], datetime.now(UTC))
            member.secure(self._certs)
        return member

    @property
    def certs(self) -> Path:
        """The folder of all certificates (certs.bundle), if the cluster has TLS."""
        assert self._certs is not None, "this cluster has no TLS"
        return self._certs.folder

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __getitem__(self, index: int) -> Member:
        return self.members[index]

    def found(self) -> None:
        """Tell the members of each other for their first start, by the URLs that they have now."""
        everyone = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.initial_cluster = everyone

    async def start(self) -> None:
        """Start every member that does not run, and wait until all are healthy. Raises NotReady."""
        for member in self.members:
            if not member.initial_cluster:
                self.found()
            if not member.alive():
                member.start()
        await self.wait_healthy()

    async def wait_healthy(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Until every member that runs serves and reaches the leader. Raises NotReady."""
        deadline_s = time.monotonic() + timeout_s
        for member in self.alive():
            await member.wait_ready(max(deadline_s - time.monotonic(), 0.1))
        for member in self.alive():
            while not await member.healthy():
                if not member.alive():
                    raise NotReady(f"{member} ended:\n{member.log_tail()}")
                if time.monotonic() > deadline_s:
                    raise NotReady(f"{member} is not healthy after {timeout_s} s:\n{member.log_tail()}")
                await asyncio.sleep(POLL_S)

    def alive(self) -> list[Member]:
        return [member for member in self.members if member.alive()]

    async def find_leader(self) -> Member | None:
        """The running member that leads according to itself and a majority: an old leader may not know yet that it is one."""
        running = self.alive()
        answers = await asyncio.gather(*(member.status() for member in running))
        named = [answer.leader for answer in answers if answer is not None]
        for member, answer in zip(running, answers, strict=True):
            if answer is not None and answer.leader == answer.header.member_id and 2 * named.count(answer.leader) > len(self.members):
                return member
        return None

    async def leader(self, timeout_s: float = READY_TIMEOUT_S) -> Member:
        """The running member that leads; waits for an election. Raises NotReady."""
        deadline_s = time.monotonic() + timeout_s
        while (found := await self.find_leader()) is None:
            if time.monotonic() > deadline_s:
                raise NotReady(f"no leader of {self.program.name} after {timeout_s} s")
            await asyncio.sleep(POLL_S)
        return found

    async def followers(self) -> list[Member]:
        leader = await self.leader()
        return [member for member in self.alive() if member is not leader]

    async def stop(self) -> None:
        for member in self.members:
            await member.close_client()
            member.stop()


def _stop_all() -> None:
    while _running:
        _running[0].stop()


atexit.register(_stop_all)
