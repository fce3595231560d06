"""A database that is full, as an operator lives through it with etcdctl: refused, compacted, defragmented, disarmed, written again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvstore.wire import messages as pb
from tests.clients.etcdctl import Etcdctl
from tests.clients.test_etcdctl import find
from tests.support import kinds, tls
from tests.support.calls import OK, Wire
from tests.support.members import Cluster, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

QUOTA = 16 << 20
FLAGS = [f"--quota-backend-bytes={QUOTA}"]
VALUE = b"v" * 1_000_000
NO_SPACE = (8, "etcdserver: mvcc: database space exceeded")


def fill(cluster: Cluster) -> None:
    """Write over three keys until the first refusal."""
    wire = Wire(cluster[0].endpoint, cluster.tls)
    try:
        for number in range(60):
            reply = wire.call("KV/Put", pb.PutRequest(key=b"fill/%d" % (number % 3), value=VALUE))
            if reply.code != OK:
                assert (reply.code, reply.text) == NO_SPACE
                return
    finally:
        wire.close()
    raise AssertionError("60 MB went into 16 MiB")


def unnoted(ctl: Etcdctl, *args: str) -> str:
    """A command whose output is each server's own."""
    shown = len(ctl.transcript)
    output = ctl(*args)
    del ctl.transcript[shown:]
    return output


def sizes(ctl: Etcdctl) -> tuple[int, int]:
    """dbSize and dbSizeInUse of the one member."""
    [status] = json.loads(unnoted(ctl, "endpoint", "status", "-w", "json"))
    return status["Status"]["dbSize"], status["Status"]["dbSizeInUse"]


def alarms_only(output: str) -> Any:
    return [line.split(" ", 1)[-1] for line in output.splitlines()]


def life(ctl: Etcdctl) -> None:
    ctl("put", "a", "1")
    fill(ctl.cluster)
    ctl("alarm", "list", mask=alarms_only)
    ctl("endpoint", "health")
    ctl("put", "small", "x")
    ctl("lease", "grant", "100")
    ctl("txn", stdin="\n\nput small x\n\n\n")
    ctl("get", "a")
    ctl("get", "fill/", "--prefix", "--keys-only")
    ctl("del", "a")
    ctl("del", "fill/2")
    wait_until(lambda: sizes(ctl)[0] > 0.9 * QUOTA, 5, "the size that was found too large is shown")
    full = sizes(ctl)[0]
    ctl("alarm", "disarm", mask=alarms_only)
    ctl("put", "still", stdin=VALUE.decode())
    ctl("alarm", "list", mask=alarms_only)
    revision = json.loads(unnoted(ctl, "get", "none", "-w", "json"))["header"]["revision"]
    assert unnoted(ctl, "compact", str(revision), "--physical") == f"compacted revision {revision}\n"
    ctl("put", "still", "armed")
    ctl("defrag", mask=lambda out: out.split("[")[0])
    size, in_use = sizes(ctl)
    assert in_use <= size < full / 2
    assert size - in_use < 1 << 20
    ctl("put", "still", "armed")
    ctl("alarm", "disarm", mask=alarms_only)
    ctl("alarm", "disarm", mask=alarms_only)
    ctl("alarm", "list")
    ctl("put", "small", "x")
    ctl("lease", "grant", "100")
    ctl("get", "", "--prefix", "--keys-only")
    ctl("endpoint", "health")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tls.TlsFiles]:
    yield tls.make(tmp_path_factory.mktemp("pki"))


def test_the_life_of_a_full_database_looks_the_same(tmp_path: Path, files: tls.TlsFiles) -> None:
    program = find("3.5")
    transcripts = []
    for name, kind in (("reference", kinds.find(kinds.ETCD)), ("subject", kinds.subject())):
        with Cluster(kind, tmp_path / name, 1, files, FLAGS) as cluster:
            ctl = Etcdctl(program, cluster, tmp_path)
            life(ctl)
            transcripts.append(ctl.transcript)
    assert transcripts[1] == transcripts[0]
