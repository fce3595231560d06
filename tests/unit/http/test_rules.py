"""RFC 9113, rule by rule: what a client must not do, and whether the connection or the stream pays for it."""

import struct

import pytest

from kvstore.http.limits import Limits
from tests.support.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, PRIORITY, SETTINGS, field, frame, request_block
from tests.unit.http.conversation import (
    ACK,
    CONTINUATION,
    GOAWAY,
    PING,
    RST_STREAM,
    UNARY,
    WINDOW_UPDATE,
    Conversation,
    code_of,
    request,
    reset,
    settings,
    window_update,
)

NO_ERROR, PROTOCOL, INTERNAL, FLOW, _, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, _, CALM = range(12)
BLOCK = request_block("/x")
CONNECTION, STREAM = "connection", "stream"
SETTING_PUSH, SETTING_STREAMS, SETTING_WINDOW, SETTING_FRAME = 2, 3, 4, 5


def priority(stream: int) -> bytes:
    return struct.pack(">IB", stream, 16)


WRONG: dict[str, tuple[list[bytes], tuple[str, int]]] = {
    "4.2 a frame of more than 16,384 bytes": ([frame(DATA, 0, 1, bytes(16_385))], (CONNECTION, SIZE)),
    "4.3 a header block that does not unpack": ([frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff")], (CONNECTION, COMPRESSION)),
    "4.3 an index beyond the table": ([frame(HEADERS, END_HEADERS, 1, BLOCK + b"\xbe")], (CONNECTION, COMPRESSION)),
    "4.3 a table larger than allowed": ([frame(HEADERS, END_HEADERS, 1, b"\x3f\xe2\x1f" + BLOCK)], (CONNECTION, COMPRESSION)),
    "4.3 a table's size in the middle": ([frame(HEADERS, END_HEADERS, 1, BLOCK + b"\x20")], (CONNECTION, COMPRESSION)),
    "4.3 half a string": ([frame(HEADERS, END_HEADERS, 1, BLOCK + b"\0\x05ab")], (CONNECTION, COMPRESSION)),
    "4.3 Huffman's end of string": ([frame(HEADERS, END_HEADERS, 1, BLOCK + b"\0\x84\xff\xff\xff\xff\0")], (CONNECTION, COMPRESSION)),
    "4.3 another frame inside a header block": ([frame(HEADERS, 0, 1, BLOCK), frame(PING, 0, 0, bytes(8))], (CONNECTION, PROTOCOL)),
    "4.3 another stream's continuation": ([frame(HEADERS, 0, 1, BLOCK), frame(CONTINUATION, END_HEADERS, 3)], (CONNECTION, PROTOCOL)),
    "5.1 idle: data": ([frame(DATA, 0, 1, b"x")], (CONNECTION, PROTOCOL)),
    "5.1 idle: a reset": ([reset(1)], (CONNECTION, PROTOCOL)),
    "5.1 idle: a window": ([window_update(1, 1)], (CONNECTION, PROTOCOL)),
    "5.1 half-closed: data": ([request(end=True), frame(DATA, 0, 1, b"x")], (STREAM, CLOSED)),
    "5.1 half-closed: headers": ([request(end=True), request(end=True)], (STREAM, CLOSED)),
    "5.1 closed by its client: data": ([request(), reset(1), frame(DATA, 0, 1, b"x")], (CONNECTION, CLOSED)),
    "5.1 closed by its client: headers": ([request(), reset(1), request()], (CONNECTION, CLOSED)),
    "5.1.1 an even number": ([request(2)], (CONNECTION, PROTOCOL)),
    "5.1.1 a number below the last": ([request(5, end=True), request(3)], (CONNECTION, CLOSED)),
    "5.3.1 a stream that depends on itself": ([frame(PRIORITY, 0, 1, priority(1))], (STREAM, PROTOCOL)),
    "5.3.1 headers that depend on themselves": ([frame(HEADERS, END_HEADERS | 0x20, 1, priority(1) + BLOCK)], (CONNECTION, PROTOCOL)),
    "6.1 data of no stream": ([frame(DATA, 0, 0, b"x")], (CONNECTION, PROTOCOL)),
    "6.1 more padding than payload": ([request(), frame(DATA, 8, 1, b"\x03ab")], (CONNECTION, PROTOCOL)),
    "6.1 padding without its length": ([request(), frame(DATA, 8, 1)], (CONNECTION, SIZE)),
    "6.2 headers of no stream": ([frame(HEADERS, END_HEADERS, 0, BLOCK)], (CONNECTION, PROTOCOL)),
    "6.2 padding longer than the headers": ([frame(HEADERS, END_HEADERS | 8, 1, b"\xff" + BLOCK[:20])], (CONNECTION, PROTOCOL)),
    "6.2 shorter than their priority": ([frame(HEADERS, END_HEADERS | 0x20, 1, b"\0\0")], (CONNECTION, SIZE)),
    "6.3 a priority of no stream": ([frame(PRIORITY, 0, 0, priority(1))], (CONNECTION, PROTOCOL)),
    "6.3 a priority of four bytes": ([frame(PRIORITY, 0, 1, bytes(4))], (STREAM, SIZE)),
    "6.4 a reset of no stream": ([reset(0)], (CONNECTION, PROTOCOL)),
    "6.4 a reset of three bytes": ([request(), frame(RST_STREAM, 0, 1, bytes(3))], (CONNECTION, SIZE)),
    "6.5 an acknowledgement with settings": ([frame(SETTINGS, ACK, 0, bytes(6))], (CONNECTION, SIZE)),
    "6.5 settings of a stream": ([frame(SETTINGS, 0, 1)], (CONNECTION, PROTOCOL)),
    "6.5 settings of five bytes": ([frame(SETTINGS, 0, 0, bytes(5))], (CONNECTION, SIZE)),
    "6.5.2 push of two": ([settings((SETTING_PUSH, 2))], (CONNECTION, PROTOCOL)),
    "6.5.2 a window of 2^31": ([settings((SETTING_WINDOW, 1 << 31))], (CONNECTION, FLOW)),
    "6.5.2 a frame size too small": ([settings((SETTING_FRAME, 16_383))], (CONNECTION, PROTOCOL)),
    "6.5.2 a frame size too large": ([settings((SETTING_FRAME, 1 << 24))], (CONNECTION, PROTOCOL)),
    "6.6 a push": ([frame(5, END_HEADERS, 1, bytes(4))], (CONNECTION, PROTOCOL)),
    "6.7 a ping of a stream": ([frame(PING, 0, 1, bytes(8))], (CONNECTION, PROTOCOL)),
    "6.7 a ping of seven bytes": ([frame(PING, 0, 0, bytes(7))], (CONNECTION, SIZE)),
    "6.8 a good-bye of a stream": ([frame(GOAWAY, 0, 1, bytes(8))], (CONNECTION, PROTOCOL)),
    "6.8 half a good-bye": ([frame(GOAWAY, 0, 0, bytes(7))], (CONNECTION, SIZE)),
    "6.9 a window that grows by nothing": ([window_update(0, 0)], (CONNECTION, PROTOCOL)),
    "6.9 a stream's window that grows by nothing": ([request(), window_update(1, 0)], (STREAM, PROTOCOL)),
    "6.9 a window of three bytes": ([frame(WINDOW_UPDATE, 0, 0, bytes(3))], (CONNECTION, SIZE)),
    "6.9.1 a window beyond 2^31 - 1": ([window_update(0, (1 << 31) - 1)], (CONNECTION, FLOW)),
    "6.9.1 a stream's window beyond 2^31 - 1": ([request(), window_update(1, (1 << 31) - 1)], (STREAM, FLOW)),
    "6.9.2 settings that push a window beyond": (
        [request(), window_update(1, (1 << 31) - 70_000), settings((4, 90_000))],
        (CONNECTION, FLOW),
    ),
    "6.10 a continuation of nothing": ([frame(CONTINUATION, END_HEADERS, 1, BLOCK)], (CONNECTION, PROTOCOL)),
    "6.10 a continuation after the end": ([request(), frame(CONTINUATION, END_HEADERS, 1, BLOCK)], (CONNECTION, PROTOCOL)),
    "8.1 trailers that are not the end": ([request(), frame(HEADERS, END_HEADERS, 1, field("x", "y"))], (STREAM, PROTOCOL)),
    "8.1 trailers with pseudo headers": ([request(), frame(HEADERS, END_HEADERS | END_STREAM, 1, field(":path", "/"))], (STREAM, PROTOCOL)),
    "8.1.1 less body than content-length": ([request(content_length="3"), frame(DATA, END_STREAM, 1, b"xx")], (STREAM, PROTOCOL)),
    "8.1.1 more body than content-length": ([request(content_length="3"), frame(DATA, 0, 1, b"xxxx")], (STREAM, PROTOCOL)),
    "8.1.1 less body than content-length, and trailers": (
        [request(content_length="3"), frame(HEADERS, END_HEADERS | END_STREAM, 1, field("x", "y"))],
        (STREAM, PROTOCOL),
    ),
    "8.1.1 no body in spite of content-length": ([request(content_length="3", end=True)], (STREAM, PROTOCOL)),
    "8.1.1 a content-length that is none": ([request(content_length="-3")], (STREAM, PROTOCOL)),
    "8.1.1 two of them": ([frame(HEADERS, END_HEADERS, 1, BLOCK + field("content-length", "1") + field("content-length", "2"))], (STREAM, PROTOCOL)),
    "8.2.1 a name in capitals": ([request(Xy="z")], (STREAM, PROTOCOL)),
    "8.2.1 a name with a space": ([frame(HEADERS, END_HEADERS, 1, BLOCK + field("x y", "z"))], (STREAM, PROTOCOL)),
    "8.2.1 an empty name": ([frame(HEADERS, END_HEADERS, 1, BLOCK + field("", "z"))], (STREAM, PROTOCOL)),
    "8.2.1 a value with a line's end": ([request(x="a\r\nb: c")], (STREAM, PROTOCOL)),
    "8.2.1 a value with a null": ([request(x="a\0")], (STREAM, PROTOCOL)),
    "8.2.1 a value that begins with a space": ([request(x=" a")], (STREAM, PROTOCOL)),
    "8.2.2 connection": ([request(connection="close")], (STREAM, PROTOCOL)),
    "8.2.2 transfer-encoding": ([request(transfer_encoding="chunked")], (STREAM, PROTOCOL)),
    "8.2.2 te: gzip": ([request(te="gzip")], (STREAM, PROTOCOL)),
    "8.3 an unknown pseudo header": ([frame(HEADERS, END_HEADERS, 1, field(":x", "y") + BLOCK)], (STREAM, PROTOCOL)),
    "8.3 an answer's pseudo header": ([frame(HEADERS, END_HEADERS, 1, field(":status", "200") + BLOCK)], (STREAM, PROTOCOL)),
    "8.3 a pseudo header behind others": ([frame(HEADERS, END_HEADERS, 1, field("x", "y") + BLOCK)], (STREAM, PROTOCOL)),
    "8.3.1 two paths": ([frame(HEADERS, END_HEADERS, 1, field(":path", "/") + BLOCK)], (STREAM, PROTOCOL)),
    "8.3.1 an empty path": ([request(path="")], (STREAM, PROTOCOL)),
    "8.3.1 no path": ([frame(HEADERS, END_HEADERS, 1, field(":method", "GET") + field(":scheme", "http"))], (STREAM, PROTOCOL)),
    "8.3.1 no method": ([frame(HEADERS, END_HEADERS, 1, field(":path", "/") + field(":scheme", "http"))], (STREAM, PROTOCOL)),
    "8.3.1 no scheme": ([frame(HEADERS, END_HEADERS, 1, field(":path", "/") + field(":method", "GET"))], (STREAM, PROTOCOL)),
    "8.3.1 two hosts": ([request(host="elsewhere")], (STREAM, PROTOCOL)),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_client_must_not_do(what: str) -> None:
    says, expected = WRONG[what]
    talk = Conversation()
    answer = [each for data in says for each in talk.says(data)]
    assert code_of(answer) == expected
    assert talk.connection.closing == (expected[0] == CONNECTION)
    if expected[0] == STREAM:
        assert code_of(talk.says(request(101, end=True), frame(PING, 0, 0, bytes(8)))) == ("", 0), "the others go on"
        assert talk.served[-1].stream.number == 101


@pytest.mark.parametrize("what", WRONG)
def test_the_same_a_byte_at_a_time(what: str) -> None:
    says, expected = WRONG[what]
    talk = Conversation()
    answer = [each for data in says for byte in data for each in talk.says(bytes((byte,)))]
    assert code_of(answer) == expected


@pytest.mark.parametrize(
    "opening", [b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1] + b"X", PREFACE + frame(PING, 0, 0, bytes(8)), PREFACE + frame(SETTINGS, ACK, 0)]
)
def test_3_4_an_opening_that_is_none(opening: bytes) -> None:
    talk = Conversation(silent=True)
    assert code_of(talk.says(opening)) == (CONNECTION, PROTOCOL)


def test_3_4_the_server_says_its_settings_first() -> None:
    talk = Conversation(silent=True)
    (kind, flags, stream, payload), window = talk.opening
    assert (kind, flags, stream) == (SETTINGS, 0, 0)
    assert dict(struct.iter_unpack(">HI", payload)) == {SETTING_STREAMS: 4000, SETTING_WINDOW: 2 << 20, 6: 64 << 10}
    assert window[0] == WINDOW_UPDATE
    assert talk.says(PREFACE, settings()) == [(SETTINGS, ACK, 0, b"")]


def test_6_7_a_ping_is_answered_with_what_it_said() -> None:
    assert Conversation().says(frame(PING, 0, 0, b"12345678")) == [(PING, ACK, 0, b"12345678")]


def test_6_7_an_acknowledgement_is_not_answered() -> None:
    assert Conversation().says(frame(PING, ACK, 0, b"12345678")) == []


def test_5_5_kinds_and_settings_that_are_not_known_are_no_matter() -> None:
    assert Conversation().says(frame(0x77, 0xFF, 9, b"?"), settings((0x99, 1))) == [(SETTINGS, ACK, 0, b"")]


def test_5_1_a_priority_may_come_at_any_time() -> None:
    talk = Conversation()
    assert talk.says(frame(PRIORITY, 0, 9, priority(1)), request(), reset(1), frame(PRIORITY, 0, 1, priority(3))) == []


def test_6_1_and_6_2_padding_and_priority_are_taken_off() -> None:
    talk = Conversation()
    talk.says(
        frame(HEADERS, END_HEADERS | 8 | 0x20, 1, b"\x03" + priority(0) + BLOCK + bytes(3)), frame(DATA, END_STREAM | 8, 1, b"\x04body" + bytes(4))
    )
    (served,) = talk.served
    assert served.stream.head.path == "/x" and served.body == b"body" and served.ended


def test_6_10_a_header_block_may_come_in_pieces() -> None:
    talk = Conversation()
    pieces = [BLOCK[at : at + 20] for at in range(0, len(BLOCK), 20)]
    talk.says(
        frame(HEADERS, END_STREAM, 1, pieces[0]), *(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:]), frame(CONTINUATION, END_HEADERS, 1)
    )
    assert talk.served[0].stream.head.path == "/x" and talk.served[0].ended


def test_8_1_trailers_end_a_request() -> None:
    talk = Conversation()
    talk.says(request(), frame(DATA, 0, 1, b"body"), frame(HEADERS, END_HEADERS | END_STREAM, 1, field("x", "y")))
    assert talk.served[0].body == b"body" and talk.served[0].ended


def test_8_3_what_a_head_says() -> None:
    talk = Conversation()
    talk.says(request(path="/a%20b?x=1", content_type="application/grpc+proto"))
    head = talk.served[0].stream.head
    assert (head.method, head.path, head.raw_path, head.query, head.authority) == ("POST", "/a b", b"/a%20b", b"x=1", b"x")
    assert head.is_grpc and head.trailers and head.content_length is None
    assert head.headers == ((b"content-type", b"application/grpc+proto"), (b"te", b"trailers"))


def test_equal_requests_share_their_head_until_the_table_changes() -> None:
    talk = Conversation()
    talk.says(request(1), request(3))
    assert talk.served[0].stream.head is talk.served[1].stream.head
    blocks = [b"\x40\x01x\x01y", b"\xbe", b"\x40\x01x\x01z", b"\xbe"]
    talk.says(*(frame(HEADERS, END_HEADERS, 5 + 2 * number, BLOCK + block) for number, block in enumerate(blocks)))
    assert [served.stream.head.headers[-1][1] for served in talk.served[2:]] == [b"y", b"y", b"z", b"z"]


def test_4_3_a_refused_request_still_counts_for_the_table() -> None:
    talk = Conversation(limits=Limits(streams_max=1))
    talk.says(request(1))
    refused = talk.says(frame(HEADERS, END_HEADERS, 3, BLOCK + b"\x40\x01x\x01y"))
    assert code_of(refused) == (STREAM, REFUSED)
    talk.says(reset(1), frame(HEADERS, END_HEADERS, 5, BLOCK + b"\xbe"))
    assert talk.served[-1].stream.head.headers[-1] == (b"x", b"y")


def test_5_1_what_is_under_way_when_a_stream_is_reset_is_no_fault() -> None:
    talk = Conversation()
    talk.says(request())
    talk.connection.reset(talk.served[0].stream, INTERNAL)
    talk.heard()
    assert talk.says(frame(DATA, 0, 1, b"late"), frame(HEADERS, END_HEADERS | END_STREAM, 1, field("x", "y")), window_update(1, 5)) == []


def test_6_8_a_drained_connection_is_told_twice_and_finishes_what_it_has() -> None:
    talk = Conversation()
    talk.says(request())
    talk.connection.drain()
    (first, ping) = talk.heard()
    assert first[0] == GOAWAY and int.from_bytes(first[3][:4], "big") == (1 << 31) - 1 and ping[0] == PING
    talk.says(request(3, end=True))  # it was under way
    (second,) = talk.says(frame(PING, ACK, 0, ping[3]))
    assert second[0] == GOAWAY and int.from_bytes(second[3][:4], "big") == 3
    assert code_of(talk.says(request(5))) == (STREAM, REFUSED)
    talk.served[1].stream.send_head(200, (), True)
    assert [(kind, stream) for kind, _, stream, _ in talk.heard()] == [(HEADERS, 3)]
    assert not talk.served[0].has_left


def test_a_drained_connection_is_settled_when_its_client_knows_and_has_the_answers_that_come_soon() -> None:
    talk = Conversation(limits=Limits(unary_prefixes=(UNARY,)))
    talk.says(request(1, "/watch"), request(3, UNARY, end=True))
    talk.connection.drain()
    assert not talk.connection.is_settled
    (_, ping) = talk.heard()
    talk.says(frame(PING, ACK, 0, ping[3]))
    assert not talk.connection.is_settled, "a request waits for its answer"
    talk.served[1].stream.send_head(200, (), True)
    talk.heard()
    assert talk.connection.is_settled, "a watch has no end of its own, and is not waited for"


def test_a_lost_connection_is_told_to_who_serves() -> None:
    talk = Conversation()
    talk.says(request())
    talk.connection.lost()
    assert talk.served[0].has_left and talk.served[0].stream.closed
