"""The kubelet's own server against callers who send anything: a clear refusal, nothing begun for them, and never "our fault" for an answer."""

import asyncio
import base64
import os
import random
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, ClientSSLError, web

from agents.kubelet import main
from agents.kubelet.runtime import base
from agents.kubelet.server import MASTERS, Server, User
from keelson.cogs.reloading import Reloading
from tests.support.authorities import SERVERS, World
from tests.support.pods import pod
from tests.support.ports import free_port

ROUTES = (
    *("/healthz", "/containerLogs/default/web/main", "/exec/default/web/main", "/attach/default/web/main", "/portForward/default/web", "/pods"),
    *("/runningpods/", "/stats/summary", "/metrics/resource", "/", "/exec", "/exec/default/web", "/run/default/web/main"),
)
PIECES = (
    *("command", "stdin", "tty", "output", "port", "tailLines", "sinceSeconds", "sinceTime", "limitBytes", "follow", "previous", "timestamps"),
    *("stream", "=", "&", "&", "=", "?", "/", "..", "%00", "%ff", "%", "%zz", "%2e%2e", "%ED%A0%80", "+", ";", "1", "-1", "0", "true", "٣", "1e9"),
    *("99999999999999999999999999", "9223372036854775807", "2026-11-21T14:00:00Z", "Stdout", "main", "web", "\x7f", "ü", "a" * 300),
)
HEADERS = (
    *("Upgrade: websocket", "Upgrade: SPDY/3.1", "Upgrade: \x01", "Connection: Upgrade", "Connection: close", "Sec-WebSocket-Version: 13"),
    *("Sec-WebSocket-Version: 99", "Sec-WebSocket-Key: short", "Sec-WebSocket-Key: " + base64.b64encode(b"k" * 16).decode()),
    *("Sec-WebSocket-Protocol: v5.channel.k8s.io", "Sec-WebSocket-Protocol: ,,", "Sec-WebSocket-Extensions: permessage-deflate; x=y; x"),
    *("Content-Length: 5", "Content-Length: -1", "Transfer-Encoding: chunked", "Expect: 100-continue", "Authorization: Bearer " + "x" * 5000),
)


class Runtime:
    """One container that runs; what is begun in it is counted."""

    def __init__(self, folder: Path) -> None:
        log = folder / "main.log"
        log.write_text("2026-11-21T14:00:00.000000000Z stdout F line\n")
        labels = {"io.kubernetes.pod.uid": "u1"}
        self.container = base.Container("c1", "s1", "main", 0, "i", "i", base.RUNNING, 1, 1, log_path=str(log), labels=labels)
        self.begun: list[Any] = []
        self.open = 0

    async def containers(self) -> list[base.Container]:
        return [self.container]

    async def exec(self, container_id: str, argv: list[str], *, stdin: bool, tty: bool) -> "Session":
        [os.fsencode(word) for word in argv]
        assert not any("\0" in word for word in argv)
        self.begun.append(argv)
        return Session(self)

    async def attach(self, container_id: str, *, stdin: bool) -> "Session":
        return Session(self)

    async def connect(self, sandbox_id: str, port: int) -> Any:
        raise base.RuntimeRefused("connection refused")


class Session:
    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        runtime.open += 1

    async def read(self) -> None:
        return None

    async def write(self, data: bytes) -> None:
        pass

    async def end_input(self) -> None:
        pass

    async def resize(self, columns: int, rows: int) -> None:
        pass

    async def wait(self) -> int:
        return 0

    async def close(self) -> None:
        self.runtime.open -= 1


