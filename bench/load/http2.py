"""The least of HTTP/2 (RFC 9113) that a unary gRPC client needs, made for speed: frames by hand, headers encoded once.

Every request of a connection has the same headers, so from the second one on they are a few index bytes (RFC 7541): a request is one
concatenation. Of an answer only three things are read: that its stream ended, its grpc-status, and flow control. Header
blocks seen before are looked up by their bytes, which is right as long as the block does not change the decoder's table (then the table
of known blocks is forgotten).
"""

import struct
from collections.abc import Callable

from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED, PRIORITY = 0x8, 0x20
INITIAL_WINDOW = 65_535
WINDOW_MAX = (1 << 31) - 1
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


class RequestEncoder:
    """Requests of one connection as bytes: the same path and headers, one message each."""

    def __init__(self, path: str, authority: str, scheme: str) -> None:
        self._fields = [
            (":method", "POST"), (":scheme", scheme), (":path", path), (":authority", authority),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ]  # fmt: skip
        self._encoder = Encoder()
        self._next_stream = 1
        self._block = b""

    def limit_table(self, size_bytes: int) -> None:
        """The server's SETTINGS_HEADER_TABLE_SIZE."""
        self._encoder.header_table_size = min(size_bytes, 4096)
        self._block = b""

    def request(self, message: bytes) -> tuple[int, bytes]:
        """Stream id and the frames of one request."""
        stream = self._next_stream
        self._next_stream = stream + 2
        block = self._block
        if not block:
            # The first encoding enters the fields into the server's table; the second finds them there and is the one to repeat.
            block = self._encoder.encode(self._fields)
            self._block = self._encoder.encode(self._fields)
        size = len(message)
        return stream, b"".join((
            _HEADER.pack(len(block) << 8 | HEADERS, END_HEADERS, stream), block,
            _HEADER.pack((size + GRPC_PREFIX_BYTES) << 8, END_STREAM, stream), b"\0", _WORD.pack(size), message,
        ))  # fmt: skip


class ResponseReader:
    """Bytes in; ended streams out, each with its outcome: a grpc-status or FAILED."""

    def __init__(self, on_settings: Callable[[dict[int, int]], None]) -> None:
        self._on_settings = on_settings
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
            # Windows of single streams are larger than any request here.
            if stream == 0:
                self.send_window += _WORD.unpack(payload)[0]
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
