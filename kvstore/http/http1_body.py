"""Bodies of HTTP/1.1 requests (RFC 9112, 6 and 7): each takes what is its own from the front of a connection's buffer. No event loop."""

import re

from kvstore.http.http1_head import Refusal

CHUNK_LINE_BYTES_MAX = 1 << 10
"""Of a chunk's size with its extensions."""
TRAILER_BYTES_MAX = 8 << 10
OVERHEAD_BYTES_MAX = 16 << 20
"""Of all sizes and extensions of one body, so that a body of one-byte chunks ends somewhere, too; a body of 2 MiB in them has 10."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?").fullmatch
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*").fullmatch


class NoBody:
    done = True

    def take(self, _buffer: bytearray) -> bytes:
        return b""


class SizedBody:
    """As long as Content-Length says."""

    def __init__(self, size: int) -> None:
        self._left = size

    @property
    def done(self) -> bool:
        return self._left == 0

    def take(self, buffer: bytearray) -> bytes:
        """The next of the content, b"" if nothing of it has come."""
        content = bytes(buffer[: self._left])
        del buffer[: self._left]
        self._left -= len(content)
        return content


class ChunkedBody:
    """In chunks, each with its size; the fields behind the last are read and thrown away, as a server may (RFC 9110, 6.5.1)."""

    def __init__(self, bytes_max: int) -> None:
        self.done = False
        self._room = bytes_max
        self._overhead = 0
        self._left: int | None = None
        """Of the chunk under way, its end of line included; None between chunks."""
        self._trailer_bytes: int | None = None
        """Of the fields behind the last chunk, once that has come."""

    def take(self, buffer: bytearray) -> bytes:
        """Raises Refusal: 400 for what is not in the form of chunks, 413 for more than there may be."""
        parts: list[bytes] = []
        at = 0
        while not self.done:
            end = self._step(buffer, at, parts)
            if end == at and not self.done:
                break
            at = end
        del buffer[:at]
        return b"".join(parts)

    def _step(self, buffer: bytearray, at: int, parts: list[bytes]) -> int:
        """Behind what could be read from `at` on."""
        if self._trailer_bytes is not None:
            return self._trailer(buffer, at)
        if self._left is None:
            return self._size(buffer, at)
        return self._content(buffer, at, parts)

    def _size(self, buffer: bytearray, at: int) -> int:
        line, behind = _line(buffer, at, CHUNK_LINE_BYTES_MAX)
        if line is None:
            return at
        found = _SIZE(line)
        if found is None:
            raise Refusal(400, "malformed size of a chunk")
        size = int(found[1], 16)
        self._room -= size
        self._overhead += len(line)
        if self._room < 0 or self._overhead > OVERHEAD_BYTES_MAX:
            raise Refusal(413, "request body too large")
        if size:
            self._left = size + 2
        else:
            self._trailer_bytes = 0
        return behind

    def _content(self, buffer: bytearray, at: int, parts: list[bytes]) -> int:
        assert self._left is not None
        if self._left > 2:
            content = bytes(buffer[at : at + self._left - 2])
            if content:
                parts.append(content)
            self._left -= len(content)
            at += len(content)
        if self._left == 2:
            end = bytes(buffer[at : at + 2])
            if not b"\r\n".startswith(end):
                raise Refusal(400, "a chunk that is longer than it says")
            if len(end) == 2:
                self._left = None
                return at + 2
        return at

    def _trailer(self, buffer: bytearray, at: int) -> int:
        assert self._trailer_bytes is not None
        line, behind = _line(buffer, at, TRAILER_BYTES_MAX - self._trailer_bytes)
        if line is None:
            return at
        if not line:
            self.done = True
        elif _TRAILER(line) is None:
            raise Refusal(400, "malformed trailer field")
        self._trailer_bytes += behind - at
        return behind


def _line(buffer: bytearray, at: int, bytes_max: int) -> tuple[bytes | None, int]:
    """The line that begins at `at`, and where the next one does; None while it has no end."""
    end = buffer.find(b"\n", at, at + bytes_max)
    if end < 0:
        if len(buffer) - at >= bytes_max:
            raise Refusal(400, "a line of a chunked body that is too long")
        return None, at
    if end == at or buffer[end - 1] != 0x0D:
        raise Refusal(400, "a line that does not end in CR LF")
    return bytes(buffer[at : end - 1]), end + 1
