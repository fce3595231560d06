"""The least of HTTP/2 (RFC 9113) that a unary gRPC client needs, made for speed: frames by hand, headers encoded once.

Every request of a connection has the same headers, so from the second one on they are a few index bytes (RFC 7541): a request is one
concatenation. Of an answer only three things are read: that its stream ended, its grpc-status, and flow control. Header
blocks seen before are looked up by their bytes, which is right as long as the block does not change the decoder's table (then the table
of known blocks is forgotten).
"""

import struct
from collections.abc import Callable, Sequence

from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED, PRIORITY = 0x8, 0x20
INITIAL_WINDOW = 65_535
WINDOW_MAX = (1 << 31) - 1
FRAME_BYTES_MAX = 16_384
"""What a server takes that says nothing else."""
CREDIT_BYTES = 1 << 29
"""After so much data received, the connection's window is filled up again."""

_HEADER = struct.Struct(">IBI")  # length and type share the first word: length << 8 | type; then flags, stream
_WORD = struct.Struct(">I")
_SETTING = struct.Struct(">HI")

GRPC_PREFIX_BYTES = 5
"""Compression flag and length before each message."""

OK = 0
FAILED = -1
"""Outcome of a request without a grpc-status: stream reset, or an HTTP error."""


class ConnectionBroken(Exception):
    """The server said good-bye or broke the protocol."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _HEADER.pack(len(payload) << 8 | kind, flags, stream) + payload


def opening() -> bytes:
    """What a client sends first: no push, and windows so large that answers never wait for us."""
    settings = _SETTING.pack(0x2, 0) + _SETTING.pack(0x4, WINDOW_MAX)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, _WORD.pack(WINDOW_MAX - INITIAL_WINDOW))


def message_frame(stream: int, message: bytes, flags: int = 0) -> bytes:
    """One gRPC message on a stream."""
    size = len(message)
    return b"".join((_HEADER.pack((size + GRPC_PREFIX_BYTES) << 8, flags, stream), b"\0", _WORD.pack(size), message))


def data_frames(stream: int, data: bytes, *, end: bool = True) -> bytes:
    """Data of a stream, its end by default, in frames as large as every server takes."""
    pieces = [data[at : at + FRAME_BYTES_MAX] for at in range(0, len(data), FRAME_BYTES_MAX)]
    return b"".join(frame(DATA, END_STREAM if end and piece is pieces[-1] else 0, stream, piece) for piece in pieces)


def prefixed(message: bytes) -> bytes:
    """A message as it stands in a gRPC call."""
    return b"\0" + _WORD.pack(len(message)) + message


class RequestEncoder:
    """Requests of one connection as bytes: the same headers but for the path, one message each.

    A lone path is entered into the server's header table like the other fields. Several would move one another in it, so they are sent in full.
    """

    def __init__(self, paths: Sequence[str], authority: str, scheme: str) -> None:
        self._paths = paths
        self._authority, self._scheme = authority, scheme
        self._encoder = Encoder()
        self._next_stream = 1
        self._blocks: dict[str, bytes] = {}

    def limit_table(self, size_bytes: int) -> None:
        """The server's SETTINGS_HEADER_TABLE_SIZE."""
        self._encoder.header_table_size = min(size_bytes, 4096)
        self._blocks = {}

    def call(self, path: str) -> tuple[int, bytes]:
        """Stream id and the frame that begins a call; its messages follow (`message_frame`)."""
        stream = self._next_stream
        self._next_stream = stream + 2
        block = self._blocks.get(path) or self._first_block(path)
        return stream, _HEADER.pack(len(block) << 8 | HEADERS, END_HEADERS, stream) + block

    def request(self, path: str, message: bytes) -> tuple[int, bytes]:
        """Stream id and the frames of one request, whose message fits a frame."""
        block = self._blocks.get(path) or self._first_block(path)
        stream = self._next_stream
        self._next_stream = stream + 2
        size = len(message)
        return stream, b"".join((
            _HEADER.pack(len(block) << 8 | HEADERS, END_HEADERS, stream), block,
            _HEADER.pack((size + GRPC_PREFIX_BYTES) << 8, END_STREAM, stream), b"\0", _WORD.pack(size), message,
        ))  # fmt: skip

    def _first_block(self, path: str) -> bytes:
        """The first encoding enters the fields into the server's table; the second finds them there and is the one to repeat."""
        first = self._encoder.encode(self._fields(path))
        self._blocks = {known: self._encoder.encode(self._fields(known)) for known in self._paths}
        return first

    def _fields(self, path: str) -> list[tuple[str, str] | tuple[str, str, bool]]:
        return [
            (":method", "POST"), (":scheme", self._scheme), (":authority", self._authority),
            (":path", path, len(self._paths) > 1),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ]  # fmt: skip


