"""Frames and greetings between members: whatever the cuts and the garbage, either exactly what was sent or a clear refusal."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.member.messages import AnyPeerMessage, LeaseQuestion
from kvstore.peer import handshake
from kvstore.peer.frames import BadFrame, FrameReader, MessageCodec, frame
from kvstore.raft.messages import AppendRequest, ConfState, Entry, Heartbeat, InstallSnapshot, SnapshotMeta

MESSAGES = [
    AppendRequest(1, 2, 3, 4, 3, 4, (Entry(3, 5, b"data"), Entry(3, 6, b"", 1))),
    Heartbeat(1, 2, 3, 4, 9),
    InstallSnapshot(1, 2, 3, SnapshotMeta(9, 3, ConfState((1, 2), (3,))), 0, 100, b"x" * 100, True),
    LeaseQuestion(2, 1, 3, 7, -5, True),
]


@given(st.integers(1, 400))
def test_messages_survive_the_way(step):
    codec = MessageCodec(AnyPeerMessage)
    data = b"".join(map(codec.encode, MESSAGES))
    reader = FrameReader()
    found = [codec.decode(payload) for at in range(0, len(data), step) for payload in reader.feed(data[at : at + step])]
    assert found == MESSAGES


@given(st.binary(max_size=100))
def test_garbage_is_refused_or_waits_for_more(data):
    codec = MessageCodec(AnyPeerMessage)
    try:
        for payload in FrameReader(4096).feed(data):
            codec.decode(payload)
    except BadFrame:
        pass


def test_a_flipped_bit_is_found():
    sent = bytearray(frame(b"payload"))
    sent[-1] ^= 4
    with pytest.raises(BadFrame, match="checksum"):
        list(FrameReader().feed(bytes(sent)))


def test_a_huge_length_is_refused_at_once():
    with pytest.raises(BadFrame, match="at most"):
        list(FrameReader().feed(b"\xff" * 8))


@pytest.mark.parametrize("payload", [b"", b"\x93\x01\x02\x03", msgpack.packb([7, 1, "two", 3]), msgpack.packb([99]), msgpack.packb({"a": 1})])
def test_what_is_not_exactly_a_message_is_refused(payload):
    with pytest.raises(BadFrame):
        MessageCodec(AnyPeerMessage).decode(payload)


def greet(**changes) -> handshake.Hello:
    fields = {"magic": handshake.MAGIC, "version": handshake.PROTOCOL_VERSION, "cluster_id": 7, "sender": 2, "receiver": 1} | changes
    return handshake.parse_hello(msgpack.packb(fields))


def test_who_is_welcome_and_who_is_not():
    assert handshake.why_refused(greet(), 7, 1, {1, 2, 3}) == ""
    assert "cluster ID mismatch" in handshake.why_refused(greet(cluster_id=8), 7, 1, {1, 2, 3})
    assert "version" in handshake.why_refused(greet(version=9), 7, 1, {1, 2, 3})
    assert "not in this cluster" in handshake.why_refused(greet(sender=4), 7, 1, {1, 2, 3})
    assert "check the peer URLs" in handshake.why_refused(greet(receiver=3), 7, 1, {1, 2, 3})


@pytest.mark.parametrize("payload", [b"\xc1", b"\xdf\xff\xff\xff\xff", b"\x91" * 3000, msgpack.packb({"magic": "other"}), msgpack.packb(["a"])])
def test_greetings_of_strangers_are_refused(payload):
    with pytest.raises(BadFrame):
        handshake.parse_hello(payload)
