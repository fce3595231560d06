"""Which pages may call from a browser: etcd says so on every answer (embed/serve.go)."""

from collections.abc import Iterable

from kvstore.wire.grpc import Headers, header

_ALLOWED = (
    (b"access-control-allow-methods", b"POST, GET, OPTIONS, PUT, DELETE"),
    (b"access-control-allow-headers", b"accept, content-type, authorization"),
)


class Cors:
    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._for_all = (*_ALLOWED, (b"access-control-allow-origin", b"*")) if b"*" in self._origins else None

    def headers_for(self, headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer to a request with `headers` has in addition."""
        if self._for_all is not None:
            return self._for_all
        origin = header(headers, b"origin")
        if origin is None or origin not in self._origins:
            return ()
        return (*_ALLOWED, (b"access-control-allow-origin", origin))
