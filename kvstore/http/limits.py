"""What clients may take of a server, and what is known of one connection. Shared by HTTP/1.1 and HTTP/2."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI 3 application."""


class ClientGone(OSError):
    """Raised by `send` when there is nobody left who could read it (ASGI 2.4)."""


@dataclass(frozen=True, slots=True)
class Limits:
    streams_max: int = 4_000
    """Of one connection at a time: each that is served as a task costs 20 kB, and 0.1 ms to begin, while others wait."""
    header_fields_max: int = 100
    header_bytes_max: int = 64 << 10
    body_bytes_max: int = 4 << 20
    """Of a request to anything but a stream; what is longer is refused (413)."""
    head_s: float = 30.0
    """How long a request's head may take from its first byte on (HTTP/1.1)."""
    body_idle_s: float = 30.0
    """How long a unary call's body may stand still."""
    answer_stall_s: float = 60.0
    """How long a unary call may stand still on its client's side before it is given up."""
    unary_prefixes: tuple[str, ...] = ()
    """Paths whose calls are all unary; the others may be silent for days, in both directions."""
    ping_interval_s: float = 0.0
    """After so long without a word from a client it is asked whether it is there (HTTP/2); 0: never."""
    ping_timeout_s: float = 20.0
    """How long it may take to answer that."""
    ping_least_s: float = 0.0
    """Clients that ask so more often than this, without anything under way for them, are sent away (HTTP/2); 0: no matter."""
    hold: Callable[[Any, int], None] | None = None
    """Told (client, bytes) of what a client makes us keep that the application does not see; negative when it is gone."""


@dataclass(frozen=True, slots=True)
class Info:
    """Of one connection."""

    client: tuple[str, int]
    server: tuple[str, int]
    tls: dict[str, Any] | None
    """ASGI's TLS extension, version 0.2; None in the clear."""
    spawn: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
    """Starts a task that has an owner, with a name."""
