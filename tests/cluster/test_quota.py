"""The quota of one member closes the door of the whole cluster, and opens it again."""

from pathlib import Path

import pytest

from kvstore.model import AlarmAction, AlarmType
from kvstore.wire import messages as pb
from tests.cluster.promises import check_same_everywhere
from tests.support import kinds
from tests.support.calls import OK, Reply, Wire
from tests.support.members import Cluster, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

QUOTA = 8 << 20
VALUE = b"v" * 500_000
NO_SPACE = (8, "etcdserver: mvcc: database space exceeded")


def said(reply: Reply) -> tuple[int, str]:
    return reply.code, reply.text


def test_one_full_member_closes_all_and_opens_them_again(tmp_path: Path) -> None:
    """Only one follower has a quota: it must find out by applying, and say so through the log."""
    cluster = Cluster(kinds.subject(), tmp_path, 3)
    cluster[1].flags = [f"--quota-backend-bytes={QUOTA}"]
    with cluster:
        wires = [Wire(member.endpoint) for member in cluster]
        rich, full, other = wires

        def refused() -> bool:
            return said(rich.call("KV/Put", pb.PutRequest(key=b"key", value=VALUE))) == NO_SPACE

        wait_until(refused, 20, "the alarm of the full member")
        for wire in wires:
            alarms = wire.ask(pb.AlarmRequest()).alarms
            assert [(f"{alarm.memberID}", alarm.alarm) for alarm in alarms] == [(cluster[1].member_id(), AlarmType.NOSPACE)]
            assert said(wire.call("KV/Put", pb.PutRequest(key=b"key"))) == NO_SPACE
            assert said(wire.call("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=10))) == NO_SPACE
            assert wire.ask(pb.RangeRequest(key=b"key")).count == 1
            assert wire.ask(pb.DeleteRangeRequest(key=b"none")).deleted == 0
        revision = rich.ask(pb.RangeRequest(key=b"key")).header.revision
        rich.ask(pb.CompactionRequest(revision=revision, physical=True))
        # The others may still be deleting, which they do on their own.
        wait_until(lambda: full.ask(pb.StatusRequest()).dbSizeInUse < QUOTA // 2, 10, "the full member has compacted")
        full.ask(pb.DefragmentRequest())
        status = full.ask(pb.StatusRequest())
        assert status.dbSize < QUOTA // 2
        assert list(status.errors) == [f"memberID:{cluster[1].member_id()} alarm:NOSPACE "]
        other.ask(pb.AlarmRequest(action=AlarmAction.DEACTIVATE, memberID=int(cluster[1].member_id()), alarm=AlarmType.NOSPACE))
        for wire in wires:
            assert not wire.ask(pb.AlarmRequest()).alarms
            assert wire.call("KV/Put", pb.PutRequest(key=b"key")).code == OK
        check_same_everywhere(cluster)
        cluster[0].kill()
        cluster[1].kill()
        assert other.call("Maintenance/Alarm", pb.AlarmRequest(), 1).code != OK, "the others may have raised one since"
        for wire in wires:
            wire.close()
