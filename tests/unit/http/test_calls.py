"""Unary calls of the lane: when it is asked, what goes out, and what happens to those whose client has left."""

import pytest

from kvstore.http.lane import LANE_BYTES_MAX, Call
from kvstore.http.limits import Limits
from tests.support.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, frame, message
from tests.unit.http.conversation import CLIENT, RST_STREAM, UNARY, Conversation, call, code_of, request, reset, settings, window_update

INITIAL_WINDOW = 4
OK = b"\0\x0bgrpc-status\x010"


class Lane:
    """Takes everything; answers at once, or when it is told to."""

    def __init__(self, answer: bytes | None = b"answer", takes: bool = True) -> None:
        self.answer = answer
        self.takes = takes
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> bool:
        self.calls.append(call)
        if self.takes and self.answer is not None:
            call.answer(self.answer)
        return self.takes


def test_an_answer_is_headers_the_message_and_a_status() -> None:
    lane = Lane()
    talk = Conversation(lane)
    begin, data, end = talk.says(call())
    assert talk.headers_of(begin) == {":status": "200", "content-type": "application/grpc"}
    assert data == (DATA, 0, 1, message(b"answer"))
    assert (end[:3], talk.headers_of(end)) == ((HEADERS, END_HEADERS | END_STREAM, 1), {"grpc-status": "0"})
    assert (lane.calls[0].head.path, lane.calls[0].body, lane.calls[0].client, lane.calls[0].tls) == (UNARY, message(b"question"), CLIENT, None)
    assert not talk.connection.streams and not talk.served


def test_a_failure_is_one_frame() -> None:
    lane = Lane(None)
    talk = Conversation(lane)
    talk.says(call())
    lane.calls[0].fail([(b"grpc-status", b"5"), (b"grpc-message", b"none")])
    (only,) = talk.heard()
    assert only[:3] == (HEADERS, END_HEADERS | END_STREAM, 1)
    assert talk.headers_of(only) == {":status": "200", "content-type": "application/grpc", "grpc-status": "5", "grpc-message": "none"}
    assert talk.woken == 1, "what is answered later wakes the writer"


def test_the_lane_is_asked_as_soon_as_the_message_is_whole() -> None:
    lane = Lane()
    talk = Conversation(lane)
    body = message(b"question")
    talk.says(request(1, UNARY), frame(DATA, 0, 1, body[:7]))
    assert not lane.calls
    assert [kind for kind, *_ in talk.says(frame(DATA, 0, 1, body[7:]))] == [HEADERS, DATA, HEADERS]
    assert lane.calls[0].body == body
    assert talk.connection.streams, "its client has not ended it yet"
    assert talk.says(frame(DATA, END_STREAM, 1)) == []
    assert not talk.connection.streams


def test_a_client_that_does_not_end_its_call_is_told_that_nobody_listens() -> None:
    talk = Conversation(Lane())
    talk.says(call(end=False))
    talk.connection.sweep(1.0)
    talk.connection.sweep(2.0)
    assert code_of(talk.heard()) == ("stream", 0)


@pytest.mark.parametrize(
    "data",
    [
        frame(DATA, END_STREAM, 1, b"\x01\0\0\0\x01x"),
        frame(DATA, END_STREAM, 1, b"\0\0\0"),
        frame(DATA, END_STREAM, 1),
        frame(DATA, END_STREAM | 8, 1, b"\x01" + message(b"question") + b"\0"),
        b"".join(frame(DATA, 0, 1, bytes((byte,))) for byte in message(b"question")),
        b"".join(frame(DATA, 0, 1, piece) for piece in [b"\0" + (LANE_BYTES_MAX + 1).to_bytes(4, "big"), *[bytes(16_384)] * 4, bytes(1)]),
    ],
    ids=["compressed", "half a message", "nothing", "padded", "byte by byte", "long"],
)
def test_what_is_not_plain_goes_through_asgi(data: bytes) -> None:
    lane = Lane()
    talk = Conversation(lane)
    talk.says(request(1, UNARY), data)
    assert not lane.calls
    assert len(talk.served) == 1


@pytest.mark.parametrize(
    ("path", "headers"), [("/other", {}), (UNARY, {"te": "trailers", "content_type": "text/plain"}), (UNARY, {"content_length": "13"})]
)
def test_other_requests_are_served_from_their_head_on(path: str, headers: dict[str, str]) -> None:
    lane = Lane()
    talk = Conversation(lane)
    talk.says(request(1, path, **headers))
    assert len(talk.served) == 1
    talk.says(frame(DATA, END_STREAM, 1, message(b"question")))
    assert talk.served[0].body == message(b"question") and not lane.calls


def test_what_the_lane_does_not_take_goes_through_asgi_with_its_body() -> None:
    talk = Conversation(Lane(takes=False))
    talk.says(call())
    assert (talk.served[0].body, talk.served[0].ended) == (message(b"question"), True)


