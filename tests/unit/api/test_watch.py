"""Watch over gRPC: what the service itself owes (ids, order, refusals, fragments, progress, slow and rude clients), over the model's events."""

from collections import deque
from collections.abc import Iterator

import grpc
import pytest

from kvstore.api import watch as service
from kvstore.api.rpc import Settings
from kvstore.wire import messages as pb
from kvstore.wire.grpc import prefixed
from tests.model.backend import CLUSTER, MEMBER, TERM
from tests.support.calls import open_channel
from tests.support.watching import WatchStream
from tests.unit.api.http2 import Exchange
from tests.unit.api.served import Served

WATCH = "/etcdserverpb.Watch/Watch"
COMPACTED = "etcdserver: mvcc: required revision has been compacted"


@pytest.fixture
def stream(served: Served) -> Iterator[WatchStream]:
    made = WatchStream(served.wire.channel)
    yield made
    made.close()


def told(stream: WatchStream, count: int) -> list[object]:
    assert stream.wait_for(lambda responses: len(responses) >= count), f"{len(stream.responses)} of {count} responses: {stream.responses}"
    assert len(stream.responses) == count
    return stream.responses


def put(served: Served, key: bytes, value: bytes = b"") -> int:
    return served.wire.ask(pb.PutRequest(key=key, value=value)).header.revision


def header(revision: int) -> object:
    return pb.ResponseHeader(cluster_id=CLUSTER, member_id=MEMBER, revision=revision, raft_term=TERM)


def test_created_then_events_one_response_a_revision(served: Served, stream: WatchStream) -> None:
    stream.create(key=b"a", range_end=b"c", prev_kv=True)
    assert told(stream, 1) == [pb.WatchResponse(header=header(1), created=True)]
    put(served, b"a", b"1")
    ops = [pb.RequestOp(request_put=pb.PutRequest(key=key, value=b"2")) for key in (b"a", b"b", b"x")]
    served.wire.ask(pb.TxnRequest(success=ops))
    served.wire.ask(pb.DeleteRangeRequest(key=b"b"))
    _, first, second, third = told(stream, 4)
    one = pb.KeyValue(key=b"a", create_revision=2, mod_revision=2, version=1, value=b"1")
    assert first == pb.WatchResponse(header=header(2), events=[pb.Event(kv=one)])
    a = pb.KeyValue(key=b"a", create_revision=2, mod_revision=3, version=2, value=b"2")
    b = pb.KeyValue(key=b"b", create_revision=3, mod_revision=3, version=1, value=b"2")
    assert second == pb.WatchResponse(header=header(3), events=[pb.Event(kv=a, prev_kv=one), pb.Event(kv=b)])
    assert third == pb.WatchResponse(header=header(4), events=[pb.Event(type=1, kv=pb.KeyValue(key=b"b", mod_revision=4), prev_kv=b)])


def test_ids_are_chosen_where_none_is_given(served: Served, stream: WatchStream) -> None:
    for watch_id in (0, 2, 0, 0, 2, -7):
        stream.create(key=b"a", watch_id=watch_id)
    responses = told(stream, 6)
    assert [response.watch_id for response in responses] == [0, 2, 1, 3, -1, -7]
    refused = responses[4]
    assert (refused.created, refused.canceled) == (True, True)
    assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    put(served, b"a")
    assert sorted(response.watch_id for response in told(stream, 11)[6:]) == [-7, 0, 1, 2, 3]


@pytest.mark.parametrize(
    "spec, reason",
    [
        ({"key": b"b", "range_end": b"b"}, "mvcc: watcher range is empty"),
        ({"key": b"b", "range_end": b"a"}, "mvcc: watcher range is empty"),
        ({"key": b"b", "start_revision": -1}, COMPACTED),
    ],
)
def test_refusals_have_no_id_and_hurt_nobody_else(served: Served, stream: WatchStream, spec: dict[str, object], reason: str) -> None:
    stream.create(key=b"a")
    stream.create(**spec)
    stream.create(key=b"a")
    put_revision = put(served, b"zzz")
    _, refused, created = told(stream, 3)
    assert refused.header.revision in (1, put_revision)
    assert (refused.watch_id, refused.created, refused.canceled, refused.cancel_reason) == (-1, True, True, reason)
    assert (created.watch_id, created.created, created.canceled) == (1, True, False)


def test_an_empty_key_is_the_key_of_one_zero_byte(served: Served, stream: WatchStream) -> None:
    stream.create(key=b"", watch_id=1)
    stream.create(key=b"", range_end=b"\0", watch_id=2)
    told(stream, 2)
    put(served, b"a")
    assert told(stream, 3)[2].watch_id == 2
    put(served, b"\0")
    assert sorted(response.watch_id for response in told(stream, 5)[3:]) == [1, 2]


