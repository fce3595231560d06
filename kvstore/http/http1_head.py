"""Heads of HTTP/1.1 requests (RFC 9112, 2 to 5; RFC 9110, 5): bytes in, one record out, or a refusal with the status that says why.

Read strictly, because two readers of one text who understand it differently are how requests are smuggled: a line ends in CR LF and nothing else,
a name is a token that the colon follows at once, no line goes on in the next, no field says twice how long the body is.

Clients send the same head again and again, so heads are remembered by their bytes: a known one costs one look into a table.
"""

import functools
import re
from typing import Any
from urllib.parse import unquote

Header = tuple[bytes, bytes]

REMEMBERED_BYTES_MAX = 1 << 10
REMEMBERED_MAX = 1 << 10
"""Heads of at most that many bytes, and so many of them: 2 MB."""

LENGTH_DIGITS_MAX = 18

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/([0-9])\.([0-9])").fullmatch
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
_DIGITS = re.compile(rb"[0-9]+").fullmatch
_HOST = re.compile(rb"[!$%&'()*+,\-.0-9:;=A-Z\[\]_a-z~]*").fullmatch
"""RFC 3986's characters of a host and a port."""
_ABSOLUTE = re.compile(rb"(?:[Hh][Tt][Tt][Pp][Ss]?)://([^/?#]+)(.*)").fullmatch


class Refusal(Exception):
    """What the client sent is not understood or not wanted; after the answer nothing more is read from this connection."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Head:
    """A request's head. Equal heads may share one object."""

    __slots__ = ("chunked", "content_length", "expects_continue", "headers", "keep_alive", "memo", "method", "path", "query", "raw_path", "version")

    def __init__(self, method: str, target: bytes, version: str, headers: tuple[Header, ...]) -> None:
        self.method = method
        self.version = version
        """"1.1" or "1.0"."""
        self.raw_path, _, self.query = target.partition(b"?")
        text = self.raw_path.decode("ascii")
        self.path = unquote(text) if "%" in text else text
        """Percent-decoded, without the query."""
        self.headers = headers
        """Names in small letters, values without blanks around them."""
        self.content_length = 0
        """Of the body; 0 if it is chunked, too."""
        self.chunked = False
        self.keep_alive = version == "1.1"
        self.expects_continue = False
        self.memo: tuple[object, Any] | None = None
        """What an application derived from this head, behind the application itself: several may see one object."""


def parse(block: bytes) -> Head:
    """The head that `block` is, its empty last line included. Raises Refusal."""
    return _remembered(block) if len(block) <= REMEMBERED_BYTES_MAX else _parse(block)


def _parse(block: bytes) -> Head:
    assert block.endswith(b"\r\n\r\n"), "a head has its end"
    lines = block[:-4].split(b"\r\n")
    method, target, version = _request_line(lines[0])
    headers = tuple([_field(line) for line in lines[1:]])
    host = [value for name, value in headers if name == b"host"]
    absolute = _ABSOLUTE(target)
    if absolute is not None:
        # The host of the target counts, whatever the field says (RFC 9112, 3.2.2).
        rest = absolute[2]
        target = rest if rest.startswith(b"/") else b"/" + rest
        headers = (*[field for field in headers if field[0] != b"host"], (b"host", absolute[1]))
    elif not target.startswith(b"/") and not (target == b"*" and method == "OPTIONS"):
        raise Refusal(400, "the request's target is no path")
    if len(host) > 1 or (not host and version == "1.1") or (host and _HOST(host[0]) is None):
        raise Refusal(400, "a request has one valid Host field")
    head = Head(method, target, version, headers)
    _understand(head)
    return head


_remembered = functools.lru_cache(maxsize=REMEMBERED_MAX)(_parse)


def _request_line(line: bytes) -> tuple[str, bytes, str]:
    found = _REQUEST_LINE(line)
    if found is None:
        raise Refusal(400, "malformed request line")
    if found[3] != b"1":
        raise Refusal(505, "unsupported protocol version")
    # A minor version that we do not know is served as the highest that we do (RFC 9110, 2.5).
    return found[1].decode("ascii"), found[2], "1.0" if found[4] == b"0" else "1.1"


def _field(line: bytes) -> Header:
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or _TOKEN(name) is None:
        raise Refusal(400, "malformed header field name")  # of which a blank before the colon and a folded line are two
    if _VALUE(value) is None:
        raise Refusal(400, "a header field has a character that none may have")
    return name.lower(), value


def _understand(head: Head) -> None:
    """What concerns the connection and the body (RFC 9112, 6 and 9)."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for name, value in head.headers:
        if name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
        elif name == b"connection":
            options = {option.strip(b" \t") for option in value.lower().split(b",")}
            if b"close" in options:
                head.keep_alive = False
            elif b"keep-alive" in options and head.version == "1.0":
                head.keep_alive = True
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise Refusal(417, "this expectation cannot be met")
            head.expects_continue = head.version == "1.1"
    if codings:
        if lengths or head.version == "1.0":
            raise Refusal(400, "the length of the body is not certain")
        if codings != [b"chunked"]:
            raise Refusal(501, "unsupported transfer encoding")
        head.chunked = True
    elif lengths:
        if len(lengths) > 1 or _DIGITS(lengths[0]) is None:
            raise Refusal(400, "bad Content-Length")
        if len(lengths[0].lstrip(b"0")) > LENGTH_DIGITS_MAX:
            raise Refusal(413, "request body too large")
        head.content_length = int(lengths[0])


def refuse_early(part: bytes, is_first: bool) -> None:
    """Raises Refusal for a piece of a head that no end can make good: whoever does not speak HTTP is not waited for. Only the first piece begins
    the head; a later one begins with the last byte of the one before."""
    if is_first and _TOKEN(part[:1]) is None:
        raise Refusal(400, "malformed request line")
    if part.count(b"\n", 0 if is_first else 1) != part.count(b"\r\n"):
        raise Refusal(400, "a line that does not end in CR LF")