class Known(Server):
    async def _who(self, request: web.Request) -> User | None:
        return User("tester", (MASTERS,))


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Runtime, int]]:
    runtime = Runtime(folder)

    async def sandbox() -> Any:
        return SimpleNamespace(id="s1")

    async def summary() -> dict[str, Any]:
        return {}

    async def metrics() -> list[Any]:
        return []

    told = {"name": "main", "state": {"running": {}}, "lastState": {}, "containerID": "fake://c1"}
    gone = {"name": "gone", "state": {"terminated": {"containerID": "fake://c0"}}}
    status = {"containerStatuses": [told, gone]}
    worker = SimpleNamespace(pod=pod({"name": "main"}, {"name": "gone"}), uid="u1", status=status, _sandbox=sandbox)
    kubelet: Any = SimpleNamespace(workers={"u1": worker}, shared=SimpleNamespace(runtime=runtime))
    stats: Any = SimpleNamespace(summary=summary, metrics=metrics)
    client: Any = None
    runner = web.AppRunner(Known(kubelet, client, stats, "node1").application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runtime, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def asked(port: int, target: str, *headers: str) -> tuple[int, bytes]:
    """Status and the rest; 0 where the server hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [f"GET {target} HTTP/1.1", "Host: node1", *headers, *(() if "Connection: Upgrade" in headers else ("Connection: close",)), "", ""]
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(20):
            head = await reader.readline()
            rest = b"" if b" 101 " in head else await reader.read(1000)
        return (int(head.split()[1]) if head else 0), rest
    finally:
        writer.close()


UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + base64.b64encode(b"k" * 16).decode())


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/exec/default/web/main?command=%00", UPGRADE, 400),
        ("/exec/default/web/main?command=ls&command=a%00b", UPGRADE, 400),
        ("/exec/default/web/main", UPGRADE, 400),
        ("/exec/default/web/main?command=ls", (), 400),
        ("/exec/default/web/main?command=ls", UPGRADE[:3], 400),
        ("/exec/default/web/main?command=" + "a" * 5000 + "&command=b" * 2, UPGRADE, 101),
        ("/exec/default/web/other?command=ls", UPGRADE, 404),
        ("/exec/default/web/main?command=ls", UPGRADE, 101),
        ("/attach/default/web/main", (), 400),
        ("/portForward/default/web?port=80", (), 400),
        ("/portForward/default/web?port=99999", UPGRADE, 400),
        ("/portForward/default/web?port=80", UPGRADE, 500),
        ("/containerLogs/default/web/main?tailLines=-1", (), 400),
        ("/containerLogs/default/web/main?sinceSeconds=99999999999999999999999", (), 400),
        ("/containerLogs/default/web/main?stream=stdin", (), 400),
        ("/containerLogs/default/web/main?stream=Stdout", (), 200),
        ("/containerLogs/default/web/main?previous=true", (), 400),
    ],
)
def test_who_asks_for_nonsense_is_told_so(tmp_path: Path, target: str, headers: tuple[str, ...], status: int) -> None:
    async def body() -> None:
        async with serving(tmp_path) as (runtime, port):
            answer, _ = await asked(port, target, *headers)
            assert answer == status
            assert bool(runtime.begun) == (status == 101), "nothing is begun for who is refused"

    asyncio.run(body())


def test_the_log_of_a_container_that_was_removed(tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path) as (_, port):
            status, answer = await asked(port, "/containerLogs/default/web/gone")
            assert status == 200 and answer.endswith(b"unable to retrieve container logs for fake://c0")

    asyncio.run(body())


def test_a_changed_certificate_and_a_changed_authority_are_taken(tmp_path: Path) -> None:
    async def shown(port: int, world: World) -> Any:
        """The names of the server's certificate, and of the client's as the server sees it."""
        async with ClientSession() as session, session.get(f"https://127.0.0.1:{port}/", ssl=world.calling()) as answer:
            return await answer.text()

    async def who(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.Response(text=str(request.transport.get_extra_info("peercert")["subject"]))

    async def body() -> None:
        old, new = World(tmp_path, "old"), World(tmp_path, "new")
        old.copy_to(tmp_path, *SERVERS)
        names = {"tls_cert_file": "server.crt", "tls_private_key_file": "server.key", "client_ca_file": "ca.crt"}
        port = free_port()
        given = Namespace(address="127.0.0.1", port=port, **{flag: str(tmp_path / name) for flag, name in names.items()})
        app = web.Application()
        app.router.add_get("/", who)
        reloading = Reloading()
        async with main.listening(SimpleNamespace(application=lambda: app), given, reloading):  # type: ignore[arg-type]
            assert "client-of-old" in await shown(port, old)
            new.copy_to(tmp_path, *SERVERS)
            assert reloading.refresh()
            assert "client-of-new" in await shown(port, new)
            with pytest.raises(ClientSSLError):
                await shown(port, old)

    asyncio.run(body())


def test_anything_at_all(tmp_path: Path) -> None:
    """The seed is fixed: a failure can be looked at again. Port-forward may say 500: nobody listens in this pod."""
    draw = random.Random(4711)

    async def body() -> None:
        async with serving(tmp_path) as (runtime, port):
            for _ in range(150):
                route = draw.choice(ROUTES)
                target = route + "?" + "".join(draw.choice(PIECES) for _ in range(draw.randrange(8)))
                if draw.random() < 0.3:
                    target = "/" + "/".join("".join(draw.choice(PIECES) for _ in range(draw.randrange(3))) for _ in range(draw.randrange(5)))
                headers = [each for each in HEADERS if draw.random() < 0.15] if draw.random() < 0.5 else list(UPGRADE)
                if "follow" in target:
                    continue  # would wait for the container's end
                answer, rest = await asked(port, target, *headers)
                assert answer < 500 or "portForward" in target, (answer, target, headers, rest)
            for _ in range(1000):
                if not runtime.open:
                    break
                await asyncio.sleep(0.01)
            assert runtime.open == 0, "streams that nobody holds any more"
            assert (await asked(port, "/healthz"))[0] == 200

    asyncio.run(body())
