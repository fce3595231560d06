"""The generator's HTTP/2: what it reads out of bytes however they are cut, and what it sends."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from bench.load.generator import shares
from bench.load.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FAILED,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW,
    OK,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ConnectionBroken,
    RequestEncoder,
    ResponseReader,
    frame,
)


def reader(settings: list[dict[int, int]] | None = None) -> ResponseReader:
    return ResponseReader((lambda _: None) if settings is None else settings.append)


def answer(encoder: Encoder, stream: int, status: int) -> bytes:
    head = encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
    trailers = encoder.encode([("grpc-status", str(status)), ("grpc-message", "")])
    return (
        frame(HEADERS, END_HEADERS, stream, head)
        + frame(DATA, 0, stream, b"\0\0\0\0\x01x")
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers)
    )


@given(st.lists(st.sampled_from([0, 0, 0, 5, 14]), min_size=1, max_size=8), st.data())
def test_outcomes_are_read_however_the_bytes_are_cut(statuses: list[int], data: st.DataObject) -> None:
    encoder = Encoder()
    streams = [2 * at + 1 for at in range(len(statuses))]
    sent = b"".join(answer(encoder, stream, status) for stream, status in zip(streams, statuses, strict=True))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    under_test = reader()
    for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        under_test.feed(sent[start:stop])
    assert under_test.ended == list(zip(streams, statuses, strict=True))


def test_a_known_block_is_not_trusted_after_the_table_changed() -> None:
    """The same index bytes mean another field once something was entered before it."""
    encoder = Encoder()
    under_test = reader()
    blocks = [encoder.encode([("grpc-status", "0")]), encoder.encode([("grpc-status", "0")])]
    blocks += [encoder.encode([("grpc-status", "5")]), encoder.encode([("grpc-status", "5")])]
    assert blocks[1] == blocks[3], "index 62: the newest entry"
    for at, block in enumerate(blocks):
        under_test.feed(frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, block))
    assert [outcome for _, outcome in under_test.ended] == [0, 0, 5, 5]


def test_answers_that_are_no_grpc_are_failures() -> None:
    under_test = reader()
    under_test.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, Encoder().encode([(":status", "404")])))
    under_test.feed(frame(RST_STREAM, 0, 3, b"\0\0\0\x07"))
    under_test.feed(frame(DATA, END_STREAM, 5, b""))
    assert under_test.ended == [(1, FAILED), (3, FAILED), (5, FAILED)]


def test_what_the_protocol_owes() -> None:
    settings: list[dict[int, int]] = []
    under_test = reader(settings)
    under_test.feed(frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64") + frame(PING, 0, 0, b"12345678") + frame(SETTINGS, ACK, 0))
    assert settings == [{3: 100}]
    assert under_test.to_send == [frame(SETTINGS, ACK, 0), frame(PING, ACK, 0, b"12345678")]
    under_test.feed(frame(WINDOW_UPDATE, 0, 0, b"\0\0\x01\0") + frame(WINDOW_UPDATE, 0, 9, b"\0\0\x01\0"))
    assert under_test.send_window == INITIAL_WINDOW + 256


def test_a_good_bye_is_an_error() -> None:
    with pytest.raises(ConnectionBroken, match=r"code 11.*too many pings"):
        reader().feed(frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x0btoo many pings"))


@pytest.mark.parametrize("table_bytes", [None, 0, 4096])
def test_every_request_carries_the_same_headers_and_its_message(table_bytes: int | None) -> None:
    encoder = RequestEncoder(["/etcdserverpb.KV/Put"], "localhost:2379", "http")
    decoder = Decoder()
    if table_bytes is not None:
        encoder.limit_table(table_bytes)
        decoder.max_allowed_table_size = table_bytes
    for expected_stream in (1, 3, 5):
        stream, sent = encoder.request("/etcdserverpb.KV/Put", b"message")
        size = int.from_bytes(sent[:3])
        fields = dict(decoder.decode(sent[9 : 9 + size]))
        assert stream == expected_stream
        assert fields[":path"] == "/etcdserverpb.KV/Put"
        assert fields["te"] == "trailers"
        assert sent[9 + size :] == frame(DATA, END_STREAM, stream, b"\0\0\0\0\x07message")


def test_several_paths_share_a_connection() -> None:
    paths = ["/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put"]
    encoder, decoder = RequestEncoder(paths, "localhost:2379", "http"), Decoder()
    for path in [paths[1], paths[0], paths[0], paths[1]]:
        _, sent = encoder.request(path, b"message")
        assert dict(decoder.decode(sent[9 : 9 + int.from_bytes(sent[:3])]))[":path"] == path


@given(st.integers(1, 500), st.integers(1, 50))
def test_shares_are_even_and_complete(whole: int, parts: int) -> None:
    split = shares(whole, parts)
    assert sum(split) == whole
    assert min(split) >= 1
    assert max(split) - min(split) <= 1
    assert len(split) == min(whole, parts)


def test_ok_is_what_grpc_calls_ok() -> None:
    assert OK == 0
