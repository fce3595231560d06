"""A flipped byte in the files of one of three members: found, named, fenced off, and the member is replaced."""

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from kvstore.model import AlarmAction, AlarmType
from kvstore.wire import messages as pb
from tests.cluster.growing import add, remove
from tests.cluster.promises import check_same_everywhere
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster, Member, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

CORRUPT = (15, "etcdserver: corrupt cluster")
KEYS = 50


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    if kinds.subject().name != kinds.KEELSON:
        pytest.skip("etcd keeps its values in other files")
    with Cluster(kinds.subject(), tmp_path, 3, flags=["--corrupt-check-time=1s", "--strict-reconfig-check=false"]) as made:
        wire = Wire(made[0].endpoint)
        for value in (b"first", b"second"):
            for number in range(KEYS):
                wire.ask(pb.PutRequest(key=b"key/%02d" % number, value=b"%s value of %02d" % (value, number)))
        wire.close()
        yield made


def flip(member: Member, file: str, table: bytes, content: bytes) -> None:
    """One bit of the one place where `content` stands in a table; what stands in other tables and in free pages stays."""
    [path] = member.data.rglob(file)
    whole = path.read_bytes()
    before = sum(content in row for row in rows(path, table))
    at = whole.find(content)
    while at >= 0:
        data = bytearray(whole)
        data[at + len(content) // 2] ^= 4
        path.write_bytes(data)
        if sum(content in row for row in rows(path, table)) < before:
            return
        at = whole.find(content, at + 1)
    raise AssertionError(f"{content!r} is not in {table!r} of {file}")


def rows(path: Path, table: bytes) -> list[bytes]:
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False, max_dbs=32) as environment, environment.begin() as txn:
        return [value for _, value in txn.cursor(environment.open_db(table, txn=txn, create=False))]


def alarms(wire: Wire) -> list[tuple[str, int]]:
    return [(str(alarm.memberID), alarm.alarm) for alarm in wire.ask(pb.AlarmRequest()).alarms]


def refused_to_start(member: Member, *words: str) -> None:
    member.start()
    assert member.wait_exit(30) == 1
    assert "Traceback" not in member.log(), member.log_tail(60)
    for word in words:
        assert word in member.log(), f"{word} is not in\n{member.log_tail()}"


def closed_for(cluster: Cluster, victim: Member, wire: Wire, named: str) -> None:
    """The victim is named, nothing is written, reading goes on, and the victim does not lead."""
    wait_until(lambda: alarms(wire), 20, "an alarm")
    assert alarms(wire) == [(victim.member_id(), AlarmType.CORRUPT)]
    assert any(named in member.log() for member in cluster), "nobody says where"
    for request, method in ((pb.PutRequest(key=b"key"), "KV/Put"), (pb.DeleteRangeRequest(key=b"key"), "KV/DeleteRange")):
        reply = wire.call(method, request)
        assert (reply.code, reply.text) == CORRUPT
    assert wire.ask(pb.RangeRequest(key=b"key/01")).count == 1
    assert victim.http.get("/health").json() == {"health": "false", "reason": "ALARM CORRUPT"}
    wait_until(lambda: cluster.leader() is not victim, 10, "a corrupt member does not lead")


def test_a_damaged_member_is_named_and_replaced(cluster: Cluster) -> None:
    healthy = cluster.followers()[0]
    wire = Wire(healthy.endpoint)

    # A current value: the tables of the victim contradict each other.
    victim = cluster.leader()
    victim.terminate()
    flip(victim, "state.mdb", b"newest", b"second value of 17")
    victim.restart()
    closed_for(cluster, victim, wire, 'table \\"newest\\", key \\"key/17')
    victim_id = int(victim.member_id())
    remove(cluster, victim)
    wire.ask(pb.AlarmRequest(action=AlarmAction.DEACTIVATE, memberID=victim_id, alarm=AlarmType.CORRUPT))
    victim = add(cluster, "m4")
    wire.ask(pb.PutRequest(key=b"key/50"))
    check_same_everywhere(cluster)
    assert alarms(wire) == []

    # A version that was overwritten: only the others know better.
    victim.terminate()
    flip(victim, "state.mdb", b"history", b"first value of 33")
    victim.restart()
    closed_for(cluster, victim, wire, "of 3 members")
    wire.close()

    # Before it serves, a member can be asked to look.
    victim.terminate()
    victim.flags.append("--feature-gates=InitialCorruptCheck=true")
    refused_to_start(victim, f"member {int(victim.member_id()):x} is corrupt", "of 3 members")
    flip(victim, "state.mdb", b"newest", b"second value of 05")
    refused_to_start(victim, "state.mdb", 'table \\"newest\\", key \\"key/05')
    flip(victim, "log.mdb", b"entries", b"key/50")
    refused_to_start(victim, "log.mdb", "is damaged (checksum)")
