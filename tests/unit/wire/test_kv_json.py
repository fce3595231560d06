"""JSON for keys read and written directly is what comes by way of protobuf: the same requests, the same refusals, the same text."""

import json
import random
from typing import Any

import pytest

from kvstore.model import DeleteRangeResult, Header, PutResult, RangeResult, TxnResult
from kvstore.wire import codec, kv_json, messages
from kvstore.wire.gateway import parse_request, write_json
from kvstore.wire.status import RpcError

READ = {
    messages.PutRequest: (kv_json.read_put, codec.put_request),
    messages.RangeRequest: (kv_json.read_range, codec.range_request),
    messages.DeleteRangeRequest: (kv_json.read_delete_range, codec.delete_range_request),
    messages.TxnRequest: (kv_json.read_txn, codec.txn_request),
}
KINDS = list(READ)
A = "YQ=="


def by_protobuf(kind: Any, data: bytes) -> Any:
    """None if it is refused."""
    try:
        return READ[kind][1](parse_request(kind, data.decode()).SerializeToString())
    except (RpcError, UnicodeDecodeError):
        return None


PUT = {"key": A, "value": "AAEC/w==", "lease": "-9223372036854775808", "prev_kv": True, "ignore_value": False, "ignore_lease": True}
RANGE = {
    "key": A,
    "range_end": "AA==",
    "limit": 5,
    "revision": "9223372036854775807",
    "sort_order": "DESCEND",
    "sort_target": "VALUE",
    "serializable": True,
    "keys_only": True,
    "count_only": False,
    "min_mod_revision": 1,
    "max_mod_revision": "2",
    "min_create_revision": 3,
    "max_create_revision": 4,
}
DELETE = {"key": A, "range_end": "Yg==", "prev_kv": True}
TXN = {
    "compare": [
        {"key": A, "target": "VALUE", "result": "GREATER", "value": "Yg==", "range_end": "AA=="},
        {"key": A, "target": "MOD", "mod_revision": 5},
        {"key": A, "target": "CREATE", "create_revision": "0"},
        {"key": A, "target": "LEASE", "version": 7},
        {"key": A},
    ],
    "success": [{"request_put": PUT}, {"request_range": RANGE}, {"request_txn": {"failure": [{"request_delete_range": DELETE}, {}]}}],
    "failure": [],
}


@pytest.mark.parametrize(
    ("kind", "content"), list(zip(KINDS, [PUT, RANGE, DELETE, TXN], strict=True)), ids=lambda each: getattr(each, "__name__", "")
)
def test_plain_requests_are_read_without_protobuf(kind: Any, content: Any) -> None:
    for data in (json.dumps(content).encode(), b" \n" + json.dumps(content, indent=1).encode() + b"\n", b"{}"):
        found = READ[kind][0](data)
        assert found is not None
        assert found == by_protobuf(kind, data)


@pytest.mark.parametrize(
    "text",
    [
        '{"key":"YQ==","key":"Yg=="}',
        '{"key":"YQ==","value":"Yg==","value":"Yg=="}',
        '{"key":"YQ==","unknown":1}',
        '{"key":"YQ==","unknown":{"key":"YQ=="}}',
        '{"key":"YQ==","k\\"ey":1}',
        '{"key":"YQ==","rangeEnd":"Yg=="}',
        '{"key":"YQ==","prevKv":true}',
        '{"key":null}',
        '{"key":"YQ","value":"-_8="}',
        '{"key":"YQ==\\n"}',
        '{"key":1}',
        '{"key":"YQ==","lease":1.0}',
        '{"key":"YQ==","lease":"1e3"}',
        '{"key":"YQ==","lease":" 1"}',
        '{"key":"YQ==","lease":"+1"}',
        '{"key":"YQ==","lease":9223372036854775808}',
        '{"key":"YQ==","lease":"9223372036854775808"}',
        '{"key":"YQ==","limit":"\u0661"}',
        '{"key":"YQ==","prev_kv":1}',
        '{"key":"YQ==","prev_kv":"true"}',
        '{"key":"YQ==","sort_order":1}',
        '{"key":"YQ==","sort_order":"SIDEWAYS"}',
        '{"key":"YQ=="} {"key":"Yg=="}',
        '{"key":"YQ==",}',
        "[]",
        "",
        '{"compare":[{"key":"YQ==","version":1,"lease":1}]}',
        '{"compare":null}',
        '{"compare":[null]}',
        '{"compare":[{"target":9}]}',
        '{"success":[{"request_put":{},"request_range":{}}]}',
        '{"success":[{"requestPut":{}}]}',
        '{"success":{}}',
    ],
)
def test_what_is_not_plain_is_left_to_protobuf(text: str) -> None:
    concerned = 0
    for kind in KINDS:
        found = READ[kind][0](text.encode())
        concerned += found is None
        assert found is None or found == by_protobuf(kind, text.encode())
    assert concerned


def anything(chance: random.Random, depth: int) -> Any:
    scalars: list[Any] = [
        A,
        "AA==",
        "",
        "-1",
        "5",
        "DESCEND",
        "MOD",
        "VALUE",
        "GREATER",
        0,
        7,
        -3,
        True,
        False,
        None,
        1.5,
        "%",
        "YQ",
        2**63,
        "9" * 30,
    ]
    kind = chance.randrange(8)
    if depth > 4 or kind < 5:
        return chance.choice(scalars)
    if kind == 5:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(3))]
    return some_object(chance, depth)


