"""Redis (Debian's redis-server): a primary with two replicas. It is no consensus system: nobody takes over when the primary fails, unless
Sentinel does, and then what is acknowledged may be lost. Measured because it is what many would take instead.

Each of the three appends to a file and syncs it before it answers; a put is SET and WAIT 1, which answers when one replica has received the
write, not when it has synced it: the nearest to a majority that Redis 7.0 has. WAIT holds up its connection, so every put in flight has
a connection of its own, as clients of Redis do it; reads share connections as elsewhere (pipelining). They are GET at the primary, which asks
nobody: what serializable reads are elsewhere.
"""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import uvloop

from bench.cases import FULL_SCALE, Scale
from bench.load.inorder import load
from bench.load.redis import RedisClient, command
from bench.load.requests import KEYS, PUT, SERIALIZABLE_RANGE, key, value
from bench.load.tally import Measured
from bench.machine import cpu_of
from bench.peers.base import Missing
from bench.peers.processes import Processes, processes
from bench.results import Case, PeerInfo
from keelson.drills.ports import free_ports

WAIT_MS = 10_000
SETTINGS = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--repl-diskless-sync-delay", "0")


def ask(port: int, *words: str) -> str:
    """What a server answers, as text; "" if it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as wire:
            wire.sendall(command(*(word.encode() for word in words)))
            return wire.recv(1 << 16).decode(errors="replace")
    except OSError:
        return ""


class Redis:
    name = "redis"

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise Missing("redis is not installed: apt-get install redis-server")
        self._program = program

    def info(self) -> PeerInfo:
        told = subprocess.run([self._program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout.split()
        settings = (
            "a primary and two replicas, appendonly yes, appendfsync always; SET and WAIT 1: acknowledged once the primary has synced it and one "
        )
        settings += "replica has received it; GET at the primary; a connection for each put in flight"
        return PeerInfo(" ".join(told[:3]), settings)

    def can(self, case: Case) -> bool:
        return case.operation in (PUT.name, SERIALIZABLE_RANGE.name) and case.at == "leader" and not case.tls and not case.percent

    @contextlib.contextmanager
    def start(self, folder: Path, members: int, *, tls: bool) -> "Iterator[Servers]":
        assert not tls
        ports = free_ports(members)
        with processes() as started:
            for number, port in enumerate(ports):
                place = folder / f"r{number}"
                follow = ["--replicaof", f"127.0.0.1 {ports[0]}"] if number else []
                listen = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(place)]
                started.start([self._program, *listen, *SETTINGS, *follow], place / "log")
            replicas = members - 1
            started.wait(lambda: ask(ports[0], "INFO", "replication").count("state=online") == replicas, "redis with its replicas online")
            yield Servers(started, ports[0])


class Servers:
    def __init__(self, started: Processes, port: int) -> None:
        self._started = started
        self._endpoint = f"127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port), 10) as wire:
            data = value()
            wire.sendall(b"".join(command(b"SET", key(number), data) for number in range(KEYS)))
            left = len(b"+OK\r\n") * KEYS
            while left:
                got = len(wire.recv(1 << 16))
                assert got, "redis hung up while keys were loaded"
                left -= got

    @property
    def processes(self) -> Sequence[int]:
        return [process.pid for process in self._started.all]

    def alive(self) -> bool:
        return self._started.alive()

    def measure(self, case: Case, *, seconds: float, warm_up_s: float, seed: int, rate: float | None, scale: Scale = FULL_SCALE) -> Measured:
        connections = case.connections
        if case.operation == PUT.name:
            connections = case.in_flight
            numbers, data, wait = count(), value(), command(b"WAIT", b"1", b"%d" % WAIT_MS)
            client = partial(
                RedisClient,
                next_request=lambda: command(b"SET", b"bench/put/%06d/%012d" % (seed, next(numbers)), data) + wait,
                replies=2,
                good=lambda line: line[:1] == b":" and line != b":0",
            )
        else:
            choose, gets = Random(seed).randrange, [command(b"GET", key(number)) for number in range(KEYS)]
            client = partial(RedisClient, next_request=lambda: gets[choose(KEYS)], replies=1, good=lambda line: line[:1] == b"$" and line != b"$-1")
        loading = load(
            [self._endpoint],
            client,
            in_flight=case.in_flight,
            connections=connections,
            seconds=seconds,
            warm_up_s=warm_up_s,
            meter=partial(cpu_of, self.processes),
        )
        return uvloop.run(loading)
