"""Both servers started, with the definitions and namespaces that requests are about; everything is stopped at the end."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import certs.control_plane
from tests.kubernetes.oracle.definitions import DEFINITIONS
from tests.kubernetes.oracle.duel import Duel
from tests.kubernetes.oracle.generate import NAMESPACES
from tests.kubernetes.oracle.requests import Object, ask
from tests.kubernetes.oracle.servers import Genuine, Ours, Server
from tests.kubernetes.oracle.sides import DEFINED, Side
from tests.support import kinds, tls
from tests.support.members import Cluster, wait_until

SERVED_S = 60.0


@contextmanager
def arena(program: Path, folder: Path) -> Iterator[Duel]:
    """The genuine server on etcd against ours on our store."""
    with ExitStack() as stack:
        files = certs.control_plane.ensure(folder / "kube", datetime.now(UTC))
        ours = Ours("ours", folder, files, store(stack, kinds.KEELSON, folder / "keelson"))
        start(stack, ours)
        genuine = Genuine(program, ours, "genuine", folder, files, store(stack, kinds.ETCD, folder / "etcd"))
        start(stack, genuine)
        sides = Side(genuine), Side(ours)
        for side in sides:
            stack.callback(side.close)
        for name in NAMESPACES:
            sides[1].raw(ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}}))
        for side in sides:
            define(side)
        yield Duel(*sides)


def start(stack: ExitStack, server: Server) -> None:
    server.start()
    stack.callback(server.stop)


def store(stack: ExitStack, kind: str, folder: Path, size: int = 1) -> list[str]:
    """Flags for an API server to reach a store that was started for it; members and clients of a store of several show certificates."""
    if size == 1:
        cluster = stack.enter_context(Cluster(kinds.find(kind), folder, 1))
        return [f"--etcd-servers={cluster.endpoints}"]
    files = tls.make(folder / "tls")
    cluster = stack.enter_context(Cluster(kinds.find(kind), folder, size, files))
    return [
        f"--etcd-servers={cluster.endpoints}",
        f"--etcd-cafile={files.ca}",
        f"--etcd-certfile={files.client_cert}",
        f"--etcd-keyfile={files.client_key}",
    ]


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
