"""SPDY/3.1 frames: bytes in, frames out, and back. No sockets (draft-mbelshe-httpbis-spdy-00; what clients speak is moby/spdystream).

Two things are as spdystream does them: there is no flow control (WINDOW_UPDATE is neither sent nor heeded), and a data frame is handed on in the
pieces in which it comes, for its writer may put any amount of bytes into one.
"""

import struct
import zlib
from collections.abc import Mapping
from enum import IntEnum

from msgspec import Struct

CONTROL_BYTES_MAX = 1 << 16
"""A control frame is a few headers; a longer one is a mistake or an attack."""
HEADERS_BYTES_MAX = 1 << 16
"""Headers after decompression."""
DATA_BYTES_MAX = 1 << 15
"""How much of what we write goes into one data frame."""

_VERSION = 3
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization cache-control "
    "connection content-base content-encoding content-language content-length content-location content-md5 content-range content-type date etag "
    "expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning "
    "www-authenticate method get status"
)
_MORE_WORDS = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No "
    "Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented5"
    "03 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text"
    "/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,def"
    "late,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in (*_WORDS.split(), *_MORE_WORDS)) + _REST.encode()
"""What both sides' compression knows before the first byte (section 2.6.10.1); its Adler-32 is 0xe3c6a7c2."""


