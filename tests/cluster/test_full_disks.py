"""Disks that are full (ENOSPC at whatever write comes next): a clear end or a clear refusal, nothing acknowledged is lost, and with space comes
service again."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.cluster.load import Load
from tests.cluster.promises import check_history, check_same_everywhere
from tests.support import kinds
from tests.support.calls import OK, Wire
from tests.support.kinds import Kind
from tests.support.members import Cluster, Member, wait_until
from tests.support.small_disk import SmallDisk, small_disk

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

DISK_BYTES = 48 << 20
NO_ROOM = "no room to write"


class Small:
    """Three members, each with a small disk of its own for its data."""

    def __init__(self, cluster: Cluster, disks: list[SmallDisk]) -> None:
        self.cluster = cluster
        self._disks = dict(zip([member.name for member in cluster], disks, strict=True))

    def disk(self, member: Member) -> SmallDisk:
        return self._disks[member.name]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    if kinds.subject().name != kinds.KEELSON:
        pytest.skip("how etcd ends on a full disk is not ours to judge")
    cluster = Cluster(kinds.subject(), tmp_path / "cluster", 3, flags=["--snapshot-count=500", "--snapshot-catchup-entries=100"])
    with ExitStack() as stack:
        disks = [stack.enter_context(small_disk(member.data, DISK_BYTES)) for member in cluster]
        stack.enter_context(cluster)
        yield Small(cluster, disks)


def ended_for_want_of_room(member: Member) -> None:
    code = member.wait_exit()
    assert code > 0, f"died by signal {-code}"
    assert NO_ROOM in member.log(), member.log_tail()
    assert "Traceback" not in member.log(), member.log_tail(60)


def start_who_ended(cluster: Cluster) -> None:
    """Or is about to: it answers what it can, then it goes."""
    for member in cluster:
        if not member.alive() or NO_ROOM in member.log():
            ended_for_want_of_room(member)
            member.start()


def judge(load: Load, small: Small) -> None:
    small.cluster.wait_healthy()
    check_history(load, small.cluster)
    check_same_everywhere(small.cluster)


def test_a_full_disk_ends_its_member_only_and_space_brings_it_back(small: Small) -> None:
    victim = small.cluster.leader()
    with Load(small.cluster) as load:
        load.wait_for_answers(100)
        small.disk(victim).fill(leave_bytes=20_000)
        ended_for_want_of_room(victim)
        load.wait_for_answers(100)
        victim.start()  # while there is still no room, it ends again, as clearly
        ended_for_want_of_room(victim)
        small.disk(victim).free()
        victim.restart()
    judge(load, small)


def test_all_disks_full_at_once_lose_nothing(small: Small) -> None:
    cluster = small.cluster
    with Load(cluster) as load:
        load.wait_for_answers(200)
        for member in cluster:
            small.disk(member).fill(leave_bytes=30_000)
        wait_until(lambda: len(cluster.alive()) < 2, 20, "no quorum is left")
        for member in cluster:
            small.disk(member).free()
        start_who_ended(cluster)
        cluster.wait_healthy()
        load.wait_for_answers(200)
    start_who_ended(cluster)
    judge(load, small)


def test_copies_that_do_not_fit_are_refused_and_the_member_goes_on(small: Small) -> None:
    cluster = small.cluster
    member = cluster.leader()
    wire = Wire(member.endpoint)
    for number in range(40):
        wire.ask(pb.PutRequest(key=b"key/%d" % number, value=b"v" * 100_000))
    wait_until(lambda: wire.ask(pb.StatusRequest()).dbSizeInUse > 40 * 100_000, 10, "the state is committed")
    small.disk(member).fill(leave_bytes=6 << 20)
    reply = wire.call("Maintenance/Defragment", pb.DefragmentRequest())
    assert "has to leave" in reply.text, reply
    assert not list(member.data.rglob("*.export-*")), "half a copy is left"
    wire.ask(pb.PutRequest(key=b"after"))
    small.disk(member).free()
    wire.ask(pb.DefragmentRequest())
    wire.ask(pb.PutRequest(key=b"after"))
    wire.close()
    check_same_everywhere(cluster)


def test_a_state_that_does_not_fit_a_followers_disk_is_refused_until_it_does(small: Small) -> None:
    cluster = small.cluster
    away = cluster.followers()[0]
    away.kill()
    leader = cluster.leader()
    wire = Wire(leader.endpoint)
    missed = wire.ask(pb.StatusRequest()).raftIndex + 1
    for number in range(900):
        wire.ask(pb.PutRequest(key=b"key/%d" % (number % 60), value=b"%06d" % number * 2000))
    revision = wire.ask(pb.CompactionRequest(revision=800)).header.revision
    leader.wait_log_cut(missed)
    small.disk(away).fill(leave_bytes=9 << 20)
    away.start()
    wait_until(lambda: "has to leave" in away.log() or not away.alive(), 20, "the snapshot is refused")
    assert away.alive(), away.log_tail()
    small.disk(away).free()
    wait_until(lambda: "applied snapshot" in away.log(), 20, "the snapshot is taken")
    away.wait_ready()
    assert check_same_everywhere(cluster) >= revision
    wire.close()


def test_a_file_that_may_not_grow_ends_the_member_and_loses_nothing(tmp_path: Path) -> None:
    """Needs no right to mount: a limit on the size of files (EFBIG, or a write cut short) in the place of a full disk."""
    kind = kinds.subject()
    if kind.name != kinds.KEELSON:
        pytest.skip("how etcd ends on a full disk is not ours to judge")
    member = Member(Kind(kind.name, ("prlimit", "--fsize=6000000", *kind.command), kind.flags), "m1", tmp_path)
    member.start()
    member.wait_ready()
    wire = Wire(member.endpoint)
    written = 0
    while wire.call("KV/Put", pb.PutRequest(key=b"key/%06d" % written, value=b"v" * 50_000)).code == OK:
        written += 1
        assert written < 1000, "it never ended"
    wire.close()
    assert member.wait_exit() > 0
    assert ".mdb: " in member.log()
    assert "Traceback" not in member.log(), member.log_tail(60)
    member.kind = kind
    member.restart()
    wire = Wire(member.endpoint)
    found = wire.ask(pb.RangeRequest(key=b"key/", range_end=b"key0", keys_only=True))
    assert [kv.key for kv in found.kvs][:written] == [b"key/%06d" % number for number in range(written)]
    assert written > 10
    wire.close()
    member.stop()
