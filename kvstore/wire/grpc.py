"""gRPC over HTTP/2, the part above frames: message prefixes, time-outs, trailers (gRPC, PROTOCOL-HTTP2). Bytes in, messages out."""

import zlib
from collections.abc import Iterator, Sequence

from kvstore.wire.status import Code, RpcError

PREFIX_BYTES = 5
"""One byte "compressed", four bytes length, big-endian."""

Headers = Sequence[tuple[bytes, bytes]]

_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def prefixed(message: bytes) -> bytes:
    """A message as it goes out; never compressed."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def too_large(size: int, size_max: int) -> RpcError:
    return RpcError(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {size_max})")


def header(headers: Headers, name: bytes) -> bytes | None:
    for known, value in headers:
        if known == name:
            return value
    return None


def timeout_s(value: bytes) -> float:
    """Seconds of a grpc-timeout header. Raises RpcError."""
    digits, unit = value[:-1], _UNITS_S.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > 8:
        raise RpcError(Code.INTERNAL, f"malformed grpc-timeout: {value!r}")
    return int(digits) * unit


def decompressed(flag: int, encoding: bytes | None, data: bytes, size_max: int) -> bytes:
    """A message whose compressed flag is not 0. Raises RpcError, and never inflates beyond `size_max`."""
    if flag != 1:
        raise RpcError(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
    if encoding != b"gzip":
        raise RpcError(Code.UNIMPLEMENTED, f'grpc: Decompressor is not installed for grpc-encoding "{(encoding or b"").decode(errors="replace")}"')
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        message = inflater.decompress(data, size_max + 1)
    except zlib.error as error:
        raise RpcError(Code.INTERNAL, f"grpc: failed to decompress the received message: {error}") from error
    if len(message) > size_max:
        raise too_large(len(message), size_max)
    if not inflater.eof:
        raise RpcError(Code.INTERNAL, "grpc: failed to decompress the received message: unexpected EOF")
    return message


class MessageReader:
    """Messages out of the bytes of a request body, however they are cut."""

    def __init__(self, size_max: int, encoding: bytes | None = None) -> None:
        self._size_max = size_max
        self._encoding = encoding
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises RpcError; a length beyond the limit is refused before its bytes are collected."""
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while len(buffer) - at >= PREFIX_BYTES:
            compressed, size = buffer[at], int.from_bytes(buffer[at + 1 : at + PREFIX_BYTES], "big")
            if size > self._size_max:
                raise too_large(size, self._size_max)
            end = at + PREFIX_BYTES + size
            if len(buffer) < end:
                break
            message = buffer[at + PREFIX_BYTES : end]
            at = end
            yield decompressed(compressed, self._encoding, message, self._size_max) if compressed else message
        self._buffer = buffer[at:] if at else buffer

    @property
    def held_bytes(self) -> int:
        """Of an unfinished message."""
        return len(self._buffer)

    @property
    def incomplete(self) -> bool:
        """Bytes of an unfinished message are left."""
        return bool(self._buffer)


def percent_encoded(text: str) -> bytes:
    """grpc-message: everything outside of printable ASCII, and the percent sign, as %XX."""
    out = bytearray()
    for byte in text.encode():
        if 0x20 <= byte <= 0x7E and byte != 0x25:
            out.append(byte)
        else:
            out += b"%%%02X" % byte
    return bytes(out)


def trailers(code: Code, text: str = "") -> list[tuple[bytes, bytes]]:
    fields = [(b"grpc-status", b"%d" % code)]
    if text:
        fields.append((b"grpc-message", percent_encoded(text)))
    return fields
