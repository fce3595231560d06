"""Frames between members, sans-IO: 4 bytes length, 4 bytes CRC-32 of the payload, payload (msgpack).

Both numbers big-endian. The first frame in each direction is a greeting (`handshake.py`), the rest are messages from dialler to listener. A frame
of another checksum, an impossible length or a payload that is not exactly a known message ends the connection: what comes from a peer is
checked as strictly as what comes from a stranger.
"""

from collections.abc import Iterator
from struct import Struct as Packed
from zlib import crc32

import msgspec

from kvstore.raft.messages import AnyMessage, Message

FRAME_BYTES_MAX = 16 << 20
"""The largest message: an append of 1 MiB, or one entry of the largest request that a server may be set to take."""

_HEADER = Packed(">II").unpack_from
HEADER_BYTES = 8

PING = b"\xc1"
"""First byte of a payload that is no message but asks for itself to be sent back, to measure the round trip: msgpack never uses this byte."""
PING_BYTES = 9


def ping(number: int) -> bytes:
    """A whole frame; `number` is the sender's own for telling answers apart."""
    return frame(PING + number.to_bytes(8, "big"))


def is_ping(payload: bytes) -> bool:
    return len(payload) == PING_BYTES and payload[:1] == PING


def ping_number(payload: bytes) -> int:
    return int.from_bytes(payload[1:], "big")


class BadFrame(Exception):
    """What came is not of our protocol."""


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + crc32(payload).to_bytes(4, "big") + payload


class FrameReader:
    """Bytes in as they come, whole payloads out."""

    def __init__(self, payload_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.payload_bytes_max = payload_bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises BadFrame; nothing after that is to be trusted."""
        buffer = self._buffer
        if buffer:
            buffer += data
        # Frames that came whole, as nearly all do, are cut out of what came.
        source = buffer or data
        at, held = 0, len(source)
        while held - at >= HEADER_BYTES:
            size, checksum = _HEADER(source, at)
            if size > self.payload_bytes_max:
                raise BadFrame(f"a frame of {size} bytes; at most {self.payload_bytes_max} are taken")
            end = at + HEADER_BYTES + size
            if held < end:
                break
            payload = bytes(source[at + HEADER_BYTES : end])
            if crc32(payload) != checksum:
                raise BadFrame("a frame's checksum does not fit its payload")
            at = end
            yield payload
        if source is buffer:
            del buffer[:at]
        else:
            buffer += data[at:]


class MessageCodec:
    """Messages to payloads and back. `kinds` is the union of message types (Raft's, and whatever else members say)."""

    def __init__(self, kinds: object = AnyMessage) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(kinds)

    def encode(self, message: Message) -> bytes:
        """A whole frame."""
        return frame(self._encode(message))

    def decode(self, payload: bytes) -> Message:
        """Raises BadFrame for anything that is not exactly a message."""
        try:
            return self._decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise BadFrame(f"not a message that we know: {error}") from error