class Type(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Reset(IntEnum):
    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    INTERNAL_ERROR = 6
    STREAM_ALREADY_CLOSED = 9


FIN = 0x01
Headers = Mapping[str, str]
"""Names in lower case."""


class Malformed(ValueError):
    """Bytes that are no SPDY/3.1: the connection cannot be read any further, for the state of its compression is lost."""


class SynStream(Struct, frozen=True):
    stream: int
    headers: Headers
    fin: bool = False
    priority: int = 0


class SynReply(Struct, frozen=True):
    stream: int
    headers: Headers
    fin: bool = False


class MoreHeaders(Struct, frozen=True):
    stream: int
    headers: Headers
    fin: bool = False


class RstStream(Struct, frozen=True):
    stream: int
    status: int


class Ping(Struct, frozen=True):
    id: int


class GoAway(Struct, frozen=True):
    last_stream: int
    status: int = 0


class Data(Struct, frozen=True):
    """A piece of a data frame; `fin` only at the last piece of a frame that says so."""

    stream: int
    data: bytes
    fin: bool = False


Frame = SynStream | SynReply | MoreHeaders | RstStream | Ping | GoAway | Data


class Decoder:
    """The receiving half of one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._data: tuple[int, bool, int] | None = None
        """The data frame that is being received: stream, fin, bytes still to come."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. Raises Malformed."""
        self._buffer += data
        frames: list[Frame] = []
        while (step := self._data_piece() if self._data else self._next()) is not None:
            frames.extend(step)
        return frames

    def _next(self) -> list[Frame] | None:
        """The next control frame, or the beginning of a data frame; None: more bytes are needed; empty: a frame that means nothing to us."""
        buffer = self._buffer
        if len(buffer) < 8:
            return None
        first, second = struct.unpack_from(">II", buffer)
        flags, length = second >> 24, second & 0xFFFFFF
        if not first >> 31:
            if first == 0:
                raise Malformed("a data frame for stream 0")
            del buffer[:8]
            self._data = (first, bool(flags & FIN), length)
            return []
        if length > CONTROL_BYTES_MAX:
            raise Malformed(f"a control frame of {length} bytes: at most {CONTROL_BYTES_MAX}")
        if len(buffer) < 8 + length:
            return None
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        body = bytes(buffer[8 : 8 + length])
        del buffer[: 8 + length]
        if version != _VERSION:
            raise Malformed(f"a frame of SPDY version {version}: version {_VERSION} is spoken here")
        frame = self._control(kind, bool(flags & FIN), body)
        return [frame] if frame is not None else []

    def _data_piece(self) -> list[Frame] | None:
        assert self._data is not None
        stream, fin, left = self._data
        if left and not self._buffer:
            return None
        piece = bytes(self._buffer[:left])
        del self._buffer[:left]
        left -= len(piece)
        self._data = (stream, fin, left) if left else None
        return [Data(stream, piece, fin and not left)]

    def _control(self, kind: int, fin: bool, body: bytes) -> Frame | None:
        try:
            if kind == Type.SYN_STREAM:
                stream, _, priority, _ = struct.unpack_from(">IIBB", body)
                return SynStream(_id(stream), self._headers(body[10:]), fin, priority >> 5)
            if kind == Type.SYN_REPLY:
                return SynReply(_id(struct.unpack_from(">I", body)[0]), self._headers(body[4:]), fin)
            if kind == Type.HEADERS:
                return MoreHeaders(_id(struct.unpack_from(">I", body)[0]), self._headers(body[4:]), fin)
            if kind == Type.RST_STREAM:
                stream, status = struct.unpack(">II", body)
                return RstStream(_id(stream), status)
            if kind == Type.PING:
                return Ping(struct.unpack(">I", body)[0])
            if kind == Type.GOAWAY:
                return GoAway(*struct.unpack(">II", body))
        except struct.error:
            raise Malformed(f"a control frame of type {kind} with {len(body)} bytes") from None
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            raw = self._inflate.decompress(block, HEADERS_BYTES_MAX + 1)
        except zlib.error as error:
            raise Malformed(f"headers that cannot be decompressed: {error}") from None
        if len(raw) > HEADERS_BYTES_MAX or self._inflate.unconsumed_tail:
            raise Malformed(f"headers of more than {HEADERS_BYTES_MAX} bytes")
        found: dict[str, str] = {}
        at = 4
        (count,) = struct.unpack_from(">I", raw)
        for _ in range(min(count, len(raw) // 8 + 1)):
            name, at = _text(raw, at)
            found[name.lower()], at = _text(raw, at)
        if at != len(raw) or len(found) != count:
            raise Malformed("headers whose lengths do not add up")
        return found


class Encoder:
    """The sending half. Frames must go out in the order in which they were encoded: their headers share one compression."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        if isinstance(frame, Data):
            assert len(frame.data) < 1 << 24, "writers split what they send"
            return struct.pack(">II", frame.stream, (FIN if frame.fin else 0) << 24 | len(frame.data)) + frame.data
        if isinstance(frame, SynStream):
            body = struct.pack(">IIBB", frame.stream, 0, frame.priority << 5, 0) + self._block(frame.headers)
            return _framed(Type.SYN_STREAM, frame.fin, body)
        if isinstance(frame, SynReply | MoreHeaders):
            kind = Type.SYN_REPLY if isinstance(frame, SynReply) else Type.HEADERS
            return _framed(kind, frame.fin, struct.pack(">I", frame.stream) + self._block(frame.headers))
        if isinstance(frame, RstStream):
            return _framed(Type.RST_STREAM, False, struct.pack(">II", frame.stream, frame.status))
        if isinstance(frame, Ping):
            return _framed(Type.PING, False, struct.pack(">I", frame.id))
        return _framed(Type.GOAWAY, False, struct.pack(">II", frame.last_stream, frame.status))

    def _block(self, headers: Headers) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                parts += [struct.pack(">I", len(text)), text]
        return self._deflate.compress(b"".join(parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _framed(kind: Type, fin: bool, body: bytes) -> bytes:
    return struct.pack(">II", 1 << 31 | _VERSION << 16 | kind, (FIN if fin else 0) << 24 | len(body)) + body


def _id(stream: int) -> int:
    if not 0 < stream < 1 << 31:
        raise Malformed(f"stream {stream}")
    return stream


def _text(raw: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", raw, at)
    end = at + 4 + length
    if end > len(raw):
        raise Malformed("headers whose lengths do not add up")
    return raw[at + 4 : end].decode("latin-1"), end
