"""What etcd 3.6 does and the oracle, a 3.5.1, cannot show: it answers otherwise, by chance, or does not survive the question.

Each test names the rule in etcd's own words or issue number. They run where the subject says it speaks 3.6.
"""

from collections.abc import Iterator

import pytest
from google.protobuf.message import Message

from kvstore.wire import messages as pb
from tests.oracle.sides import Side
from tests.support import kinds
from tests.support.calls import OK
from tests.support.watching import WatchStream

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

INVALID_ARGUMENT, OUT_OF_RANGE = 3, 11
INVALID_SORT = "etcdserver: invalid sort option"
COMPACTED = "etcdserver: mvcc: required revision has been compacted"


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    made = Side(kinds.subject(), tmp_path_factory.mktemp("newer"))
    if made.version < (3, 6):
        made.close()
        pytest.skip(f"{made.kind.name} is {made.version}, not 3.6")
    yield made
    made.close()


def put(side: Side, key: bytes, value: bytes = b"v") -> int:
    answer = side.wire.ask(pb.PutRequest(key=key, value=value))
    return int(answer.header.revision)


def delete(side: Side, key: bytes) -> int:
    return int(side.wire.ask(pb.DeleteRangeRequest(key=key)).header.revision)


def watch(side: Side, **spec: object) -> WatchStream:
    stream = WatchStream(side.wire.channel)
    stream.create(**spec)
    assert stream.wait_for(bool), "no answer to a create request"
    return stream


@pytest.mark.parametrize("order, target", [(3, 0), (-1, 0), (0, 5), (1, 9), (7, -1)])
def test_a_sort_outside_the_enum_is_refused(side: Side, order: int, target: int) -> None:
    request = pb.RangeRequest(key=b"a", sort_order=order, sort_target=target)
    reply = side.wire.call("KV/Range", request)
    assert (reply.code, reply.text) == (INVALID_ARGUMENT, INVALID_SORT)
    before = put(side, b"sort")
    nested = pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"sort")), pb.RequestOp(request_range=request)])
    reply = side.wire.call("KV/Txn", nested)
    assert (reply.code, reply.text) == (INVALID_ARGUMENT, INVALID_SORT)
    assert side.wire.ask(pb.RangeRequest(key=b"sort")).header.revision == before


def test_ignore_value_of_a_key_that_the_same_txn_deletes(side: Side) -> None:
    """An etcd panics here: its check of duplicate keys does not see a delete "from key on", so the put finds its key gone (TXN-9b, TXN-16).

    We go on as if the put had not asked to ignore anything: the key is new, without value.
    """
    before = put(side, b"hole")
    ops = [
        pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"hole", range_end=b"\0")),
        pb.RequestOp(request_put=pb.PutRequest(key=b"hole", ignore_value=True)),
    ]
    answer = side.wire.ask(pb.TxnRequest(success=ops))
    assert answer.header.revision == before + 1
    [held] = side.wire.ask(pb.RangeRequest(key=b"hole")).kvs
    assert (held.create_revision, held.version, held.value) == (before + 1, 1, b"")
    assert put(side, b"hole") == before + 2


def test_a_watch_from_a_negative_revision_is_refused(side: Side) -> None:
    """W-5, #20707."""
    stream = watch(side, key=b"a", start_revision=-1)
    told = stream.responses[0]
    stream.close()
    assert (told.created, told.canceled, told.watch_id, told.cancel_reason) == (True, True, -1, COMPACTED)


def test_a_watch_from_the_compacted_revision_sees_its_delete(side: Side) -> None:
    """#19179: the tombstone at the compacted revision stays until the next compaction."""
    put(side, b"gone")
    at = delete(side, b"gone")
    put(side, b"gone", b"again")
    side.wire.ask(pb.CompactionRequest(revision=at, physical=True))
    stream = watch(side, key=b"gone", start_revision=at)
    assert stream.wait_for(lambda responses: sum(len(response.events) for response in responses) >= 2)
    events = [event for response in stream.responses for event in response.events]
    stream.close()
    assert [(event.type, event.kv.mod_revision) for event in events] == [(1, at), (0, at + 1)]


def test_a_compacted_put_at_the_compacted_revision_is_told_too(side: Side) -> None:
    put(side, b"kept")
    at = put(side, b"kept")
    put(side, b"kept")
    side.wire.ask(pb.CompactionRequest(revision=at, physical=True))
    stream = watch(side, key=b"kept", start_revision=at)
    assert stream.wait_for(lambda responses: sum(len(response.events) for response in responses) >= 2)
    events = [event for response in stream.responses for event in response.events]
    stream.close()
    assert [event.kv.mod_revision for event in events] == [at, at + 1]


