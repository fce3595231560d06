"""What a client may take: streams, headers, time, and frames that say nothing."""

import pytest

from kvstore.http.connection import CONTINUATIONS_MAX, NUISANCES_MAX
from kvstore.http.limits import Limits
from tests.support.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PRIORITY, field, frame, request_block, text
from tests.unit.http.conversation import CONTINUATION, PING, UNARY, Conversation, call, code_of, request, reset, settings, window_update

CALM = ("connection", 11)
BLOCK = request_block("/x")


def test_streams_at_a_time() -> None:
    talk = Conversation(limits=Limits(streams_max=2))
    assert code_of(talk.says(request(1), request(3), request(5))) == ("stream", 7)
    assert code_of(talk.says(reset(1), request(7))) == ("", 0)


@pytest.mark.parametrize(
    "nuisance",
    [
        frame(PING, 0, 0, bytes(8)),
        settings(),
        frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"),
        frame(0x77, 0, 0),
        window_update(0, 1),
        frame(DATA, 0, 1),
    ],
    ids=["pings", "settings", "priorities", "unknown", "windows", "empty data"],
)
def test_frames_that_say_nothing(nuisance: bytes) -> None:
    talk = Conversation()
    talk.says(request(1))
    assert code_of(talk.says(nuisance * (NUISANCES_MAX // 2))) == ("", 0)
    assert code_of(talk.says(nuisance * NUISANCES_MAX)) == CALM


def test_streams_reset_as_soon_as_they_are_begun() -> None:
    """CVE-2023-44487."""
    talk = Conversation()
    flood = b"".join(request(2 * number + 1) + reset(2 * number + 1) for number in range(NUISANCES_MAX + 1))
    assert code_of(talk.says(flood)) == CALM
    assert all(served.has_left for served in talk.served)


def test_a_second_later_they_are_forgiven() -> None:
    talk = Conversation()
    for second in range(3):
        assert code_of(talk.says(frame(PING, 0, 0, bytes(8)) * (NUISANCES_MAX - 10))) == ("", 0)
        talk.connection.sweep(float(second))


def test_a_header_block_that_does_not_end() -> None:
    """CVE-2024-27983 and its kin."""
    talk = Conversation()
    said = talk.says(frame(HEADERS, 0, 1, BLOCK), *[frame(CONTINUATION, 0, 1, field("x", "y" * 16_000))] * 5)
    assert code_of(said) == CALM
    talk = Conversation()
    assert code_of(talk.says(frame(HEADERS, 0, 1, BLOCK), *[frame(CONTINUATION, 0, 1)] * (CONTINUATIONS_MAX + 1))) == CALM


def test_headers_that_unpack_to_much() -> None:
    talk = Conversation()
    bomb = BLOCK + b"\x40" + text("x") + text("y" * 4000) + b"\xbe" * 10_000
    assert code_of(talk.says(frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb))) == ("stream", 11)
    assert code_of(talk.says(request(3))) == ("", 0)


def test_headers_in_numbers() -> None:
    talk = Conversation()
    block = BLOCK + b"".join(field(f"f{each}", "v") for each in range(100))
    assert code_of(talk.says(frame(HEADERS, END_HEADERS, 1, block))) == ("stream", 11)


LIMITS = Limits(body_idle_s=30.0, answer_stall_s=60.0, unary_prefixes=("/etcdserverpb.KV/",))


def swept(talk: Conversation, *at_s: float) -> tuple[str, int]:
    for now_s in at_s:
        talk.connection.sweep(now_s)
    return code_of(talk.heard())


def test_a_unary_call_whose_message_does_not_come() -> None:
    talk = Conversation(lambda call: True, LIMITS)
    talk.says(request(1, UNARY), frame(DATA, 0, 1, b"\0\0"))
    assert swept(talk, 0.0, 29.0) == ("", 0)
    talk.says(frame(DATA, 0, 1, b"\0"))
    assert swept(talk, 30.0, 59.0) == ("", 0), "something came"
    assert swept(talk, 61.0) == ("stream", 8)


def test_a_unary_answer_that_is_not_taken() -> None:
    talk = Conversation(lambda call: call.answer(b"x" * 100) or True, LIMITS)
    talk.says(settings((4, 0)), call())
    assert swept(talk, 0.0, 59.0) == ("", 0)
    talk.says(window_update(1, 10))
    assert swept(talk, 60.0, 119.0) == ("", 0), "something was taken"
    assert swept(talk, 121.0) == ("stream", 8)


def test_a_unary_call_may_wait_for_its_answer_and_a_stream_for_anything() -> None:
    talk = Conversation(lambda call: True, LIMITS)
    talk.says(call(1), request(3, "/etcdserverpb.Watch/Watch"))
    assert swept(talk, 0.0, 1e6) == ("", 0)


def pinged(talk: Conversation, *at_s: float) -> tuple[str, int]:
    said = []
    for now_s in at_s:
        talk.connection.sweep(now_s)
        said += talk.says(frame(PING, 0, 0, bytes(8)))
    return code_of(said)


def test_pings_more_often_than_allowed() -> None:
    """grpc-go's policy: the third strike is the last; whoever is told something may ask."""
    talk = Conversation(limits=Limits(ping_least_s=5.0))
    talk.says(request(1))
    assert pinged(talk, 0.0, 5.0, 10.0, 15.0, 20.0) == ("", 0)
    assert pinged(talk, 21.0, 22.0) == ("", 0)
    talk.served[0].stream.send_head(200, ())
    assert pinged(talk, 23.0, 24.0, 25.0) == ("", 0)
    assert pinged(talk, 26.0) == CALM


def test_pings_of_a_client_that_has_nothing_under_way() -> None:
    talk = Conversation(limits=Limits(ping_least_s=5.0))
    assert pinged(talk, 0.0, 100.0, 200.0) == ("", 0)
    assert pinged(talk, 300.0) == CALM
