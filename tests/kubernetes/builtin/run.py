"""`python -m tests.kubernetes.builtin.run --kube-apiserver PROGRAM [--only KIND]`: the whole comparison; 1 when something differs."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kubernetes.builtin import behaviour, fields, servers
from tests.kubernetes.builtin.duel import Duel
from tests.support.members import Cluster

PROGRAM = "KEELSON_KUBE_APISERVER"


@contextmanager
def duel(program: str, folder: Path) -> Iterator[Duel]:
    """Both servers, fresh, with the namespace `shop` in them."""
    with servers.oracle(program, folder / "oracle") as one, servers.subject(folder / "subject") as other:
        yield _begun(one, other)


def _begun(one: servers.Server, other: servers.Server) -> Duel:
    between = Duel(one, other)
    for side in (between.oracle, between.subject):
        servers.wait_serving(side.server, lambda path, side=side: side.ask("GET", path).code)
    between.learn()
    behaviour.prepare(between)
    return between


@contextmanager
def store_duel(program: str, folder: Path) -> Iterator[Duel]:
    """The same program on both sides, over etcd and over our store, of which the leader is killed now and then."""
    with servers.oracle(program, folder / "oracle") as one, servers.on_our_store(program, folder / "subject") as (other, store):
        between = _begun(one, other)
        between.same_program = True
        between.between_scenarios = lambda: _replace_leader(store)
        yield between


def _replace_leader(store: Cluster) -> None:
    leader = store.leader()
    leader.kill()
    store.leader()
    leader.restart()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kube-apiserver", default=os.environ.get(PROGRAM), help=f"Kubernetes' own, 1.20; otherwise {PROGRAM}")
    parser.add_argument("--only", default="", help="kinds or scenarios whose name contains it")
    parser.add_argument("--limit", type=int, default=0, help="stop printing after so many differences")
    parser.add_argument("--folder", type=Path, default=None, help="where the servers' data and logs stay")
    parser.add_argument("--store", action="store_true", help="kube-apiserver itself on our store, in the place of our API server")
    parser.add_argument("--part", default="fields,updates,types,behaviour")
    arguments = parser.parse_args()
    if not arguments.kube_apiserver:
        sys.exit(f"--kube-apiserver or {PROGRAM} says where Kubernetes' own kube-apiserver is; docs/CONFORMANCE.md tells how to build it")
    made = store_duel if arguments.store else duel
    with (
        tempfile.TemporaryDirectory(prefix="keelson-builtin-") as passing,
        made(arguments.kube_apiserver, arguments.folder or Path(passing)) as between,
    ):
        parts = arguments.part.split(",")
        fields.run(between, arguments.only, parts)
        if "behaviour" in parts:
            behaviour.run(between, arguments.only)
    for difference in between.differences[: arguments.limit or None]:
        print(difference.text())
    for reason, count in sorted(between.allowed.items()):
        print(f"allowed {count}: {reason}")
    print(f"{between.asked} answers compared, {len(between.differences)} differ, {sum(between.allowed.values())} by upstream's own changes")
    sys.exit(1 if between.differences else 0)


if __name__ == "__main__":
    main()
