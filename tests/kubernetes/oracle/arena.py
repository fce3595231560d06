"""Both servers started, with the definitions and namespaces that requests are about; everything is stopped at the end."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import certs.control_plane
from tests.kubernetes.oracle.definitions import DEFINITIONS
from tests.kubernetes.oracle.duel import Duel
from tests.kubernetes.oracle.generate import NAMESPACES
from tests.kubernetes.oracle.memory import DEFINED
from tests.kubernetes.oracle.requests import Object, ask
from tests.kubernetes.oracle.servers import Genuine, Ours, Server
from tests.kubernetes.oracle.sides import Side
from tests.support import kinds, tls
from tests.support.members import Cluster, wait_until

SERVED_S = 60.0


@contextmanager
def arena(program: Path, folder: Path) -> Iterator[Duel]:
    """The genuine server on etcd against ours on our store."""
    with ExitStack() as stack:
        files = certs.control_plane.ensure(folder / "kube", datetime.now(UTC))
        ours = Ours("ours", folder, files, _flags(_store(stack, kinds.KEELSON, folder / "keelson")))
        _start(stack, ours)
        genuine = Genuine(program, ours, "genuine", folder, files, _flags(_store(stack, kinds.ETCD, folder / "etcd")))
        _start(stack, genuine)
        yield _duel(stack, genuine, ours, ours)


@contextmanager
def twins(program: Path, folder: Path) -> Iterator[tuple[Duel, Cluster]]:
    """The genuine server twice: on etcd, and on our store of three members that speak TLS; and that store, for whoever wants to hurt it."""
    with ExitStack() as stack:
        files = certs.control_plane.ensure(folder / "kube", datetime.now(UTC))
        core = Ours("core", folder, files, _flags(_store(stack, kinds.KEELSON, folder / "core-store")))
        _start(stack, core)
        one = Genuine(program, core, "on-etcd", folder, files, _flags(_store(stack, kinds.ETCD, folder / "etcd")))
        _start(stack, one)
        cluster = _store(stack, kinds.KEELSON, folder / "keelson", 3)
        other = Genuine(program, core, "on-keelson", folder, files, _flags(cluster))
        _start(stack, other)
        yield _duel(stack, one, other, core), cluster


def _duel(stack: ExitStack, genuine: Server, judged: Server, core: Server) -> Duel:
    for name in NAMESPACES:
        http = core.http()
        http.post("/api/v1/namespaces", {"metadata": {"name": name}})
        http.close()
    sides = Side(genuine), Side(judged)
    for side in sides:
        stack.callback(side.close)
        define(side)
    return Duel(*sides)


def _start(stack: ExitStack, server: Server) -> None:
    server.start()
    stack.callback(server.stop)


def _store(stack: ExitStack, kind: str, folder: Path, size: int = 1) -> Cluster:
    """Members and clients of a store of several show certificates."""
    return stack.enter_context(Cluster(kinds.find(kind), folder, size, tls.make(folder / "tls") if size > 1 else None))


def _flags(store: Cluster) -> list[str]:
    """What makes an API server use it."""
    files = store.tls
    shown = [] if files is None else [f"--etcd-cafile={files.ca}", f"--etcd-certfile={files.client_cert}", f"--etcd-keyfile={files.client_key}"]
    return [f"--etcd-servers={store.endpoints}", *shown]


def define(side: Side, definitions: tuple[Object, ...] = DEFINITIONS) -> None:
    """Until each is served. Raises AssertionError if one is refused or does not come."""
    for each in definitions:
        answer = side.raw(ask("POST", DEFINED, each))
        assert answer.status == 201, f"{side.server.name}: {answer.text()}"
        spec = each["spec"]
        for version in spec["versions"]:
            path = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
            wait_until(served(side, path), SERVED_S, f"{side.server.name} serves {path}", 0.1)


def served(side: Side, path: str) -> Callable[[], bool]:
    return lambda: side.raw(ask("GET", path)).status == 200


def published(side: Side, group: str) -> Callable[[], bool]:
    return lambda: f'"{group}"' in side.raw(ask("GET", "/openapi/v3")).text()
