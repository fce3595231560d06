"""The codec: what is encoded is decoded, in whatever pieces it comes; nonsense is refused and never a crash."""

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.streams.spdy import (
    CONTROL_BYTES_MAX,
    DICTIONARY,
    Data,
    Decoder,
    Encoder,
    GoAway,
    Malformed,
    MoreHeaders,
    Ping,
    RstStream,
    SynReply,
    SynStream,
)

STREAMS = st.integers(1, 2**31 - 1)
HEADERS = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20),
    st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=50),
    max_size=5,
)
FRAMES = st.one_of(
    st.builds(SynStream, STREAMS, HEADERS, st.booleans(), st.integers(0, 7)),
    st.builds(SynReply, STREAMS, HEADERS, st.booleans()),
    st.builds(MoreHeaders, STREAMS, HEADERS, st.booleans()),
    st.builds(RstStream, STREAMS, st.integers(1, 11)),
    st.builds(Ping, st.integers(0, 2**32 - 1)),
    st.builds(GoAway, st.integers(0, 2**31 - 1), st.integers(0, 2)),
    st.builds(Data, STREAMS, st.binary(max_size=100), st.booleans()),
)


def whole(frames):
    """Data frames put together again, for a decoder hands them on as they come."""
    joined = []
    for frame in frames:
        if joined and isinstance(frame, Data) and isinstance(joined[-1], Data) and not joined[-1].fin and frame.stream == joined[-1].stream:
            joined[-1] = Data(frame.stream, joined[-1].data + frame.data, frame.fin)
        else:
            joined.append(frame)
    return joined


def test_the_dictionary_is_the_one_of_the_specification():
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(1, 40), max_size=30))
def test_what_is_encoded_is_decoded_in_any_pieces(frames, cuts):
    encoder, decoder = Encoder(), Decoder()
    raw = b"".join(encoder.encode(frame) for frame in frames)
    decoded = []
    for cut in cuts:
        decoded += decoder.feed(raw[:cut])
        raw = raw[cut:]
    decoded += decoder.feed(raw)
    assert whole(decoded) == whole(frames)


@given(st.binary(max_size=200))
def test_nonsense_is_malformed_or_nothing(raw):
    with suppress(Malformed):
        Decoder().feed(raw)


def test_a_data_frame_is_handed_on_as_it_comes():
    decoder = Decoder()
    head = struct.pack(">II", 1, 1 << 24 | 6)
    assert decoder.feed(head) == []
    assert decoder.feed(b"abc") == [Data(1, b"abc")]
    assert decoder.feed(b"def") == [Data(1, b"def", True)]


def test_settings_are_passed_over():
    assert Decoder().feed(struct.pack(">HHI", 0x8003, 4, 4) + bytes(4)) == []


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (struct.pack(">HHI", 0x8002, 1, 0), "version 2"),
        (struct.pack(">HHI", 0x8003, 1, CONTROL_BYTES_MAX + 1), "at most"),
        (struct.pack(">II", 0, 0), "stream 0"),
        (struct.pack(">HHI", 0x8003, 3, 2) + b"xx", "type 3"),
        (struct.pack(">HHIIIH", 0x8003, 1, 15, 1, 0, 0) + b"nozip", "decompressed"),
        (struct.pack(">HHIII", 0x8003, 3, 8, 0, 1), "stream 0"),
    ],
)
def test_what_is_refused(raw, why):
    with pytest.raises(Malformed, match=why):
        Decoder().feed(raw)


def test_headers_that_grow_without_end_are_refused():
    packer = zlib.compressobj(zdict=DICTIONARY)
    block = packer.compress(struct.pack(">II", 1, 1) + b"a" + struct.pack(">I", 10**7) + bytes(10**7)) + packer.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(Malformed, match="more than"):
        Decoder().feed(struct.pack(">HHIIIH", 0x8003, 1, 10 + len(block), 1, 0, 0) + block)
