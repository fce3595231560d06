"""The host's way to services moves to a node that is well, once, and stays there."""

import asyncio
import socket
from pathlib import Path

import pytest

from keelson.cogs import routes
from keelson.cogs.routes import ABSENCES, Away, Routes, Unwell, gateway_of

SERVICES, BALANCERS = "10.96.0.0/16", "172.30.100.0/24"
A, B, C = "172.30.0.11", "172.30.0.12", "172.30.0.13"
TABLE = """Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100A8C0	0003	0	0	0	00000000	0	0	0
keelson0	0000600A	0B001EAC	0003	0	0	0	0000FFFF	0	0	0
keelson0	00641EAC	0C001EAC	0003	0	0	0	00FFFFFF	0	0	0
"""


def test_the_kernels_table_is_read() -> None:
    assert gateway_of(TABLE, SERVICES) == A
    assert gateway_of(TABLE, BALANCERS) == B
    assert gateway_of(TABLE, "10.96.0.0/12") is None
    assert gateway_of(TABLE, "0.0.0.0/0") == "192.168.0.1"


class World:
    """Nodes that are well, unwell or silent, and the kernel's routes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.state = dict.fromkeys((A, B, C), "well")
        self.asked: list[str] = []
        self.moves: list[str] = []
        self.via: dict[str, str] = {SERVICES: A, BALANCERS: A}
        (tmp_path / "table").write_text("")
        monkeypatch.setattr(routes, "TABLE", tmp_path / "table")
        monkeypatch.setattr(routes, "gateway_of", lambda _, network: self.via.get(network))
        monkeypatch.setattr(routes, "lead", self.lead)
        self.routes = Routes([SERVICES, BALANCERS], [A, B, C], self.ask)

    def lead(self, networks: list[str], gateway: str) -> None:
        self.moves.append(gateway)
        self.via.update(dict.fromkeys(networks, gateway))

    async def ask(self, gateway: str) -> None:
        self.asked.append(gateway)
        if self.state[gateway] == "silent":
            raise TimeoutError
        if self.state[gateway] == "unwell":
            raise Unwell("no rules")
        if self.state[gateway] == "away":
            raise Away("refused")

    def look(self, times: int = 1) -> list[str]:
        """Where the routes were moved to."""
        self.asked.clear()
        self.moves.clear()
        for _ in range(times):
            asyncio.run(self.routes.look())
        return self.moves


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


def test_while_the_first_is_well_nobody_else_is_asked(world: World) -> None:
    assert world.look(3) == []
    assert world.asked == [A, A, A]


def test_one_that_is_unwell_is_left_at_once_and_not_returned_to(world: World) -> None:
    world.state |= {A: "unwell", B: "unwell"}
    assert world.look() == [C]
    world.state |= {A: "well", B: "well"}
    assert world.look(3) == []
    world.state[C] = "unwell"
    assert world.look(2) == [A]


def test_one_silence_is_forgiven(world: World) -> None:
    world.state[A] = "silent"
    assert world.look() == []
    world.state[A] = "well"
    assert world.look() == []
    world.state[A] = "silent"
    assert world.look() == []
    assert world.look() == [B]


def test_a_proxy_that_is_being_started_again_is_waited_for(world: World) -> None:
    world.state[A] = "away"
    assert world.look(ABSENCES - 1) == []
    world.state[A] = "well"
    assert world.look() == []
    world.state[A] = "away"
    assert world.look(ABSENCES - 1) == []
    assert world.look() == [B]


def test_if_nobody_is_well_all_stays(world: World) -> None:
    world.state = dict.fromkeys((A, B, C), "silent")
    assert world.look(5) == []


def test_a_route_that_is_missing_or_elsewhere_is_made_as_the_others_are(world: World) -> None:
    world.via = {SERVICES: B}
    assert world.look() == [B]
    world.via = {SERVICES: "192.0.2.1", BALANCERS: C}
    assert world.look() == [C]
    world.via = {}
    assert world.look() == [A]


def test_a_proxy_is_asked_over_http() -> None:
    async def run() -> None:
        status = b"200 OK"

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert (await reader.readline()).startswith(b"GET /healthz ")
            writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            routes.HEALTH_PORT = server.sockets[0].getsockname()[1]
            await routes.ask_proxy("127.0.0.1")
            status = b"500 Internal Server Error"
            with pytest.raises(Unwell, match="500"):
                await routes.ask_proxy("127.0.0.1")
        with pytest.raises(Away):
            await routes.ask_proxy("127.0.0.1")

    before = routes.HEALTH_PORT
    try:
        asyncio.run(run())
    finally:
        routes.HEALTH_PORT = before


def test_a_proxy_that_is_too_busy_to_answer_is_told_from_a_machine_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that listens and is never served: the kernel takes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(routes, "HEALTH_PORT", listening.getsockname()[1])
        monkeypatch.setattr(routes, "TIMEOUT_S", 0.05)
        with pytest.raises(Away, match="busy"):
            asyncio.run(routes.ask_proxy("127.0.0.1"))


def test_one_of_several_has_the_lock(tmp_path: Path) -> None:
    import os

    handles = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    assert [routes._locked(each) for each in (*handles, handles[0])] == [True, False, True]
    os.close(handles[0])  # as the kernel does when a process ends
    assert routes._locked(handles[1])
    os.close(handles[1])
