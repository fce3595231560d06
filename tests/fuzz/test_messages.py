"""Invariant: bytes that are not a message, or a message that makes no sense, get a gRPC error with a text, within seconds.

Bytes that happen to be a good request to change something are left out: those would be obeyed, and rightly so.
"""

import random

import pytest
from google.protobuf.message import DecodeError, Message

from kvstore.wire import messages as pb
from tests.fuzz.target import Target, rounds
from tests.oracle.choosing import Seeded
from tests.oracle.generate import Knowledge, compaction_request, delete_request, put_request, range_request, txn_request
from tests.support.calls import OK, UNARY, Wire

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

READS = {"KV/Range", "Lease/LeaseTimeToLive", "Lease/LeaseLeases", "Cluster/MemberList", "Maintenance/Status", "Maintenance/HashKV"}
CHANGING = sorted(set(UNARY) - READS)
WITH_FIELDS = sorted(method for method, (request, _) in UNARY.items() if request.DESCRIPTOR.fields)
"""A message without fields makes anything of anything: unknown fields are skipped, and how strictly differs by decoder."""
INVALID_ARGUMENT, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, RESOURCE_EXHAUSTED, UNKNOWN = 3, 4, 12, 13, 8, 2


def corrupted(raw: bytes, chance: random.Random) -> bytes:
    """Some bytes flipped, cut out, doubled or put in."""
    data = bytearray(raw or b"\x0a")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at : at + chance.randint(1, 8)]
        elif kind == 2:
            data[at:at] = chance.randbytes(chance.randint(1, 8))
        elif kind == 3:
            data[at:at] = data[max(0, at - 16) : at]
        else:
            data[at:at] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"  # a varint as long and a length as large as can be
    return bytes(data)


def parses(method: str, raw: bytes) -> Message | None:
    try:
        return UNARY[method][0].FromString(raw)
    except DecodeError:
        return None


def test_corrupted_messages_are_refused(target: Target) -> None:
    chance = random.Random(20)
    c, known = Seeded(20), Knowledge(revision=5)
    makers = [range_request, put_request, delete_request, txn_request, compaction_request]
    wire = Wire(target.member.endpoint)
    refused = 0
    for _ in rounds():
        raw = corrupted(chance.choice(makers)(c, known).SerializeToString(), chance)
        method = chance.choice(WITH_FIELDS)
        if method in CHANGING and parses(method, raw) is not None:
            continue
        reply = wire.call(method, raw, 5)
        assert reply.code == OK or reply.text, f"{method} {raw!r}: code {reply.code} without a text"
        assert reply.code not in (DEADLINE_EXCEEDED, UNKNOWN), (method, raw, reply)
        if parses(method, raw) is None:
            assert reply.code == INTERNAL, (method, raw, reply)
            refused += 1
    assert refused > 20
    wire.close()


def test_deep_nesting_is_refused_or_done_but_never_fatal(target: Target) -> None:
    wire = Wire(target.member.endpoint)
    for depth in (5, 60, 99, 120, 10_000):
        raw = b""
        for _ in range(depth):
            # TxnRequest.success (2) { request_txn (4) { ... } }
            inner = b"\x22" + varint(len(raw)) + raw
            raw = b"\x12" + varint(len(inner)) + inner
        reply = wire.call("KV/Txn", raw, 10)
        assert reply.code in (OK, INVALID_ARGUMENT, INTERNAL), (depth, reply.code, reply.text)
    wire.close()


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@pytest.mark.parametrize(
    "size, code, text",
    [
        (1_572_864 - 1_000, OK, ""),
        (1_572_864, INVALID_ARGUMENT, "etcdserver: request is too large"),
        (2_000_000, INVALID_ARGUMENT, "etcdserver: request is too large"),
        (1_572_864 + 524_288 + 1, RESOURCE_EXHAUSTED, "larger than max"),
        (5_000_000, RESOURCE_EXHAUSTED, "larger than max"),
    ],
)
def test_the_size_of_a_request_has_two_limits(target: Target, size: int, code: int, text: str) -> None:
    wire = Wire(target.member.endpoint)
    reply = wire.call("KV/Put", pb.PutRequest(key=b"size", value=b"x" * size), 10)
    assert reply.code == code, (reply.code, reply.text)
    assert text in reply.text
    wire.ask(pb.DeleteRangeRequest(key=b"size"))
    wire.close()


def test_unknown_methods_and_services_are_named(target: Target) -> None:
    wire = Wire(target.member.endpoint)
    for method in ("KV/Nothing", "Nothing/Range", "kv/range", "KV/", "KV/Range/More"):
        reply = wire.call(method, b"", 5)
        assert reply.code == UNIMPLEMENTED, (method, reply)
        assert reply.text.startswith(("unknown", "malformed")), (method, reply.text)
    wire.close()