def test_a_call_that_is_reset_in_the_same_breath_is_never_begun() -> None:
    lane = Lane()
    talk = Conversation(lane)
    assert talk.says(call(), reset(1)) == []
    assert not lane.calls


class Taker:
    def __init__(self) -> None:
        self.times = 0

    def left(self) -> None:
        self.times += 1


def test_the_taker_is_told_when_the_client_leaves_and_the_answer_goes_nowhere() -> None:
    lane = Lane(None)
    talk = Conversation(lane)
    talk.says(call(1), call(3))
    takers = [Taker(), Taker()]
    for one, taker in zip(lane.calls, takers, strict=True):
        one.taker = taker
    talk.says(reset(1))
    talk.connection.lost()
    assert [taker.times for taker in takers] == [1, 1]
    assert all(one.closed for one in lane.calls)
    for one in lane.calls:
        one.answer(b"late")
        one.fail([(b"grpc-status", b"5")])
    assert talk.heard() == []


def test_an_answer_waits_for_the_streams_window() -> None:
    talk = Conversation(Lane(b"x" * 95))
    talk.says(settings((INITIAL_WINDOW, 30)))
    answer = talk.says(call())
    assert [(kind, len(payload)) for kind, _, _, payload in answer[1:]] == [(DATA, 30)]
    assert [(kind, len(payload)) for kind, _, _, payload in talk.says(window_update(1, 50))] == [(DATA, 50)]
    assert [kind for kind, *_ in talk.says(settings((INITIAL_WINDOW, 60)))] == [4, DATA, HEADERS]
    assert not talk.connection.streams


def test_an_answer_waits_for_the_connections_window_and_its_status_for_none() -> None:
    talk = Conversation(Lane(b"x" * 65_000))
    talk.says(call(1))
    held = talk.says(call(3))
    assert sum(len(payload) for kind, _, _, payload in held if kind == DATA) == 65_535 - 65_005
    rest = talk.says(window_update(0, 64_475))
    assert sum(len(payload) for kind, _, _, payload in rest if kind == DATA) == 64_475
    assert rest[-1][:2] == (HEADERS, END_HEADERS | END_STREAM), "a status needs no window"


def test_a_window_may_be_below_nothing() -> None:
    """RFC 9113, 6.9.2."""
    talk = Conversation(Lane(b"x" * 95))
    talk.says(settings((INITIAL_WINDOW, 60)), call())
    talk.says(settings((INITIAL_WINDOW, 10)))
    assert talk.says(window_update(1, 50)) == []
    assert [kind for kind, *_ in talk.says(window_update(1, 30))] == [DATA]


def test_answers_that_wait_take_turns() -> None:
    talk = Conversation(Lane(b"x" * 40_000))
    talk.says(window_update(0, 1 << 20), settings((INITIAL_WINDOW, 0)), call(1), call(3))
    turns = [stream for kind, _, stream, payload in talk.says(settings((INITIAL_WINDOW, 1 << 20))) if kind == DATA and len(payload) > 1000]
    assert turns == [1, 3] * 3


def test_nothing_goes_out_while_the_transport_is_full() -> None:
    talk = Conversation(Lane(b"x"))
    talk.connection.pause()
    assert talk.says(call(1), call(3)) == []
    talk.connection.resume()
    assert [(kind, stream) for kind, _, stream, _ in talk.heard()] == [(kind, stream) for stream in (1, 3) for kind in (HEADERS, DATA, HEADERS)]


def test_large_answers_are_counted_as_long_as_they_wait() -> None:
    held: list[tuple[object, int]] = []
    talk = Conversation(Lane(b"x" * 50_000), limits=Limits(hold=lambda client, size: held.append((client, size))))
    talk.says(settings((INITIAL_WINDOW, 0)), call(1), call(3))
    assert held == [(CLIENT, 50_000)] * 2
    talk.says(window_update(1, 1 << 20), reset(3))
    assert sorted(held[2:], key=str) == [(CLIENT, -50_000)] * 2


def test_the_client_is_credited_with_what_was_taken() -> None:
    talk = Conversation(Lane(None))
    body = b"x" * 16_000
    said = [each for number in range(200) for each in talk.says(call(2 * number + 1, body))]
    assert [int.from_bytes(payload, "big") for kind, _, stream, payload in said if kind == 8 and stream == 0] == [2_112_660]
    assert sum(kind == RST_STREAM for kind, *_ in said) == 0


def test_a_client_that_sends_more_than_its_window_is_sent_away() -> None:
    talk = Conversation()
    talk.says(request(1), request(3), request(5))
    said = [each for number in range(400) for each in talk.says(frame(DATA, 0, 1 + 2 * (number % 3), bytes(16_384)))]
    assert code_of(said) == ("connection", 3)


def test_a_stream_that_gets_more_than_its_window_is_reset() -> None:
    talk = Conversation()
    talk.says(request(1))
    said = [each for _ in range(129) for each in talk.says(frame(DATA, 0, 1, bytes(16_384)))]
    assert code_of(said) == ("stream", 3)