def test_cancel_is_answered_once_and_nothing_comes_after_it(served: Served, stream: WatchStream) -> None:
    stream.create(key=b"a", watch_id=5)
    stream.create(key=b"a", watch_id=6)
    stream.cancel(404)
    stream.cancel(5)
    stream.cancel(5)
    stream.send(pb.WatchRequest())
    canceled = told(stream, 3)[2]
    assert canceled == pb.WatchResponse(header=header(1), watch_id=5, canceled=True)
    put(served, b"a")
    assert told(stream, 4)[3].watch_id == 6


def test_history_first_and_the_compacted_is_gone(served: Served, stream: WatchStream) -> None:
    for value in (b"1", b"2", b"3"):
        put(served, b"a", value)
    stream.create(key=b"a", start_revision=3)
    created, history = told(stream, 2)
    assert created.header.revision == 4
    assert [event.kv.mod_revision for event in history.events] == [3, 4]
    assert history.header.revision == 4
    served.wire.ask(pb.CompactionRequest(revision=3))
    stream.create(key=b"a", start_revision=2, watch_id=9)
    created, ended = told(stream, 4)[2:]
    assert created == pb.WatchResponse(header=header(4), watch_id=9, created=True)
    gone = pb.ResponseHeader(cluster_id=CLUSTER, member_id=MEMBER, raft_term=TERM)
    assert ended == pb.WatchResponse(header=gone, watch_id=9, canceled=True, compact_revision=3)


def test_filters(served: Served, stream: WatchStream) -> None:
    for watch_id, filters in ((1, [0]), (2, [1]), (3, [0, 1]), (4, [])):
        stream.create(key=b"a", filters=filters, watch_id=watch_id)
    told(stream, 4)
    put(served, b"a")
    assert sorted(response.watch_id for response in told(stream, 6)[4:]) == [2, 4]
    served.wire.ask(pb.DeleteRangeRequest(key=b"a"))
    assert sorted(response.watch_id for response in told(stream, 8)[6:]) == [1, 4]


def test_the_end_of_the_requests_is_not_the_end_of_the_watch(served: Served, stream: WatchStream) -> None:
    stream.create(key=b"a")
    stream.half_close()
    told(stream, 1)
    put(served, b"a")
    assert told(stream, 2)[1].events[0].kv.key == b"a"
    assert stream.ended is None


def test_a_client_that_leaves_takes_its_watchers_along(served: Served, stream: WatchStream) -> None:
    stream.create(key=b"a")
    told(stream, 1)
    assert served.do(lambda backend: len(backend.streams)) == 1
    stream.close()
    assert served.wait_until(lambda backend: not backend.streams)
    assert served.wait_until(lambda _: served.app.stats.handled[WATCH, "Canceled"] == 1)


def test_asked_for_progress(served: Served, stream: WatchStream) -> None:
    stream.request_progress()
    stream.create(key=b"a")
    told(stream, 1)
    put(served, b"b")
    stream.request_progress()
    assert told(stream, 2)[1] == pb.WatchResponse(header=header(2), watch_id=-1)


def test_progress_in_time_for_quiet_watchers_that_want_it() -> None:
    with Served(Settings(progress_notify_interval_s=0.01)) as served:
        stream = WatchStream(served.wire.channel)
        stream.create(key=b"a", progress_notify=True, watch_id=3)
        stream.create(key=b"a", watch_id=4)
        put(served, b"b")
        assert stream.wait_for(lambda responses: len(responses) >= 5)
        assert stream.responses[4] == pb.WatchResponse(header=header(2), watch_id=3)
        assert all(response.watch_id == 3 for response in stream.responses[2:])
        stream.close()