def test_progress_is_told_once_for_all_watchers_and_never_without_watchers(side: Side) -> None:
    """W-20."""
    stream = WatchStream(side.wire.channel)
    stream.request_progress()
    stream.create(key=b"p")
    assert stream.wait_for(lambda responses: len(responses) == 1), "no answer to a create request"
    assert stream.responses[0].created, "progress on a stream without watchers"
    revision = put(side, b"q")
    stream.request_progress()
    assert stream.wait_for(lambda responses: len(responses) == 2)
    told = stream.responses[1]
    assert (told.watch_id, told.header.revision, len(told.events), told.created, told.canceled) == (-1, revision, 0, False, False)
    stream.close()


def test_no_progress_while_a_watcher_waits_for_the_future(side: Side) -> None:
    now = put(side, b"q")
    stream = watch(side, key=b"f", start_revision=now + 3)
    stream.request_progress()
    put(side, b"f")
    put(side, b"f")
    put(side, b"f")
    assert stream.wait_for(lambda responses: len(responses) >= 2)
    assert [event.kv.mod_revision for event in stream.responses[1].events] == [now + 3], "progress or an early event of a future watch"
    stream.close()


def test_hash_kv_at_the_compacted_revision_is_there(side: Side) -> None:
    at = put(side, b"h")
    put(side, b"h")
    side.wire.ask(pb.CompactionRequest(revision=at, physical=True))
    answer = side.wire.ask(pb.HashKVRequest(revision=at))
    assert (answer.compact_revision, answer.hash_revision) == (at, at)
    reply = side.wire.call("Maintenance/HashKV", pb.HashKVRequest(revision=at - 1))
    assert (reply.code, reply.text) == (OUT_OF_RANGE, COMPACTED)


def test_a_txn_that_reads_a_compacted_revision_writes_nothing(side: Side) -> None:
    """#18667: members must not differ in what such a transaction did."""
    put(side, b"t")
    at = put(side, b"t")
    side.wire.ask(pb.CompactionRequest(revision=at, physical=True))
    ops = [pb.RequestOp(request_put=pb.PutRequest(key=b"t")), pb.RequestOp(request_range=pb.RangeRequest(key=b"t", revision=at - 1))]
    reply = side.wire.call("KV/Txn", pb.TxnRequest(success=ops))
    assert (reply.code, reply.text) == (OUT_OF_RANGE, COMPACTED)
    assert side.wire.ask(pb.RangeRequest(key=b"t")).header.revision == at


def test_the_status_is_that_of_a_3_6(side: Side) -> None:
    status: Message = side.wire.ask(pb.StatusRequest())
    assert status.version.startswith("3.6.")
    assert status.storageVersion == "3.6.0"
    assert status.dbSizeQuota == 2 * 1024**3
    assert 0 < status.dbSizeInUse <= status.dbSize
    assert status.leader == status.header.member_id
    assert status.raftIndex >= status.raftAppliedIndex > 0
    assert OK == 0


def test_the_gateway_answers_like_grpc_gateway_v2(side: Side) -> None:
    http = side.member.http
    wrong = http.post("/v3/kv/range", {})
    # `error` is the field of older gateways that clients of theirs read; we tell it in addition.
    told = {"error": "etcdserver: key is not provided", "code": 3, "message": "etcdserver: key is not provided"}
    assert (wrong.status, wrong.json()) == (400, told)
    assert http.get("/v3/kv/range").status == 501
    missing = http.post("/v3/kv/nothing", {})
    assert (missing.status, missing.json()["code"], missing.json()["message"]) == (404, 5, "Not Found")
    assert http.post("/v3/maintenance/hashkv", {}).json()["hash_revision"]


@pytest.mark.parametrize("written", ["+/8=", "+/8", "-_8=", "-_8"])
def test_the_gateway_takes_both_alphabets_of_base64_padded_or_not(side: Side, written: str) -> None:
    """protojson does; the gateway of 3.5 takes only the first form."""
    side.member.http.post("/v3/kv/put", {"key": "Yg==", "value": "eA=="})
    assert side.member.http.post("/v3/kv/put", {"key": "Yg==", "value": written}).status == 200
    assert side.wire.ask(pb.RangeRequest(key=b"b")).kvs[0].value == b"\xfb\xff"
