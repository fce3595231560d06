"""Codec, framing, JSON rules, and the tables: what goes out is what protobuf itself would write, and no bytes break a parser."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore import errors
from kvstore.encoding import decode_key_value, encode_event, encode_key_value, encode_tombstone
from kvstore.model import DeleteRangeResult, Header, PutResult, Range, RangeResult, TxnResult, WatchUpdate
from kvstore.wire import codec, gateway, messages
from kvstore.wire.grpc import MessageReader, decompressed, percent_encoded, prefixed, timeout_s
from kvstore.wire.status import CODES, Code, RpcError

numbers = st.integers(1, (1 << 63) - 1)
key_values = st.builds(
    encode_key_value, st.binary(min_size=1, max_size=40), numbers, numbers, numbers, st.binary(max_size=300), st.integers(-(1 << 63), (1 << 63) - 1)
)


@given(key_values)
def test_our_encoder_writes_what_protobuf_writes(encoded):
    parsed = messages.KeyValue.FromString(encoded)
    assert parsed.SerializeToString() == encoded
    ours = decode_key_value(encoded)
    fields = (parsed.key, parsed.create_revision, parsed.mod_revision, parsed.version, parsed.value, parsed.lease)
    assert (ours.key, ours.create_revision, ours.mod_revision, ours.version, ours.value, ours.lease) == fields


@given(st.binary(min_size=1, max_size=20), numbers, st.one_of(st.none(), key_values), st.booleans())
def test_events_are_what_protobuf_writes(key, revision, prev_kv, deleted):
    encoded = encode_event(deleted, encode_tombstone(key, revision), prev_kv)
    assert messages.Event.FromString(encoded).SerializeToString() == encoded


@given(numbers, st.integers(1, 1 << 40), st.lists(key_values, max_size=4), st.booleans(), st.integers(0, 1 << 40))
def test_range_answers_are_what_protobuf_writes(revision, term, kvs, more, count):
    header = codec.HeaderWriter(Header(1 << 63, 5, 0, 0)).write(revision, term)
    encoded = codec.range_response(header, RangeResult(revision, kvs, more, count))
    parsed = messages.RangeResponse.FromString(encoded)
    assert parsed.SerializeToString() == encoded
    assert (parsed.header.cluster_id, parsed.header.revision, parsed.header.raft_term) == (1 << 63, revision, term)
    assert (len(parsed.kvs), parsed.more, parsed.count) == (len(kvs), more, count)


def test_a_transactions_answer_nests_as_etcds_does():
    inner = TxnResult(7, False, [PutResult(7)])
    result = TxnResult(7, True, [RangeResult(7, [], False, 0), PutResult(7), DeleteRangeResult(7, 2, []), inner])
    parsed = messages.TxnResponse.FromString(codec.txn_response(b"", result))
    assert parsed.succeeded
    assert [response.WhichOneof("response") for response in parsed.responses] == [
        "response_range",
        "response_put",
        "response_delete_range",
        "response_txn",
    ]
    assert parsed.responses[0].response_range.header == messages.ResponseHeader(revision=7)
    nested = parsed.responses[3].response_txn
    assert nested.HasField("header")
    assert nested.header == messages.ResponseHeader(), "a nested answer's header is there, but empty"


def test_a_watch_answer_has_its_flags():
    update = WatchUpdate(3, 9, (encode_event(False, encode_key_value(b"a", 1, 9, 1, b"", 0)),))
    parsed = messages.WatchResponse.FromString(codec.watch_response(b"", update, fragment=True))
    assert (parsed.watch_id, parsed.fragment, len(parsed.events), parsed.events[0].kv.key) == (3, True, 1, b"a")


def test_requests_keep_every_field():
    request = messages.RangeRequest(key=b"a", range_end=b"b", limit=3, revision=4, sort_order=2, sort_target=4, keys_only=True, max_mod_revision=9)
    assert codec.range_request(request.SerializeToString()) == Range(b"a", b"b", 3, 4, 2, 4, False, True, False, 0, 9, 0, 0)
    compare = messages.Compare(key=b"k", target=3, result=1, value=b"v", range_end=b"z")
    txn = codec.txn_request(messages.TxnRequest(compare=[compare], success=[messages.RequestOp()]).SerializeToString())
    assert txn.compare[0].operand == b"v"
    assert txn.success == (None,), "an operation that says nothing is told apart"


@given(st.binary(max_size=200))
def test_no_bytes_break_a_request_parser(data):
    for parse in (codec.range_request, codec.put_request, codec.delete_range_request, codec.txn_request):
        try:
            parse(data)
        except RpcError as error:
            assert error.code is Code.INTERNAL


@given(st.lists(st.binary(max_size=30), max_size=5), st.integers(1, 7))
def test_messages_come_out_however_the_bytes_are_cut(payloads, step):
    data = b"".join(map(prefixed, payloads))
    reader = MessageReader(1000)
    found = [message for at in range(0, len(data), step) for message in reader.feed(data[at : at + step])]
    assert found == payloads
    assert not reader.incomplete


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come():
    with pytest.raises(RpcError, match=r"received message larger than max \(4294967295 vs\. 100\)"):
        list(MessageReader(100).feed(b"\x00\xff\xff\xff\xff"))


def test_a_bomb_is_not_inflated():
    with pytest.raises(RpcError, match="larger than max"):
        decompressed(1, b"gzip", gzip.compress(bytes(10_000_000)), 1000)
    assert decompressed(1, b"gzip", gzip.compress(b"hello"), 1000) == b"hello"
    with pytest.raises(RpcError, match="Decompressor is not installed"):
        decompressed(1, b"snappy", b"", 1000)


def test_time_outs_and_messages_of_grpc():
    assert timeout_s(b"5S") == 5
    assert timeout_s(b"100m") == pytest.approx(0.1)
    with pytest.raises(RpcError):
        timeout_s(b"soon")
    assert percent_encoded("100% ä") == b"100%25 %C3%A4"


@given(st.text(max_size=60))
def test_no_text_breaks_the_json_parser(text):
    try:
        gateway.parse_json(messages.PutRequest, gateway.first_object(text))
    except RpcError as error:
        assert error.code is Code.INVALID_ARGUMENT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(['"', "\\", "{", "}", '\\"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(max_size=4), json_values, max_size=3), max_size=4), st.sampled_from(["", " ", "\n"]), st.integers(1, 9))
def test_objects_come_out_however_the_text_is_cut(objects, between, step):
    text = between.join([json.dumps(each, ensure_ascii=False) for each in objects])
    splitter = gateway.ObjectSplitter()
    found = [json.loads(part) for at in range(0, len(text), step) for part in splitter.feed(text[at : at + step])]
    splitter.finish()
    assert found == objects


@pytest.mark.parametrize("text", ["5", '"x"', "[]", "null", "}", "{} 5", '{"a": 1} null'])
def test_what_stands_between_objects_is_refused(text):
    with pytest.raises(RpcError, match="unexpected token"):
        list(gateway.ObjectSplitter().feed(text))


@pytest.mark.parametrize("text", ["{", '{"a', '{"a": {}', '{"a": "}', '{"a": "\\'])
def test_an_object_that_never_ends(text):
    with pytest.raises(RpcError, match="unexpected EOF"):
        gateway.first_object(text)


def test_what_follows_the_object_of_a_unary_call_is_ignored():
    assert gateway.first_object(' {"key": "YQ=="} and more') == '{"key": "YQ=="}'
    assert gateway.first_object(" \n") == ""


@pytest.mark.parametrize(
    "text",
    [
        '{"key":"YQ==","key":"YQ=="}',
        '{"limit":1.5}',
        '{"limit":"x"}',
        '{"sort_order":"UP"}',
        '{"key":5}',
        '{"count_only":"yes"}',
        '{"limit":9223372036854775808}',
        '{"range_end":"","rangeEnd":""}',
    ],
)
def test_json_that_is_refused(text):
    with pytest.raises(RpcError) as caught:
        gateway.parse_json(messages.RangeRequest, text)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "text, request_",
    [
        ('{"limit":"1e3"}', {"limit": 1000}),
        ('{"limit":2.0}', {"limit": 2}),
        ('{"limit":1e3}', {"limit": 1000}),
        ('{"sort_order":"DESCEND","sortTarget":4}', {"sort_order": 2, "sort_target": 4}),
        ('{"sort_order":17}', {"sort_order": 17}),
        ('{"key":null,"nothing":{"a":[1,{}]}}', {}),
        ('{"key":"-_8"}', {"key": b"\xfb\xff"}),
        ('{"key":"+/8="}', {"key": b"\xfb\xff"}),
        ('{"limit":"-9223372036854775808"}', {"limit": -(1 << 63)}),
    ],
)
def test_json_that_is_understood(text, request_):
    assert gateway.parse_json(messages.RangeRequest, text) == messages.RangeRequest(**request_)


def test_two_members_of_a_union_are_refused():
    with pytest.raises(RpcError):
        gateway.parse_json(messages.RequestOp, '{"request_put":{},"request_range":{}}')


def test_json_has_the_gateways_forms():
    request = gateway.parse_json(messages.PutRequest, '{"key":"YQ","value":"Yg==","lease":"12","unknown":1,"prevKv":true}')
    assert (request.key, request.value, request.lease, request.prev_kv) == (b"a", b"b", 12, True)
    response = messages.RangeResponse(kvs=[messages.KeyValue(key=b"a", mod_revision=2)], count=1)
    assert gateway.write_json(response) == b'{"kvs":[{"key":"YQ==","mod_revision":"2"}],"count":"1"}'


def test_every_error_has_a_code_and_a_text_of_its_own():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.StoreError)]
    concrete = [kind for kind in kinds if kind not in (errors.StoreError, errors.Momentary)]
    assert set(concrete) == set(CODES)
    assert len({kind.text for kind in concrete}) == len(concrete)


def test_the_descriptors_are_those_of_the_proto_files(tmp_path):
    pytest.importorskip("grpc_tools")
    from kvstore.wire.generate import OUTPUT, compile_descriptors

    compile_descriptors(tmp_path / "api.binpb")
    assert (tmp_path / "api.binpb").read_bytes() == OUTPUT.read_bytes()


def test_other_clients_messages_live_beside_ours():
    pytest.importorskip("aetcd")  # registers the same names in protobuf's default pool
    assert messages.PutRequest(key=b"a").SerializeToString() == b"\x0a\x01a"