def test_fragments_are_cut_where_the_limit_is_and_add_up() -> None:
    with Served(Settings(request_bytes_max=4096)) as served:
        limit = served.settings.message_bytes_max
        value = b"v" * (limit // 3)

        def fill(backend: object) -> None:
            for number in range(5):
                backend.model.state.write(b"k%d" % number, value)
            backend.model._commit()
            backend.tell()

        whole, cut = WatchStream(served.wire.channel), WatchStream(served.wire.channel)
        whole.create(key=b"k", range_end=b"l")
        cut.create(key=b"k", range_end=b"l", fragment=True)
        told(whole, 1), told(cut, 1)
        served.do(fill)
        assert len(told(whole, 2)[1].events) == 5
        pieces = told(cut, 4)[1:]
        assert [len(piece.events) for piece in pieces] == [2, 2, 1]
        assert [piece.fragment for piece in pieces] == [True, True, False]
        assert all(piece.ByteSize() < limit for piece in pieces)
        assert [event for piece in pieces for event in piece.events] == list(whole.responses[1].events)
        put(served, b"k0", b"small")
        last = told(cut, 5)[4]
        assert (last.fragment, len(last.events)) == (False, 1)
        whole.close(), cut.close()


def test_a_stream_that_asked_for_a_leader_ends_without_one(served: Served) -> None:
    stub = served.wire.channel.stream_stream(WATCH, pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString)
    request = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a"))
    loyal, other = stub(iter([request]), metadata=[("hasleader", "true")]), stub(iter([request]))
    assert next(loyal).created
    assert next(other).created

    def lose_leader(backend: object) -> None:
        backend.leader_id = 0

    served.do(lose_leader)
    with pytest.raises(grpc.RpcError) as caught:
        next(loyal)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
    put(served, b"a")
    assert next(other).events[0].kv.key == b"a"
    other.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        next(stub(iter([request]), metadata=[("hasleader", "true")]))
    assert caught.value.details() == "etcdserver: no leader", "refused at once when there is none"


def test_a_learner_has_no_watchers(served: Served) -> None:
    def become_learner(backend: object) -> None:
        backend.learner = True

    served.do(become_learner)
    stub = served.wire.channel.stream_stream(WATCH, pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString)
    with pytest.raises(grpc.RpcError) as caught:
        next(stub(iter([])))
    assert caught.value.details() == "etcdserver: rpc not supported for learner"


def test_a_message_that_is_none_ends_the_stream_with_a_reason(served: Served) -> None:
    stub = served.wire.channel.stream_stream(WATCH, None, pb.WatchResponse.FromString)
    good = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")).SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        list(stub(iter([good, b"\xff\xff"])))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert served.wait_until(lambda backend: not backend.streams)


def test_a_client_that_does_not_read_gets_everything_later_and_delays_nobody(served: Served) -> None:
    """W-22. Values so large that HTTP/2's window and the queue are soon full."""
    value, count = b"v" * 60_000, 200
    other = open_channel(f"127.0.0.1:{served.port}")  # what it leaves unread fills its connection in the end
    slow, quick = WatchStream(other, reading=False), WatchStream(served.wire.channel)
    slow.create(key=b"a")
    quick.create(key=b"a")
    assert served.wait_until(lambda backend: sum(len(stream.watchers) for stream in backend.streams) == 2)
    for _ in range(count):
        put(served, b"a", value)

    def revisions(responses: list[object]) -> list[int]:
        return [event.kv.mod_revision for response in responses for event in response.events]

    assert quick.wait_for(lambda responses: len(revisions(responses)) == count)
    slow.read()
    assert slow.wait_for(lambda responses: len(revisions(responses)) == count)
    assert revisions(slow.responses) == revisions(quick.responses) == list(range(2, count + 2))
    assert all(response.header.revision >= response.events[-1].kv.mod_revision for response in slow.responses[1:])
    slow.close(), quick.close()
    other.close()


def test_a_client_that_asks_without_end_and_never_reads_is_not_heard_any_more(served: Served) -> None:
    """Its answers must not fill our memory: after the queue is full no request is read, and HTTP/2 holds the client."""
    request = prefixed(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a", range_end=b"a")).SerializeToString())
    asked = 100_000
    with Exchange(served.port, window_bytes=100) as exchange:
        stream = exchange.begin(WATCH, {})
        exchange.send(stream, request * asked, end=False)
        heard = served.app.stats.stream_messages_received
        looks: deque[int] = deque([0], maxlen=100)

        def silent(_: object) -> bool:
            looks.append(heard[WATCH])
            return looks[0] == looks[-1] > 0

        assert served.wait_until(silent)
        # What the HTTP server buffers for a connection (2 MiB), the queue, and one piece of the request's body.
        assert heard[WATCH] < asked // 2
        assert served.wire.ask(pb.RangeRequest(key=b"a")).header.revision == 1
        exchange.reset(stream)
        assert served.wait_until(lambda backend: not backend.streams), "a stuck stream outlives its client"


def test_frames_are_shared_among_streams_and_bounded(served: Served) -> None:
    streams = [WatchStream(served.wire.channel) for _ in range(3)]
    for stream in streams:
        stream.create(key=b"a")
        told(stream, 1)
    for _ in range(2 * service.SHARED_FRAMES_MAX):
        put(served, b"a")
    for stream in streams:
        assert stream.wait_for(lambda responses: len(responses) == 1 + 2 * service.SHARED_FRAMES_MAX)
        assert stream.responses[1:] == streams[0].responses[1:]
        stream.close()
