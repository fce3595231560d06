"""HTTP/2 frames made by hand, for clients that break its rules or only its spirit."""

import socket
import struct
from collections.abc import Sequence

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW = 4
"""The setting: how much may be sent on a stream before its receiver says that there is room."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def text(value: str) -> bytes:
    """A string of HPACK without Huffman (RFC 7541, 5.2)."""
    raw = value.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, out = len(raw) - 127, b"\x7f"
    while rest >= 128:
        out += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return out + bytes([rest]) + raw


def field(name: str, value: str) -> bytes:
    """Literal, not indexed (RFC 7541, 6.2.2)."""
    return b"\0" + text(name) + text(value)


def request_block(path: str, **headers: str) -> bytes:
    """The headers of a gRPC call, and some in their place or beside them (content_type is content-type)."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "content-type": "application/grpc", "te": "trailers"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return b"".join(field(name, value) for name, value in fields.items())


def message(payload: bytes) -> bytes:
    """With gRPC's prefix."""
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def opening(settings: Sequence[tuple[int, int]] = ()) -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", name, value) for name, value in settings))


def connect(port: int, settings: Sequence[tuple[int, int]] = (), timeout_s: float = 5) -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", port), timeout_s)
    wire.sendall(opening(settings))
    return wire