def some_object(chance: random.Random, depth: int = 0) -> Any:
    names = [name for content in (PUT, RANGE, DELETE, TXN) for name in content] + ["version", "target", "result", "mod_revision", "rangeEnd", "x"]
    names += ["request_put", "request_range", "request_txn", "request_delete_range"]
    return {chance.choice(names): anything(chance, depth + 1) for _ in range(chance.randrange(5))}


def mutated(chance: random.Random, content: Any) -> Any:
    """The same with a value or two replaced somewhere."""
    if isinstance(content, dict) and content:
        name = chance.choice(list(content))
        return content | {name: mutated(chance, content[name])} if chance.random() < 0.8 else content | some_object(chance, 3)
    if isinstance(content, list) and content:
        at = chance.randrange(len(content))
        return [*content[:at], mutated(chance, content[at]), *content[at + 1 :]]
    return anything(chance, 3)


def test_random_requests_mean_what_protobuf_says() -> None:
    chance = random.Random(7)
    plain = refused = 0
    for _ in range(3000):
        at = chance.randrange(len(KINDS))
        kind, base = KINDS[at], [PUT, RANGE, DELETE, TXN][at]
        data = json.dumps(mutated(chance, base) if chance.random() < 0.8 else some_object(chance)).encode()
        if chance.random() < 0.2:
            cut = chance.randrange(len(data))
            data = data[:cut] + chance.choice([b'"', b"}", b",", b"\\", b"\xff", b" "]) + data[cut + chance.randrange(3) :]
        found, expected = READ[kind][0](data), by_protobuf(kind, data)
        assert found is None or found == expected, data
        plain += found is not None
        refused += expected is None
    assert plain > 300 and refused > 300


# --- answers ----------------------------------------------------------------------------------------------------------------------

HEADER = Header(2**64 - 1, 3, 1, 1)  # type: ignore[arg-type]
KV = messages.KeyValue(key=b"a\xff", create_revision=1, mod_revision=2**62, version=3, value=b"\0v", lease=-5).SerializeToString()
BARE = messages.KeyValue(key=b"k", create_revision=1, mod_revision=1, version=1).SerializeToString()
DEEP = TxnResult(9, False, [])  # type: ignore[arg-type]
for _ in range(20):
    DEEP = TxnResult(9, True, [DEEP])  # type: ignore[arg-type]
RESULTS: list[Any] = [
    (kv_json.put_text, codec.put_response, messages.PutResponse, PutResult(7)),  # type: ignore[arg-type]
    (kv_json.put_text, codec.put_response, messages.PutResponse, PutResult(7, KV)),  # type: ignore[arg-type]
    (kv_json.range_text, codec.range_response, messages.RangeResponse, RangeResult(7, [], False, 0)),  # type: ignore[arg-type]
    (kv_json.range_text, codec.range_response, messages.RangeResponse, RangeResult(7, [KV, BARE], True, 9)),  # type: ignore[arg-type,list-item]
    (kv_json.range_text, codec.range_response, messages.RangeResponse, RangeResult(7, [], False, 12)),  # type: ignore[arg-type]
    (kv_json.delete_range_text, codec.delete_range_response, messages.DeleteRangeResponse, DeleteRangeResult(7, 0, [])),  # type: ignore[arg-type]
    (kv_json.delete_range_text, codec.delete_range_response, messages.DeleteRangeResponse, DeleteRangeResult(7, 2, [KV, BARE])),  # type: ignore[arg-type,list-item]
    (kv_json.txn_text, codec.txn_response, messages.TxnResponse, TxnResult(7, False, [])),  # type: ignore[arg-type]
    (
        kv_json.txn_text,
        codec.txn_response,
        messages.TxnResponse,
        TxnResult(7, True, [RangeResult(7, [KV], False, 1), PutResult(7, BARE), DeleteRangeResult(7, 1, [KV]), DEEP]),  # type: ignore[arg-type,list-item]
    ),
]


@pytest.mark.parametrize(("text_of", "bytes_of", "kind", "result"), RESULTS)
def test_answers_are_what_protobuf_says(text_of: Any, bytes_of: Any, kind: Any, result: Any) -> None:
    texts, headers = kv_json.HeaderText(HEADER), codec.HeaderWriter(HEADER)
    for revision, term in ((7, 2), (0, 2), (8, 3), (8, 0), (0, 0)):
        expected = write_json(kind.FromString(bytes_of(headers.write(revision, term), result)))
        assert text_of(texts.write(revision, term), result) == expected


def test_answers_nested_deeper_than_protobuf_reads() -> None:
    result = TxnResult(9, True, [])  # type: ignore[arg-type]
    for _ in range(127):
        result = TxnResult(9, True, [result])  # type: ignore[arg-type]
    content = json.loads(kv_json.txn_text(kv_json.HeaderText(HEADER).write(9, 1), result))
    for _ in range(127):
        (inner,) = content["responses"]
        content = inner["response_txn"]
    assert content == {"header": {}, "succeeded": True}
