"""Quota and alarms beside etcd with the same quota: requests so large or so small that the two files' different sizes decide nothing."""

from collections.abc import Iterator

import pytest
from google.protobuf.message import Message

from kvstore.model import AlarmAction, AlarmType
from kvstore.wire import messages as pb
from tests.oracle.duel import Duel
from tests.support import kinds
from tests.support.kinds import Kind

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

QUOTA = 1_000_000
TOO_MUCH = b"v" * 1_100_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duel]:
    quota = f"--quota-backend-bytes={QUOTA}"
    oracle, subject = (Kind(kind.name, kind.command, (*kind.flags, quota)) for kind in (kinds.find(kinds.ETCD), kinds.subject()))
    duel = Duel(oracle, subject, tmp_path_factory.mktemp("alarms"))
    yield duel
    duel.close()


@pytest.fixture
def duel(shared: Duel) -> Iterator[Duel]:
    yield shared
    for alarm in (AlarmType.NOSPACE, AlarmType.CORRUPT):
        change(shared, AlarmAction.DEACTIVATE, alarm)


def change(duel: Duel, action: AlarmAction, alarm: AlarmType) -> list[int]:
    """The same of each side's own member; how many alarms each says to have changed."""
    answers = [side.wire.ask(pb.AlarmRequest(action=action, memberID=side.identity.member_id, alarm=alarm)).alarms for side in duel.sides]
    changed = [len(alarms) for alarms in answers]
    assert changed[0] == changed[1], f"{action.name} {alarm.name} changes {changed}"
    return changed


def raised(duel: Duel) -> list[AlarmType]:
    """The alarms of each side's own member, which must be the same ones."""
    lists = []
    for side in duel.sides:
        alarms = side.wire.ask(pb.AlarmRequest()).alarms
        assert {alarm.memberID for alarm in alarms} <= {side.identity.member_id}
        lists.append(sorted(alarm.alarm for alarm in alarms))
    assert lists[0] == lists[1]
    return [AlarmType(alarm) for alarm in lists[0]]


def put(value: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=b"key", value=value))


GET = pb.RequestOp(request_range=pb.RangeRequest(key=b"key"))


def test_one_request_too_many_closes_the_door_until_it_is_disarmed(duel: Duel) -> None:
    duel.ask(pb.PutRequest(key=b"key", value=b"small"))
    duel.ask(pb.LeaseGrantRequest(ID=5, TTL=1000))
    assert raised(duel) == []
    duel.ask(pb.PutRequest(key=b"key", value=TOO_MUCH))
    assert raised(duel) == [AlarmType.NOSPACE]
    refused: list[Message] = [
        pb.PutRequest(key=b"key", value=b"small"),
        pb.PutRequest(key=b"key", value=b"small", lease=99),
        pb.PutRequest(key=b"key", ignore_value=True),
        pb.PutRequest(key=b""),
        pb.TxnRequest(success=[put(b"small")]),
        pb.TxnRequest(failure=[put(b"small")]),
        pb.TxnRequest(success=[GET], failure=[put(b"small"), GET]),
        pb.LeaseGrantRequest(ID=6, TTL=1000),
        pb.LeaseGrantRequest(ID=5, TTL=1000),
    ]
    allowed: list[Message] = [
        pb.RangeRequest(key=b"key"),
        pb.RangeRequest(key=b"key", serializable=True),
        pb.TxnRequest(success=[GET]),
        pb.DeleteRangeRequest(key=b"none"),
        pb.DeleteRangeRequest(key=b"key", prev_kv=True),
        pb.LeaseTimeToLiveRequest(ID=5, keys=True),
        pb.LeaseRevokeRequest(ID=5),
        pb.LeaseRevokeRequest(ID=5),
        pb.CompactionRequest(revision=2),
        pb.CompactionRequest(revision=2),
        pb.DefragmentRequest(),
    ]
    for request in [*refused, *allowed, *refused]:
        duel.ask(request)
    assert change(duel, AlarmAction.ACTIVATE, AlarmType.NOSPACE) == [1, 1], "it stands already, and is named"
    assert change(duel, AlarmAction.DEACTIVATE, AlarmType.NOSPACE) == [1, 1]
    assert change(duel, AlarmAction.DEACTIVATE, AlarmType.NOSPACE) == [0, 0]
    duel.ask(pb.PutRequest(key=b"key", value=b"small"))
    duel.ask(pb.RangeRequest(key=b"key"))


def test_the_dearer_branch_of_a_transaction_counts(duel: Duel) -> None:
    half = TOO_MUCH[: len(TOO_MUCH) // 2]
    other = pb.RequestOp(request_put=pb.PutRequest(key=b"other", value=half))
    duel.ask(pb.TxnRequest(compare=[pb.Compare(key=b"none", target=0, version=0)], success=[put(b"small")], failure=[put(half), other]))
    assert raised(duel) == [AlarmType.NOSPACE]


def test_a_corrupt_cluster_only_reads(duel: Duel) -> None:
    duel.ask(pb.PutRequest(key=b"key", value=b"small"))
    duel.ask(pb.LeaseGrantRequest(ID=7, TTL=1000))
    assert change(duel, AlarmAction.ACTIVATE, AlarmType.CORRUPT) == [1, 1]
    requests: list[Message] = [
        pb.PutRequest(key=b"key", value=b"small"),
        pb.DeleteRangeRequest(key=b"key"),
        pb.TxnRequest(success=[put(b"small")]),
        pb.TxnRequest(success=[pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"key"))]),
        pb.CompactionRequest(revision=3),
        pb.LeaseGrantRequest(ID=8, TTL=1000),
        pb.LeaseRevokeRequest(ID=7),
        pb.RangeRequest(key=b"key"),
        pb.RangeRequest(key=b"key", serializable=True),
        pb.TxnRequest(success=[GET]),
        pb.LeaseTimeToLiveRequest(ID=7, keys=True),
        pb.PutRequest(key=b"key", value=TOO_MUCH),
    ]
    for request in requests:
        duel.ask(request)
    for side in duel.sides:
        answer = side.member.http.get("/health")
        # Two alarms stand by now, and etcd names one of them by chance.
        assert (answer.status, answer.json()["reason"]) in [(503, "ALARM CORRUPT"), (503, "ALARM NOSPACE")], side
    change(duel, AlarmAction.DEACTIVATE, AlarmType.NOSPACE)
    change(duel, AlarmAction.DEACTIVATE, AlarmType.CORRUPT)
    duel.ask(pb.PutRequest(key=b"key", value=b"small"))
    duel.ask(pb.LeaseRevokeRequest(ID=7))
