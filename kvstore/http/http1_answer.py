"""How answers of HTTP/1.1 begin (RFC 9112, 4 and 5): status line and header fields, without date and without a server's name."""

from collections.abc import Iterable
from http import HTTPStatus

from kvstore.http.http1_head import Header

CLOSE: Header = (b"connection", b"close")
KEEP_ALIVE: Header = (b"connection", b"keep-alive")
CHUNKED: Header = (b"transfer-encoding", b"chunked")

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})

BEGINNINGS_MAX = 256
_beginnings: dict[tuple[int, tuple[Header, ...]], bytes] = {}


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def beginning(status: int, headers: Iterable[Header]) -> bytes:
    """Without the empty line at its end. How an answer is framed is for the server to say: an application's fields about it are left out. Raises
    ValueError for fields that would be two."""
    lines = [b"HTTP/1.1 %d %b" % (status, phrase(status).encode())]
    lines += [b"%b: %b" % field for field in headers if field[0].lower() not in _FRAMING]
    block = b"\r\n".join(lines) + b"\r\n"
    if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines) or b"\0" in block:
        raise ValueError("a header field with a line's end in it")
    return block


def remembered_beginning(status: int, headers: tuple[Header, ...]) -> bytes:
    """The same for who has few of them."""
    found = _beginnings.get((status, headers))
    if found is None:
        if len(_beginnings) >= BEGINNINGS_MAX:
            _beginnings.clear()
        found = _beginnings[status, headers] = beginning(status, headers)
    return found


def field(header: Header) -> bytes:
    return b"%b: %b\r\n" % header


def sized(size: int) -> bytes:
    return b"content-length: %d\r\n" % size


def refusal(status: int, text: str) -> bytes:
    """A whole answer, the last of its connection."""
    body = f"{status} {phrase(status)}: {text}\n".encode()
    return beginning(status, [(b"content-type", b"text/plain; charset=utf-8")]) + field(CLOSE) + sized(len(body)) + b"\r\n" + body
