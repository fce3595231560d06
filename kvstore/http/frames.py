"""HTTP/2's frames (RFC 9113, 4 and 6), its codes (7) and settings (6.5.2)."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (3.4)."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = range(7, 14)

FRAME_HEAD_BYTES = 9
FRAME_BYTES_LEAST, FRAME_BYTES_MOST = 1 << 14, (1 << 24) - 1
"""Bounds of SETTINGS_MAX_FRAME_SIZE; the least is what holds before anybody says something else, and what we stay with."""
WINDOW_FIRST = 65_535
WINDOW_MAX = (1 << 31) - 1
STREAM_MAX = (1 << 31) - 1

HEAD = struct.Struct(">IBI")
"""Length and kind share the first word (length << 8 | kind); then flags, stream."""
WORD = struct.Struct(">I")
SETTING = struct.Struct(">HI")


class ConnectionFault(Exception):
    """The client broke the protocol so that the connection must end (5.4.1)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamFault(Exception):
    """One stream must end; the others go on (5.4.2)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(name, value) for name, value in values.items()))


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, WORD.pack(more))


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, WORD.pack(code))


def goaway(last_stream: int, code: int, text: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, WORD.pack(last_stream) + WORD.pack(code) + text)