class ResponseReader:
    """Bytes in; ended streams out, each with its outcome: a grpc-status or FAILED. `on_data` gets what comes on a stream before its end."""

    def __init__(self, on_settings: Callable[[dict[int, int]], None], on_data: Callable[[int, bytes], None] | None = None) -> None:
        self._on_settings = on_settings
        self._on_data = on_data
        self.follows_streams = on_data is not None
        """Whether `stream_credit` is kept; without it nothing larger than a stream's first window can be sent."""
        self._rest = b""
        self._decoder = Decoder()
        self._known: dict[bytes, int | None] = {}
        self._uncredited = 0
        self._fragments = b""
        self._fragments_end = False
        self.ended: list[tuple[int, int]] = []
        """Streams ended since the caller last emptied it."""
        self.to_send: list[bytes] = []
        """Frames that the protocol owes the server."""
        self.send_window = INITIAL_WINDOW
        """Bytes of data that may be sent on the connection; the caller subtracts."""
        self.stream_credit: dict[int, int] = {}
        """Bytes that the server added to what may be sent on a stream."""

    def feed(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        unpack = _HEADER.unpack_from
        ended = self.ended
        while end - at >= 9:
            word, flags, stream = unpack(data, at)
            start = at + 9
            stop = start + (word >> 8)
            if stop > end:
                break
            kind = word & 0xFF
            at = stop
            if kind == HEADERS:
                outcome = self._headers(flags, data[start:stop])
                if flags & END_STREAM and flags & END_HEADERS:
                    ended.append((stream, FAILED if outcome is None else outcome))
            elif kind == DATA:
                self._uncredited += stop - start
                if self._on_data is not None:
                    self._on_data(stream, data[start:stop])
                if flags & END_STREAM:
                    ended.append((stream, FAILED))  # a gRPC answer ends with trailers
            else:
                self._other(kind, flags, stream, data[start:stop])
        self._rest = data[at:] if at < end else b""
        if self._uncredited > CREDIT_BYTES:
            self.to_send.append(frame(WINDOW_UPDATE, 0, 0, _WORD.pack(self._uncredited)))
            self._uncredited = 0

    def _headers(self, flags: int, payload: bytes) -> int | None:
        """The grpc-status in a header block, None if there is none."""
        if flags & (PADDED | PRIORITY):
            padding = payload[0] if flags & PADDED else 0
            payload = payload[(1 if flags & PADDED else 0) + (5 if flags & PRIORITY else 0) : len(payload) - padding]
        if not flags & END_HEADERS:
            self._fragments, self._fragments_end = payload, bool(flags & END_STREAM)
            return None
        known = self._known
        return known[payload] if payload in known else self._decode(payload)

    def _decode(self, block: bytes) -> int | None:
        table = self._decoder.header_table
        before = list(table.dynamic_entries)
        status = None
        for name, value in self._decoder.decode(block):
            if name == "grpc-status":
                status = int(value)
            elif name == ":status" and value != "200":
                status = FAILED
        if list(table.dynamic_entries) != before:
            self._known.clear()
        elif len(self._known) < 1000:
            self._known[block] = status
        return status

    def _other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS:
            if not flags & ACK:
                self._on_settings(dict(_SETTING.iter_unpack(payload)))
                self.to_send.append(frame(SETTINGS, ACK, 0))
        elif kind == PING:
            if not flags & ACK:
                self.to_send.append(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            credit = _WORD.unpack(payload)[0]
            if stream == 0:
                self.send_window += credit
            elif self.follows_streams:
                self.stream_credit[stream] = self.stream_credit.get(stream, 0) + credit
        elif kind == RST_STREAM:
            self.ended.append((stream, FAILED))
        elif kind == CONTINUATION:
            self._fragments += payload
            if flags & END_HEADERS:
                outcome = self._decode(self._fragments)
                if self._fragments_end:
                    self.ended.append((stream, FAILED if outcome is None else outcome))
        elif kind == GOAWAY:
            raise ConnectionBroken(f"GOAWAY with code {_WORD.unpack_from(payload, 4)[0]}: {payload[8:]!r}")
