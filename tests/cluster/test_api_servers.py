"""Two API servers over three store members: list and watch miss no event while servers and members are killed.

Everything crosses real sockets. Watchers go on where they were, on whichever server answers; a writer goes on writing, and what was answered must be
seen by every watcher, once and in order.
"""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apiserver.client.errors import Unreachable
from apiserver.client.kubeconfig import Access
from apiserver.client.rest import Client
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.drills import leash
from tests.support import kinds
from tests.support.members import Cluster
from tests.support.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

MAPS = resource("configmaps")
READY_S = 30.0
QUIET_S = 0.4
"""Between two blows: what was killed is to be missed for a moment."""


class Server:
    """One API server's process."""

    def __init__(self, folder: Path, store: Cluster, name: str) -> None:
        self.port = free_port()
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._folder, self._store = folder / name, store

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "apiserver.main"),
            f"--etcd-servers={self._store.endpoints}",
            f"--secure-port={self.port}",
            f"--cert-dir={self._folder}",
            *("--bind-address=127.0.0.1", "--authorization-mode=AlwaysAllow", "--disable-admission-plugins=ServiceAccount"),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, leash.__file__, str(os.getpid()), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def ready(self) -> None:
        deadline = time.monotonic() + READY_S
        async with client([self]) as api:
            while True:
                try:
                    code, _, _ = await api.request("GET", "/readyz", timeout_s=1)
                    if code == 200:
                        return
                except Unreachable:
                    pass
                if time.monotonic() > deadline:
                    raise AssertionError(f"not ready after {READY_S} s:\n{self.log.read_text()[-3000:]}")
                await asyncio.sleep(0.05)

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)


async def until(probe: Callable[[], bool], what: str) -> None:
    for _ in range(int(READY_S / 0.02)):
        if probe():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited {READY_S} s for {what}")


def client(servers: list[Server]) -> Client:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return Client(Access(tuple(each.url for each in servers), context), timeout_s=10)


class Watcher:
    """List once, then watch for ever, going on from the last resourceVersion it was told."""

    def __init__(self, servers: list[Server]) -> None:
        self.seen: list[tuple[str, str, int]] = []
        self.version = ""
        self.begun = 0
        self.lists = 0
        self._servers = servers

    async def run(self) -> None:
        async with client(self._servers) as api:
            while True:
                try:
                    if not self.version:
                        found = await api.list(MAPS, "default")
                        self.lists += 1
                        self.version = found["metadata"]["resourceVersion"]
                        self.begun = self.begun or int(self.version)
                    async for event in api.watch(MAPS, "default", resource_version=self.version, timeout_s=60):
                        self.version = event.object["metadata"]["resourceVersion"]
                        if event.type != "BOOKMARK":
                            self.seen.append((event.type, event.object["metadata"]["name"], int(self.version)))
                except Unreachable:
                    await asyncio.sleep(0.05)
                except ApiError as error:
                    if error.reason == "Expired":
                        self.version = ""
                    await asyncio.sleep(0.05)


class Writer:
    """Creates, changes and deletes, and notes what was answered."""

    def __init__(self, servers: list[Server]) -> None:
        self.answered: set[tuple[str, int]] = set()
        self.stop = False
        self._servers = servers

    async def run(self) -> None:
        async with client(self._servers) as api:
            number = 0
            while not self.stop:
                number += 1
                name = f"m{number}"
                try:
                    await self._one(api, name)
                except (Unreachable, ApiError):
                    await asyncio.sleep(0.05)

    async def _one(self, api: Client, name: str) -> None:
        made = await api.create(MAPS, {"metadata": {"name": name, "namespace": "default"}})
        self._note(name, made)
        self._note(name, await api.patch(MAPS, name, {"data": {"x": "1"}}, "default"))
        await api.delete(MAPS, name, "default")

    def _note(self, name: str, obj: dict) -> None:
        self.answered.add((name, int(obj["metadata"]["resourceVersion"])))

    async def wrote(self, more: int) -> None:
        wanted = len(self.answered) + more
        await until(lambda: len(self.answered) >= wanted, f"{more} more answers for the writer")


def judge(watcher: Watcher, writer: Writer) -> None:
    versions = [version for _, _, version in watcher.seen]
    assert versions == sorted(set(versions)), "every event once, and in order"
    seen = {(name, version) for type, name, version in watcher.seen if type != "DELETED"}
    missed = {each for each in writer.answered if each[1] > watcher.begun} - seen
    assert not missed, f"{len(missed)} of {len(writer.answered)} answered writes were never told: {sorted(missed)[:5]}"


@pytest.fixture
def store(tmp_path: Path):
    with Cluster(kinds.subject(), tmp_path / "store", 3) as made:
        yield made


def test_no_event_is_missed_while_servers_and_members_are_killed(tmp_path: Path, store: Cluster) -> None:
    servers = [Server(tmp_path, store, name) for name in ("one", "two")]

    async def whole() -> None:
        for each in servers:
            each.start()
        await asyncio.gather(*(each.ready() for each in servers))
        writer = Writer(servers)
        watchers = [Watcher(servers), Watcher(servers[::-1])]
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(each.run()) for each in watchers]
            writing = group.create_task(writer.run())
            for blow in (blow_server(servers[0]), blow_member(store), blow_server(servers[1], signal.SIGTERM)):
                await writer.wrote(30)
                await blow
            await writer.wrote(30)
            writer.stop = True
            await writing
            last = max(version for _, version in writer.answered)
            await until(lambda: all(int(each.version or 0) >= last for each in watchers), "the watchers to have seen the last write")
            for task in watching:
                task.cancel()
        for each in watchers:
            judge(each, writer)
            assert each.lists == 1, "there was always a server that could tell what happened meanwhile"

    async def blow_server(server: Server, number: int = signal.SIGKILL) -> None:
        await asyncio.to_thread(server.kill, number)
        await asyncio.sleep(QUIET_S)
        server.start()
        await server.ready()

    async def blow_member(store: Cluster) -> None:
        victim = await asyncio.to_thread(store.leader)
        await asyncio.to_thread(victim.kill)
        await asyncio.sleep(QUIET_S)
        await asyncio.to_thread(victim.restart)

    try:
        asyncio.run(whole())
    finally:
        for each in servers:
            if each.process is not None and each.process.poll() is None:
                each.kill()
