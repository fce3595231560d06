"""KV over gRPC: what is asked reaches the backend whole, what it answers or refuses reaches the client with etcd's words."""

import pytest

from kvstore.wire import messages as pb
from tests.model.backend import CLUSTER, MEMBER, TERM
from tests.support.calls import OK
from tests.unit.api.served import Served

INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, OUT_OF_RANGE, UNAVAILABLE = 3, 4, 5, 8, 9, 11, 14


def header(revision: int) -> object:
    return pb.ResponseHeader(cluster_id=CLUSTER, member_id=MEMBER, revision=revision, raft_term=TERM)


def put(key: bytes, value: bytes = b"", **more: object) -> object:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, **more))


def test_put_range_and_delete(served: Served) -> None:
    ask = served.wire.ask
    assert ask(pb.PutRequest(key=b"a", value=b"1")) == pb.PutResponse(header=header(2))
    first = pb.KeyValue(key=b"a", create_revision=2, mod_revision=2, version=1, value=b"1")
    assert ask(pb.PutRequest(key=b"a", value=b"2", prev_kv=True)) == pb.PutResponse(header=header(3), prev_kv=first)
    second = pb.KeyValue(key=b"a", create_revision=2, mod_revision=3, version=2, value=b"2")
    assert ask(pb.RangeRequest(key=b"a")) == pb.RangeResponse(header=header(3), kvs=[second], count=1)
    assert ask(pb.RangeRequest(key=b"a", revision=2)) == pb.RangeResponse(header=header(3), kvs=[first], count=1)
    assert ask(pb.RangeRequest(key=b"b")) == pb.RangeResponse(header=header(3))
    assert ask(pb.DeleteRangeRequest(key=b"a", prev_kv=True)) == pb.DeleteRangeResponse(header=header(4), deleted=1, prev_kvs=[second])
    assert ask(pb.DeleteRangeRequest(key=b"a")) == pb.DeleteRangeResponse(header=header(4))


def test_a_range_of_many_keys_with_limit(served: Served) -> None:
    for number in range(5):
        served.wire.ask(pb.PutRequest(key=b"k%d" % number, value=b"v" * 200))
    answer = served.wire.ask(pb.RangeRequest(key=b"k", range_end=b"l", limit=3, sort_order=2))
    assert [kv.key for kv in answer.kvs] == [b"k4", b"k3", b"k2"]
    assert (answer.more, answer.count) == (True, 5)
    counted = served.wire.ask(pb.RangeRequest(key=b"\0", range_end=b"\0", count_only=True))
    assert counted == pb.RangeResponse(header=header(6), count=5)


