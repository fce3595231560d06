"""Header blocks against the library `hpack`, which is slower and knows all of RFC 7541."""

from hpack import Decoder as LibraryDecoder
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.http.hpack_codec import Decoder, encode

names = st.sampled_from([":method", ":path", "content-type", "te", "grpc-timeout", "x", "authorization"]) | st.text("abc-", min_size=1, max_size=150)
values = st.sampled_from(["POST", "/", "application/grpc", "trailers", ""]) | st.text(max_size=300)
blocks = st.lists(st.tuples(names, values, st.booleans()), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(blocks, st.booleans(), st.sampled_from([None, 0, 50, 4096])), max_size=6))
def test_whatever_the_library_encodes_is_read(conversation: list[tuple[list[tuple[str, str, bool]], bool, int | None]]) -> None:
    encoder, decoder = Encoder(), Decoder(1 << 20, 100)
    for fields, huffman, table_bytes in conversation:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        block = encoder.encode([(name, value, sensitive) for name, value, sensitive in fields], huffman=huffman)
        assert decoder.decode(block) == [(name.encode(), value.encode()) for name, value, _ in fields]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(names, values), max_size=8), st.sampled_from([0, 200, 204, 404, 500]))
def test_the_library_reads_what_we_encode(fields: list[tuple[str, str]], status: int) -> None:
    decoder = LibraryDecoder()
    for _ in range(2):  # no table, so that it means the same each time
        read = [(name, value) for name, value in decoder.decode(encode(tuple((name.encode(), value.encode()) for name, value in fields), status))]
        assert read == ([(":status", str(status))] if status else []) + fields


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_garbage_is_read_as_by_the_library(garbage: bytes) -> None:
    ours: object
    theirs: object
    try:
        theirs = [(bytes(name), bytes(value)) for name, value in LibraryDecoder().decode(garbage, raw=True)]
    except Exception:
        theirs = None
    try:
        ours = Decoder(1 << 20, 100).decode(garbage)
    except Exception:
        ours = None
    assert ours == theirs
