"""The words between the server and an application that answers unary gRPC calls by itself, without coroutine, task or event.

An application may have two attributes besides being ASGI:

    lane(call) -> bool      called as soon as a call's first message is whole. True: it has taken the call, and calls `answer` or `fail` exactly
                            once, now or later, on the event loop. False: the call is served through ASGI as any other.
    lane_paths              the methods for which `lane` is to be asked; if it is missing, all. Others go through ASGI at once, before their
                            first message.

What comes through ASGI instead in any case: messages of more than LANE_BYTES_MAX, compressed ones, and heads that are not `is_grpc`.
"""

from abc import abstractmethod
from typing import Any, Protocol

LANE_BYTES_MAX = 64 << 10

Header = tuple[bytes, bytes]


class Head:
    """A decoded header block of a request. Equal requests of a connection share it."""

    __slots__ = (
        "authority",
        "content_length",
        "headers",
        "is_grpc",
        "lane",
        "memo",
        "method",
        "path",
        "query",
        "raw_path",
        "scheme",
        "trailers",
    )

    def __init__(self, method: str, scheme: str, authority: bytes, target: bytes, path: str, headers: tuple[Header, ...]) -> None:
        self.method = method
        self.scheme = scheme
        self.authority = authority
        self.raw_path, _, self.query = target.partition(b"?")
        self.path = path
        """Percent-decoded, without the query."""
        self.headers = headers
        """Without pseudo headers; names in small letters."""
        self.memo: Any = None
        """The application's own: what it derived from this head."""
        self.lane = False
        """Whether the application's lane is asked."""
        content_type, self.trailers, self.content_length = b"", False, None
        length: int | None = None
        for name, value in headers:
            if name == b"content-type":
                content_type = value
            elif name == b"te":
                self.trailers = value == b"trailers"
            elif name == b"content-length":
                length = int(value)
        self.content_length = length
        self.is_grpc = self.trailers and method == "POST" and (content_type == b"application/grpc" or content_type.startswith(b"application/grpc+"))


class Taker(Protocol):
    def left(self) -> None:
        """The call's client has left. Also called, to no end, after the answer, if what waits of it does so in vain."""


class Call:
    """One unary gRPC call."""

    __slots__ = ("body", "closed", "head", "taker")

    head: Head
    body: bytes
    """From its first byte, the message's prefix included, to what has come: at least one whole message."""
    closed: bool
    """The client has left; answers are dropped, silently."""
    taker: "Taker | None"
    """Set by whoever takes the call and wants to know that."""

    @property
    @abstractmethod
    def client(self) -> tuple[str, int]: ...

    @property
    @abstractmethod
    def tls(self) -> dict[str, Any] | None:
        """ASGI's TLS extension."""

    @abstractmethod
    def answer(self, message: bytes) -> None:
        """Headers, the message with its prefix, grpc-status 0. What waits for a slow client is counted by the server (`Limits.hold`)."""

    @abstractmethod
    def fail(self, trailers: list[Header]) -> None:
        """Nothing but these (gRPC's Trailers-Only)."""