def test_a_transaction_with_everything_in_it(served: Served) -> None:
    nested = pb.RequestOp(request_txn=pb.TxnRequest(success=[put(b"c", b"3")]))
    asked = pb.TxnRequest(
        compare=[pb.Compare(key=b"a", target=0, result=0, version=0), pb.Compare(key=b"a", target=4, result=2, lease=1, range_end=b"b")],
        success=[put(b"a", b"1"), pb.RequestOp(request_range=pb.RangeRequest(key=b"a")), nested],
        failure=[pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a", prev_kv=True))],
    )
    inner = pb.ResponseHeader(revision=2)
    stored = pb.KeyValue(key=b"a", create_revision=2, mod_revision=2, version=1, value=b"1")
    expected = pb.TxnResponse(
        header=header(2),
        succeeded=True,
        responses=[
            pb.ResponseOp(response_put=pb.PutResponse(header=inner)),
            pb.ResponseOp(response_range=pb.RangeResponse(header=inner, kvs=[stored], count=1)),
            pb.ResponseOp(
                response_txn=pb.TxnResponse(
                    header=pb.ResponseHeader(), succeeded=True, responses=[pb.ResponseOp(response_put=pb.PutResponse(header=inner))]
                )
            ),
        ],
    )
    assert served.wire.ask(asked) == expected
    failed = served.wire.ask(asked)
    [response] = failed.responses
    assert not failed.succeeded
    assert response.response_delete_range == pb.DeleteRangeResponse(header=pb.ResponseHeader(revision=3), deleted=1, prev_kvs=[stored])


@pytest.mark.parametrize(
    "method, request_, code, text",
    [
        ("KV/Range", pb.RangeRequest(), INVALID_ARGUMENT, "etcdserver: key is not provided"),
        ("KV/Range", pb.RangeRequest(key=b"a", sort_target=5), INVALID_ARGUMENT, "etcdserver: invalid sort option"),
        ("KV/Range", pb.RangeRequest(key=b"a", revision=9), OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"),
        ("KV/Put", pb.PutRequest(key=b"a", value=b"v", ignore_value=True), INVALID_ARGUMENT, "etcdserver: value is provided"),
        ("KV/Put", pb.PutRequest(key=b"a", lease=7, ignore_lease=True), INVALID_ARGUMENT, "etcdserver: lease is provided"),
        ("KV/Put", pb.PutRequest(key=b"a", ignore_value=True), INVALID_ARGUMENT, "etcdserver: key not found"),
        ("KV/Put", pb.PutRequest(key=b"a", lease=7), NOT_FOUND, "etcdserver: requested lease not found"),
        ("KV/DeleteRange", pb.DeleteRangeRequest(range_end=b"z"), INVALID_ARGUMENT, "etcdserver: key is not provided"),
        ("KV/Txn", pb.TxnRequest(success=[put(b"a"), put(b"a")]), INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request"),
        ("KV/Txn", pb.TxnRequest(failure=[pb.RequestOp()]), INVALID_ARGUMENT, "etcdserver: key not found"),
        ("KV/Txn", pb.TxnRequest(compare=[pb.Compare(key=b"a")] * 129), INVALID_ARGUMENT, "etcdserver: too many operations in txn request"),
        ("KV/Compact", pb.CompactionRequest(revision=2), OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"),
        ("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=7), NOT_FOUND, "etcdserver: requested lease not found"),
        ("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=9_000_000_001), OUT_OF_RANGE, "etcdserver: too large lease TTL"),
    ],
)
def test_refusals_have_etcds_code_and_text(served: Served, method: str, request_: object, code: int, text: str) -> None:
    reply = served.wire.call(method, request_)
    assert (reply.code, reply.text) == (code, text)
    assert served.do(lambda backend: backend.model.revision) == 1, "a refused request changed something"


def test_compacted_revisions_are_gone(served: Served) -> None:
    for _ in range(3):
        served.wire.ask(pb.PutRequest(key=b"a"))
    assert served.wire.ask(pb.CompactionRequest(revision=3, physical=True)) == pb.CompactionResponse(header=header(4))
    reply = served.wire.call("KV/Range", pb.RangeRequest(key=b"a", revision=2))
    assert (reply.code, reply.text) == (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")


@pytest.mark.parametrize(
    "size, code, text",
    [
        (1_572_000, OK, ""),
        (1_572_864, INVALID_ARGUMENT, "etcdserver: request is too large"),
        (2_097_100, INVALID_ARGUMENT, "etcdserver: request is too large"),
        (2_097_153, RESOURCE_EXHAUSTED, "grpc: received message larger than max ("),
        (3_900_000, RESOURCE_EXHAUSTED, "grpc: received message larger than max ("),
    ],
)
def test_large_requests(served: Served, size: int, code: int, text: str) -> None:
    reply = served.wire.call("KV/Put", pb.PutRequest(key=b"a", value=b"x" * size))
    assert reply.code == code
    assert reply.text.startswith(text)
    if code == OK:
        [kv] = served.wire.ask(pb.RangeRequest(key=b"a")).kvs
        assert kv.value == b"x" * size


def test_a_deadline_ends_the_wait_but_not_the_write(served: Served) -> None:
    served.do(lambda backend: backend.gate.clear())
    reply = served.wire.call("KV/Put", pb.PutRequest(key=b"a"), timeout_s=0.05)
    assert reply.code == DEADLINE_EXCEEDED
    handled = served.app.stats.handled  # whoever of the two noticed first
    assert served.wait_until(lambda _: sum(handled["/etcdserverpb.KV/Put", code] for code in ("DeadlineExceeded", "Canceled")) == 1)
    served.do(lambda backend: backend.gate.set())
    assert served.wait_until(lambda backend: backend.waiting == 0)
    assert len(served.wire.ask(pb.RangeRequest(key=b"a")).kvs) == 1


def test_a_client_that_leaves_is_not_waited_for(served: Served) -> None:
    served.do(lambda backend: backend.gate.clear())
    call = served.wire.channel.unary_unary("/etcdserverpb.KV/Put").future(pb.PutRequest(key=b"a").SerializeToString())
    assert served.wait_until(lambda backend: backend.waiting == 1)
    call.cancel()
    assert served.wait_until(lambda _: served.app.stats.handled["/etcdserverpb.KV/Put", "Canceled"] == 1)


def test_a_member_without_leader_serves_only_who_did_not_ask_for_one(served: Served) -> None:
    def leaderless(backend: object) -> None:
        backend.leader_id = 0

    served.do(leaderless)
    stub = served.wire.channel.unary_unary("/etcdserverpb.KV/Range", pb.RangeRequest.SerializeToString, pb.RangeResponse.FromString)
    assert stub(pb.RangeRequest(key=b"a", serializable=True)).header.revision == 1
    reply = served.call_with_metadata("KV/Range", pb.RangeRequest(key=b"a", serializable=True), ("hasleader", "true"))
    assert (reply.code, reply.text) == (UNAVAILABLE, "etcdserver: no leader")
    reply = served.call_with_metadata("Maintenance/Status", pb.StatusRequest(), ("hasleader", "true"))
    assert (reply.code, reply.text) == (UNAVAILABLE, "etcdserver: no leader")


def test_a_learner_answers_only_what_it_may(served: Served) -> None:
    def become_learner(backend: object) -> None:
        backend.learner = True

    served.do(become_learner)
    assert served.wire.ask(pb.RangeRequest(key=b"a", serializable=True)).header.revision == 1
    assert served.wire.ask(pb.StatusRequest()).isLearner
    refused = {
        "KV/Range": pb.RangeRequest(),  # comes before everything that is wrong with the request
        "KV/Put": pb.PutRequest(key=b"a"),
        "KV/Txn": pb.TxnRequest(),
        "Lease/LeaseLeases": pb.LeaseLeasesRequest(),
        "Cluster/MemberList": pb.MemberListRequest(),
        "Maintenance/HashKV": pb.HashKVRequest(),
    }
    for method, request in refused.items():
        reply = served.wire.call(method, request)
        assert (reply.code, reply.text) == (FAILED_PRECONDITION, "etcdserver: rpc not supported for learner"), method


def test_client_api_version_is_any_text(served: Served) -> None:
    reply = served.call_with_metadata("KV/Range", pb.RangeRequest(key=b"a"), ("client-api-version", "3.5"))
    assert reply.code == OK


def test_no_space_lets_deletes_through(served: Served) -> None:
    served.wire.ask(pb.PutRequest(key=b"a"))
    served.wire.ask(pb.AlarmRequest(action=1, memberID=MEMBER, alarm=1))
    reply = served.wire.call("KV/Put", pb.PutRequest(key=b"a"))
    assert (reply.code, reply.text) == (RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    assert served.wire.ask(pb.DeleteRangeRequest(key=b"a")).deleted == 1
