"""ZooKeeper (Debian's zookeeper): an ensemble of three, with its defaults, which sync a write before it is acknowledged.

A put creates a node. A linearizable read is sync and then getData, as its manual has it (sync makes the server catch up with the leader, which
does not ask a majority: a little less than etcd promises); a serializable one is getData. The load is at the leader, by our own client: requests
of one session are answered in their order, so many in flight on each.
"""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import uvloop

from bench.cases import FULL_SCALE, Scale
from bench.load.inorder import load
from bench.load.jute import ZooKeeperClient, create, error_of, get_data, greeting, message, sync
from bench.load.requests import KEYS, PUT, RANGE, SERIALIZABLE_RANGE, value
from bench.load.tally import Measured
from bench.machine import cpu_of
from bench.peers.base import Missing
from bench.peers.processes import Processes, processes
from bench.results import Case, PeerInfo
from keelson.drills.ports import free_ports

JAR = Path("/usr/share/java/zookeeper.jar")
HEAP = "-Xmx1g"
MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
LOGGING = "log4j.rootLogger=WARN, A\nlog4j.appender.A=org.apache.log4j.ConsoleAppender\nlog4j.appender.A.layout=org.apache.log4j.SimpleLayout\n"
HEATING = [Case(operation.name, 200, 20, "leader") for operation in (PUT, RANGE, SERIALIZABLE_RANGE)]
HEATING_S = 1.5
"""Of each before the first case: a Java program is slow until its compiler has seen what it does."""
LOADED_AT_ONCE = 500
NUMBER = 1
"""Of every request: answers come in order, so nobody needs to tell them apart."""


def word(port: int, asked: bytes) -> str:
    """The answer to a four-letter word; "" if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as wire:
            wire.sendall(asked)
            return wire.makefile("rb").read().decode(errors="replace")
    except OSError:
        return ""


def node(number: int) -> bytes:
    return b"/bench/%012d" % number


class ZooKeeper:
    name = "zookeeper"

    def __init__(self) -> None:
        java = shutil.which("java")
        if java is None or not JAR.exists():
            raise Missing("zookeeper is not installed: apt-get install zookeeper")
        self._java = java

    def info(self) -> PeerInfo:
        version = JAR.resolve().stem.replace("-", " ")
        told = subprocess.run([self._java, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout.split("\n")[0]
        settings = (
            f"as it comes (forceSync), {HEAP}; acknowledged once a majority has synced it; put: create; range: sync, getData; serializable: getData"
        )
        return PeerInfo(f"{version}, {told}", settings)

    def can(self, case: Case) -> bool:
        names = (PUT.name, RANGE.name, SERIALIZABLE_RANGE.name)
        return case.operation in names and case.at == "leader" and not case.tls and not case.percent

    @contextlib.contextmanager
    def start(self, folder: Path, members: int, *, tls: bool) -> "Iterator[Servers]":
        assert not tls
        ports = free_ports(3 * members)
        clients, others = ports[:members], ports[members:]
        with processes() as started:
            for number in range(members):
                place = folder / f"z{number}"
                place.mkdir(parents=True)
                (place / "myid").write_text(f"{number + 1}\n")
                (place / "log4j.properties").write_text(LOGGING)
                lines = [
                    "tickTime=2000",
                    "initLimit=10",
                    "syncLimit=5",
                    "maxClientCnxns=0",
                    "admin.enableServer=false",
                    "4lw.commands.whitelist=srvr",
                ]
                lines += [f"dataDir={place}", f"clientPort={clients[number]}", "clientPortAddress=127.0.0.1"]
                lines += [f"server.{n + 1}=127.0.0.1:{others[2 * n]}:{others[2 * n + 1]}" for n in range(members)]
                (place / "zoo.cfg").write_text("\n".join(lines) + "\n")
                started.start([self._java, HEAP, "-cp", f"{place}:{JAR}", MAIN, str(place / "zoo.cfg")], place / "log")
            started.wait(lambda: all("Mode: " in word(port, b"srvr") for port in clients), "zookeeper with a leader")
            leader = next(at for at, port in enumerate(clients) if "Mode: leader" in word(port, b"srvr"))
            yield Servers(started, leader, clients[leader])


class Servers:
    def __init__(self, started: Processes, leader: int, port: int) -> None:
        self._started, self._leader = started, leader
        self._endpoint = f"127.0.0.1:{port}"
        data = value()
        nodes = [create(NUMBER, b"/bench", b""), create(NUMBER, b"/put", b""), *(create(NUMBER, node(number), data) for number in range(KEYS))]
        with socket.create_connection(("127.0.0.1", port), 10) as wire, wire.makefile("rb") as answers:
            wire.sendall(greeting())
            message(answers)
            for first in range(0, len(nodes), LOADED_AT_ONCE):
                part = nodes[first : first + LOADED_AT_ONCE]
                wire.sendall(b"".join(part))
                for _ in part:
                    error = error_of(message(answers))
                    assert not error, f"zookeeper refused a node: {error}"
        for case in HEATING:
            self.measure(case, seconds=HEATING_S, warm_up_s=0, seed=0, rate=None)

    def _run(self, request: Callable[[], bytes], replies: int, **options: float) -> Measured:
        client = partial(ZooKeeperClient, next_request=request, replies=replies)
        return uvloop.run(load([self._endpoint], client, **options))  # type: ignore[arg-type]

    @property
    def processes(self) -> Sequence[int]:
        """The leader first."""
        pids = [process.pid for process in self._started.all]
        return [pids.pop(self._leader), *pids]

    def alive(self) -> bool:
        return self._started.alive()

    def measure(self, case: Case, *, seconds: float, warm_up_s: float, seed: int, rate: float | None, scale: Scale = FULL_SCALE) -> Measured:
        choose, numbers, data = Random(seed).randrange, count(), value()
        asked: Callable[[], bytes]
        replies = 1
        if case.operation == PUT.name:
            asked = lambda: create(NUMBER, b"/put/%06d-%012d" % (seed, next(numbers)), data)  # noqa: E731
        elif case.operation == RANGE.name:
            replies = 2
            both = [sync(NUMBER, node(number)) + get_data(NUMBER, node(number)) for number in range(KEYS)]
            asked = lambda: both[choose(KEYS)]  # noqa: E731
        else:
            gets = [get_data(NUMBER, node(number)) for number in range(KEYS)]
            asked = lambda: gets[choose(KEYS)]  # noqa: E731
        return self._run(
            asked,
            replies,
            in_flight=case.in_flight,
            connections=case.connections,
            seconds=seconds,
            warm_up_s=warm_up_s,
            meter=partial(cpu_of, self.processes),  # type: ignore[arg-type]
        )
