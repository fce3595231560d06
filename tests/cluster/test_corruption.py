"""A flipped byte in the files of one of three members: found, named, and the member is replaced."""

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from kvstore.model import AlarmType
from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster, Member, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

CORRUPT = (15, "etcdserver: corrupt cluster")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    if kinds.subject().name != kinds.KEELSON:
        pytest.skip("etcd keeps its values in other files")
    made = Cluster(kinds.subject(), tmp_path, 3, flags=["--corrupt-check-time=1s"])
    with made:
        wire = Wire(made[0].endpoint)
        for number in range(50):
            wire.ask(pb.PutRequest(key=b"key/%02d" % number, value=b"first value of %02d" % number))
            wire.ask(pb.PutRequest(key=b"key/%02d" % number, value=b"second value of %02d" % number))
        wire.close()
        yield made


def flip(member: Member, file: str, table: bytes, content: bytes) -> None:
    """One bit of the one place where `content` stands in a table; what stands in other tables and in free pages stays."""
    [path] = member.data.rglob(file)
    whole = path.read_bytes()
    at = whole.find(content)
    while at >= 0:
        data = bytearray(whole)
        data[at + len(content) // 2] ^= 4
        path.write_bytes(data)
        if not any(content in row for row in rows(path, table)):
            return
        at = whole.find(content, at + 1)
    raise AssertionError(f"{content!r} is not in {table!r} of {file}")


def rows(path: Path, table: bytes) -> list[bytes]:
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False, max_dbs=32) as environment, environment.begin() as txn:
        return [value for _, value in txn.cursor(environment.open_db(table, txn=txn, create=False))]


def alarms(member: Member) -> list[tuple[str, int]]:
    wire = Wire(member.endpoint)
    found = [(str(alarm.memberID), alarm.alarm) for alarm in wire.ask(pb.AlarmRequest()).alarms]
    wire.close()
    return found


@pytest.mark.parametrize(
    ("table", "value", "named"),
    [(b"newest", b"second value of 17", 'table \\"newest\\", key \\"key/17'), (b"history", b"first value of 17", "of 3 members")],
    ids=["a current value", "an old version"],
)
def test_the_damaged_member_is_named_and_the_cluster_closed(cluster: Cluster, table: bytes, value: bytes, named: str) -> None:
    healthy, victim = cluster.followers()
    victim.terminate()
    flip(victim, "state.mdb", table, value)
    victim.restart()
    wait_until(lambda: alarms(healthy), 15, "an alarm")
    assert alarms(healthy) == [(victim.member_id(), AlarmType.CORRUPT)]
    assert any(named in member.log() for member in cluster), "nobody says where"
    wire = Wire(healthy.endpoint)
    for request, method in ((pb.PutRequest(key=b"key"), "KV/Put"), (pb.DeleteRangeRequest(key=b"key"), "KV/DeleteRange")):
        reply = wire.call(method, request)
        assert (reply.code, reply.text) == CORRUPT
    assert wire.ask(pb.RangeRequest(key=b"key/01")).count == 1
    wire.close()
    assert healthy.http.get("/health").json() == {"health": "false", "reason": "ALARM CORRUPT"}
    wait_until(lambda: cluster.leader() is not victim, 10, "a corrupt member does not lead")
