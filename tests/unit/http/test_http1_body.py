"""Bodies of HTTP/1.1, cut at every place (RFC 9112, 6.2 and 7.1)."""

import pytest

from kvstore.http.http1_body import ChunkedBody, SizedBody
from kvstore.http.http1_head import Refusal

CHUNKS = b'5\r\nhello\r\n00a;name="v";x\r\n, 10 bytes\r\nF \r\nabcdefghijklmno\r\n000\r\nX-Trailer: a\r\ny:\r\n\r\n'
CONTENT = b"hello, 10 bytesabcdefghijklmno"


def read(body: ChunkedBody | SizedBody, *parts: bytes) -> tuple[bytes, bytes]:
    """What it took, and what was left for others."""
    buffer, content = bytearray(), b""
    for part in parts:
        buffer += part
        content += body.take(buffer)
    return content, bytes(buffer)


@pytest.mark.parametrize("at", range(len(CHUNKS) + 1))
def test_chunks_cut_in_two(at: int) -> None:
    body = ChunkedBody(100)
    assert read(body, CHUNKS[:at], CHUNKS[at:] + b"GET") == (CONTENT, b"GET")
    assert body.done


def test_chunks_byte_by_byte() -> None:
    body = ChunkedBody(100)
    assert read(body, *[CHUNKS[at : at + 1] for at in range(len(CHUNKS))]) == (CONTENT, b"")
    assert body.done


@pytest.mark.parametrize("size", range(len(CHUNKS)))
def test_a_body_that_is_not_whole_is_not_done(size: int) -> None:
    body = ChunkedBody(100)
    read(body, CHUNKS[:size])
    assert not body.done


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\nhello\r\n",
        b"5\r\nhello\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\r0",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5_0\r\n",
        b"\r\n",
        b"g\r\n",
        b" 5\r\nhello\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5;\0\r\nhello\r\n",
        b"000000005\r\nhello\r\n",
        b"fffffffff\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\n\n",
        b"5;" + b"x" * 2000,
        b"0\r\n" + b"X: " + b"y" * 10_000,
        b"0\r\n" + b"X: y\r\n" * 2_000,
    ],
)
def test_what_is_no_chunk(chunks: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        read(ChunkedBody(1 << 40), chunks)
    assert refused.value.status == 400
    with pytest.raises(Refusal):
        read(ChunkedBody(1 << 40), *[chunks[at : at + 1] for at in range(len(chunks))])


def test_more_than_there_may_be() -> None:
    body = ChunkedBody(9)
    assert read(body, b"5\r\nhello\r\n") == (b"hello", b"")
    with pytest.raises(Refusal) as refused:
        read(body, b"5\r\n")
    assert refused.value.status == 413


def test_a_body_of_known_size_takes_that_and_no_more() -> None:
    for at in range(6):
        body = SizedBody(5)
        assert read(body, b"hello"[:at], b"hello"[at:] + b"GET /") == (b"hello", b"GET /")
        assert body.done
