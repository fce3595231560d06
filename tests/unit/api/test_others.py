"""Lease, Cluster, Maintenance, Auth's status and gRPC's health, over gRPC."""

import hashlib

import grpc
import pytest

from kvstore.wire import messages as pb
from kvstore.wire.limits import SNAPSHOT_BLOB_BYTES
from tests.model.backend import CLUSTER, MEMBER, SNAPSHOT, TERM
from tests.support.calls import OK
from tests.unit.api.served import Served

HEADER = pb.ResponseHeader(cluster_id=CLUSTER, member_id=MEMBER, revision=1, raft_term=TERM)
HEALTH = "/grpc.health.v1.Health/"


def test_the_life_of_a_lease(served: Served) -> None:
    ask = served.wire.ask
    assert ask(pb.LeaseGrantRequest(ID=-7, TTL=100)) == pb.LeaseGrantResponse(header=HEADER, ID=-7, TTL=100)
    chosen = ask(pb.LeaseGrantRequest(TTL=0))
    assert chosen.ID > 0
    assert chosen.TTL == 2
    ask(pb.PutRequest(key=b"a", lease=-7))
    alive = ask(pb.LeaseTimeToLiveRequest(ID=-7, keys=True))
    assert (alive.ID, alive.TTL, alive.grantedTTL, alive.keys) == (-7, 100, 100, [b"a"])
    assert ask(pb.LeaseTimeToLiveRequest(ID=-7)).keys == []
    assert ask(pb.LeaseTimeToLiveRequest(ID=55)) == pb.LeaseTimeToLiveResponse(header=alive.header, ID=55, TTL=-1)
    assert [lease.ID for lease in ask(pb.LeaseLeasesRequest()).leases] == [-7, chosen.ID]
    assert ask(pb.LeaseRevokeRequest(ID=-7)).header.revision == 3
    assert ask(pb.RangeRequest(key=b"a")).count == 0
    reply = served.wire.call("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=chosen.ID, TTL=5))
    assert (reply.code, reply.text) == (9, "etcdserver: lease already exists")


def test_renewals_are_answered_one_by_one_in_order(served: Served) -> None:
    served.wire.ask(pb.LeaseGrantRequest(ID=5, TTL=30))
    stub = served.wire.channel.stream_stream(
        "/etcdserverpb.Lease/LeaseKeepAlive", pb.LeaseKeepAliveRequest.SerializeToString, pb.LeaseKeepAliveResponse.FromString
    )
    answers = list(stub(iter([pb.LeaseKeepAliveRequest(ID=number) for number in (5, 404, 5, 0)]), timeout=5))
    assert [(answer.ID, answer.TTL) for answer in answers] == [(5, 30), (404, 0), (5, 30), (0, 0)]
    assert answers[0].header == HEADER


def test_members(served: Served) -> None:
    answer = served.wire.ask(pb.MemberListRequest(linearizable=True))
    assert answer.header == pb.ResponseHeader(cluster_id=CLUSTER, member_id=MEMBER, raft_term=TERM), "no revision in it"
    [member] = answer.members
    assert (member.ID, member.name, member.peerURLs, member.isLearner) == (MEMBER, "m1", ["http://127.0.0.1:2380"], False)


def test_status(served: Served) -> None:
    status = served.wire.ask(pb.StatusRequest())
    assert (status.version, status.storageVersion) == ("3.6.0", "3.6.0")
    assert (status.leader, status.raftTerm, status.raftIndex, status.raftAppliedIndex) == (MEMBER, TERM, 9, 8)
    assert (status.dbSize, status.dbSizeInUse, status.dbSizeQuota) == (20_480, 16_384, 2 << 30)
    assert status.HasField("downgradeInfo")


def test_alarms(served: Served) -> None:
    ask = served.wire.ask
    raised = pb.AlarmMember(memberID=MEMBER, alarm=1)
    assert ask(pb.AlarmRequest(action=1, memberID=MEMBER, alarm=1)).alarms == [raised]
    assert ask(pb.AlarmRequest(action=1, memberID=MEMBER, alarm=1)).alarms == [raised]
    assert ask(pb.AlarmRequest(action=1, memberID=MEMBER)).alarms == []
    assert ask(pb.AlarmRequest()).alarms == [raised]
    assert ask(pb.AlarmRequest(alarm=2)).alarms == []
    assert ask(pb.AlarmRequest(action=2, memberID=0, alarm=1)).alarms == []
    assert ask(pb.AlarmRequest(action=2, memberID=MEMBER, alarm=1)).alarms == [raised]
    assert ask(pb.AlarmRequest()).alarms == []


def test_hashes(served: Served) -> None:
    served.wire.ask(pb.PutRequest(key=b"a"))
    answer = served.wire.ask(pb.HashKVRequest())
    assert answer.hash
    assert (answer.compact_revision, answer.hash_revision, answer.header.revision) == (-1, 2, 2)
    assert served.wire.ask(pb.HashRequest()).hash
    reply = served.wire.call("Maintenance/HashKV", pb.HashKVRequest(revision=9))
    assert (reply.code, reply.text) == (11, "etcdserver: mvcc: required revision is a future revision")


def test_defragment_and_move_leader_answer_with_nothing(served: Served) -> None:
    assert served.wire.ask(pb.DefragmentRequest()) == pb.DefragmentResponse()
    assert served.wire.ask(pb.MoveLeaderRequest(targetID=77)) == pb.MoveLeaderResponse()
    assert served.do(lambda backend: (backend.defragmented, backend.moved_to)) == (1, [77])


def test_a_snapshot_ends_with_its_checksum(served: Served) -> None:
    stub = served.wire.channel.unary_stream("/etcdserverpb.Maintenance/Snapshot", None, pb.SnapshotResponse.FromString)
    *blobs, closing = list(stub(b""))
    content = b"".join(response.blob for response in blobs)
    assert content == SNAPSHOT
    assert closing.blob == hashlib.sha256(content).digest()
    assert [response.remaining_bytes for response in blobs] == [len(SNAPSHOT) - 32_768, len(SNAPSHOT) - 65_536, 0]
    assert max(len(response.blob) for response in blobs) <= SNAPSHOT_BLOB_BYTES
    assert {response.version for response in (*blobs, closing)} == {"3.6.0"}


@pytest.mark.parametrize(
    "action, version, code, text",
    [
        (0, "3.5", 3, "etcdserver: invalid downgrade target version"),
        (1, "3.5.0", 3, "etcdserver: invalid downgrade target version"),
        (0, "three", 3, "etcdserver: wrong downgrade target version format"),
        (2, "", OK, ""),
        (3, "", 2, "etcdserver: unknown method"),
    ],
)
def test_there_is_nothing_to_downgrade_to(served: Served, action: int, version: str, code: int, text: str) -> None:
    try:
        stub = served.wire.channel.unary_unary("/etcdserverpb.Maintenance/Downgrade", response_deserializer=pb.DowngradeResponse.FromString)
        answer = stub(pb.DowngradeRequest(action=action, version=version).SerializeToString())
        assert (OK, answer.version) == (code, "3.6")
    except grpc.RpcError as error:
        assert (error.code().value[0], error.details()) == (code, text)


def test_authentication_is_off(served: Served) -> None:
    status = served.wire.channel.unary_unary("/etcdserverpb.Auth/AuthStatus", response_deserializer=pb.AuthStatusResponse.FromString)(b"")
    assert status == pb.AuthStatusResponse(header=HEADER, authRevision=1)


def test_health(served: Served) -> None:
    check = served.wire.channel.unary_unary(HEALTH + "Check", response_deserializer=pb.HealthCheckResponse.FromString)
    assert check(b"").status == 1
    with pytest.raises(grpc.RpcError) as caught:
        check(pb.HealthCheckRequest(service="etcd").SerializeToString())
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "unknown service")
    watch = served.wire.channel.unary_stream(HEALTH + "Watch", response_deserializer=pb.HealthCheckResponse.FromString)
    for name, status in (("", 1), ("etcd", 3)):
        call = watch(pb.HealthCheckRequest(service=name).SerializeToString())
        assert next(call).status == status
        assert call.is_active()
        call.cancel()
