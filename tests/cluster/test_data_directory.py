"""A data directory that is damaged, foreign or from the future: a clear error, a status that is not 0, and not a byte destroyed.

What the damage leaves readable may be served, but it must be right: wrong answers are worse than none.
"""

import contextlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster, Member, NotReady

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

KEYS = 400


def value(number: int) -> bytes:
    return b"%06d-" % number * 40


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Member:
    """A member that wrote and was stopped; its directory is the original of all that is damaged below."""
    member = Member(kinds.subject(), "m1", tmp_path_factory.mktemp("written"))
    member.start()
    member.wait_ready()
    wire = Wire(member.endpoint)
    for number in range(KEYS):
        wire.ask(pb.PutRequest(key=b"key/%06d" % number, value=value(number)))
    wire.close()
    member.terminate()
    return member


def copy_of(written: Member, folder: Path) -> Member:
    """Another member with a copy of its data, on the same ports: to the cluster it is the same one."""
    member = Member(written.kind, written.name, folder)
    member.client_port, member.peer_port = written.client_port, written.peer_port
    member.initial_cluster, member.initial_cluster_token = written.initial_cluster, written.initial_cluster_token
    shutil.copytree(written.data, member.data)
    return member


def files(member: Member) -> dict[Path, bytes]:
    """All that is in its directory, but locks, which say nothing."""
    return {path: path.read_bytes() for path in sorted(member.data.rglob("*")) if path.is_file() and "lock" not in path.name}


def serves(member: Member) -> bool:
    """Whether it comes up; if not, that it ended by itself, told why, and was not shot down by its own memory map."""
    member.start()
    try:
        member.wait_ready(20)
    except NotReady as refused:
        assert not member.alive(), f"it neither serves nor ends: {refused}"
        assert member.process is not None
        code = member.process.returncode
        assert code > 0, f"died by signal {-code}:\n{member.log_tail()}"
        said = member.log()
        assert "Traceback" not in said, f"a stack instead of an error:\n{said}"
        assert '"error"' in said or '"fatal"' in said, f"no error in its log:\n{said}"
        return False
    return True


def wrong_answers(member: Member) -> list[str]:
    """What it tells that is not true. An error, or a death, is not an answer."""
    wire = Wire(member.endpoint)
    found = []
    for number in range(KEYS):
        answer = wire.call("KV/Range", pb.RangeRequest(key=b"key/%06d" % number), 3).message
        if answer is not None and (len(answer.kvs) != 1 or answer.kvs[0].value != value(number)):
            found.append(f"key {number}: {answer}")
        if answer is None and not member.alive():
            break
    wire.close()
    return found


def truncated_to_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text_instead(path: Path) -> None:
    path.write_text("these are not the bytes you are looking for\n" * 1000)


def zeroed_beginning(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(8192))


def missing(path: Path) -> None:
    path.unlink()


DAMAGES = [truncated_to_half, empty, text_instead, zeroed_beginning, missing]


@pytest.fixture(autouse=True)
def only_keelson() -> None:
    if kinds.subject().name != kinds.KEELSON:
        pytest.skip("how etcd takes damage to its files is not ours to judge")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("which", ["log.mdb", "journal", "state.mdb"])
def test_a_damaged_file_is_refused_and_left_alone(written: Member, tmp_path: Path, which: str, damage: Callable[[Path], None]) -> None:
    member = copy_of(written, tmp_path)
    [path] = member.data.rglob(which)
    damage(path)
    before = files(member)
    try:
        assert not serves(member), "it serves over a damaged file"
        after = files(member)
        kept = {path: content for path, content in before.items() if content}
        assert {path: after.get(path) for path in kept} == kept, "it changed what it could not read"
        assert which in member.log() or str(member.data) in member.log(), "the error does not say where"
    finally:
        member.stop()


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_in_the_log_never_become_wrong_answers(written: Member, tmp_path: Path, seed: int) -> None:
    """Its entries carry checksums. The state has none of its own, as etcd's has none: there, members' hashes tell (HashKV)."""
    chance = random.Random(seed)
    member = copy_of(written, tmp_path)
    [path] = member.data.rglob("log.mdb")
    with path.open("r+b") as file:
        for _ in range(20):
            at = chance.randrange(path.stat().st_size - 16)
            file.seek(at)
            old = file.read(8)
            file.seek(at)
            file.write(bytes(byte ^ chance.randrange(1, 256) for byte in old))
    try:
        if serves(member):
            assert wrong_answers(member) == []
    finally:
        member.stop()


def test_a_directory_of_a_newer_release_is_refused(written: Member, tmp_path: Path) -> None:
    for name, table in (("log.mdb", b"log_meta"), ("state.mdb", b"state_meta")):
        member = copy_of(written, tmp_path / name)
        [path] = member.data.rglob(name)
        with lmdb.open(str(path), subdir=False, max_dbs=16, map_size=1 << 30) as environment, environment.begin(write=True) as txn:
            meta = environment.open_db(table, txn=txn)
            txn.put(b"schema", (99).to_bytes(4, "big"), db=meta)
        before = files(member)
        try:
            assert not serves(member)
            assert "schema version 99" in member.log()
            assert files(member) == before
        finally:
            member.stop()


def test_a_directory_in_use_is_refused(written: Member, tmp_path: Path) -> None:
    first = copy_of(written, tmp_path)
    first.start()
    first.wait_ready()
    second = Member(first.kind, "m1", tmp_path / "second")
    second.data = first.data
    try:
        assert not serves(second)
        assert "another process" in second.log()
        assert wrong_answers(first) == []
    finally:
        second.stop()
        first.stop()


def test_a_member_of_another_cluster_is_kept_out_and_says_so(written: Member, tmp_path: Path) -> None:
    """Its directory names another cluster than its peers': they refuse it, both say why, and their data stay theirs."""
    with Cluster(kinds.subject(), tmp_path, 3) as cluster:
        stranger = cluster[2]
        wire = Wire(cluster.leader().endpoint)
        wire.ask(pb.PutRequest(key=b"ours"))
        stranger.terminate()
        shutil.rmtree(stranger.data)
        shutil.copytree(written.data, stranger.data)
        stranger.start()
        with contextlib.suppress(NotReady):  # it may end, or wait for a quorum that never comes
            stranger.wait_ready(5)
        answer = cluster.leader().http.post("/v3/kv/range", {"key": "AA==", "range_end": "AA==", "keys_only": True}).json()
        assert answer["count"] == "1", "keys of another cluster"
        wire.ask(pb.PutRequest(key=b"ours"))
        wire.close()
