"""Header blocks of requests as `Head`s: what RFC 9113 (8.2, 8.3) forbids is refused, what was seen before is looked up.

A block means the same as before as long as it neither changes the dynamic table nor the table was changed since, so `known` is forgotten
whenever it changes. grpc-go's requests are some ten index bytes from the second one on.
"""

import re
from collections.abc import Callable, Container
from urllib.parse import unquote_to_bytes

from kvstore.http.frames import ENHANCE_YOUR_CALM, PROTOCOL_ERROR, StreamFault
from kvstore.http.hpack_codec import Decoder, Field
from kvstore.http.lane import Head

KNOWN_MAX = 256
KNOWN_BYTES_MAX = 1024
"""Of one block: longer ones are rare, and 256 of these are enough to keep for one connection."""

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_OF_HTTP1 = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_is_name = re.compile(rb"[a-z0-9!#$%&'*+\-.^_`|~]+").fullmatch
_is_bad_value = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z").search
_is_odd_target = re.compile(rb"[\0-\x20\x7f#]").search


class HeadReader:
    """Of one connection. `marks_lane`: the paths of methods that the application's lane takes; None: it has none."""

    def __init__(self, decoder: Decoder, lane_paths: Container[str] | None, all_lane: bool = False) -> None:
        self._decoder = decoder
        self._lane_paths = lane_paths
        self._all_lane = all_lane
        self.known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """Raises StreamFault for a malformed request; ConnectionFault."""
        fields = self.fields(block)
        head = self._head(fields)
        if not self._decoder.changed and len(self.known) < KNOWN_MAX and len(block) <= KNOWN_BYTES_MAX:
            self.known[block] = head
        return head

    def fields(self, block: bytes) -> list[Field]:
        """Also of trailers. Raises as `read`."""
        decoder = self._decoder
        fields = decoder.decode(block)
        if decoder.changed:
            self.known.clear()
        if decoder.oversized:
            raise StreamFault(ENHANCE_YOUR_CALM, "too many headers")
        return fields

    def _head(self, fields: list[Field]) -> Head:
        pseudo: dict[bytes, bytes] = {}
        at = 0
        for name, value in fields:
            if not name.startswith(b":"):
                break
            if name not in _PSEUDO or name in pseudo:
                raise StreamFault(PROTOCOL_ERROR, "pseudo headers that are unknown or come twice")
            pseudo[name] = value
            at += 1
        headers = tuple(fields[at:])
        check_fields(headers)
        method, target, scheme = pseudo.get(b":method", b""), pseudo.get(b":path", b""), pseudo.get(b":scheme", b"")
        if not _is_name(method.lower()) or not target or not scheme or _is_odd_target(target):
            raise StreamFault(PROTOCOL_ERROR, "a request without method, scheme or path")
        authority = pseudo.get(b":authority")
        host = next((value for name, value in headers if name == b"host"), None)
        if authority is not None and host is not None and authority != host:
            raise StreamFault(PROTOCOL_ERROR, "two hosts")
        head = Head(method.decode("ascii"), scheme.decode("latin-1"), authority or host or b"", target, _decoded(target), headers)
        if head.is_grpc and head.content_length is None:
            head.lane = self._all_lane or (self._lane_paths is not None and head.path in self._lane_paths)
        return head


def check_fields(headers: tuple[Field, ...]) -> None:
    """Of a request's head or trailers, without pseudo headers. Raises StreamFault."""
    length: bytes | None = None
    for name, value in headers:
        if not _is_name(name) or name in _OF_HTTP1 or _is_bad_value(value):
            raise StreamFault(PROTOCOL_ERROR, "a header that HTTP/2 has not")
        if name == b"te" and value != b"trailers":
            raise StreamFault(PROTOCOL_ERROR, "te is trailers or nothing")
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18 or (length is not None and value != length):
                raise StreamFault(PROTOCOL_ERROR, "a content-length that is none")
            length = value


def _decoded(target: bytes) -> str:
    path = target.partition(b"?")[0]
    return (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace")


Reader = Callable[[bytes], Head]
