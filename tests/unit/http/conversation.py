"""A connection without sockets: frames in, frames out, and an application that the test plays."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hpack import Decoder

from kvstore.http.connection import Connection
from kvstore.http.lane import Call
from kvstore.http.limits import Info, Limits
from kvstore.http.stream import Stream
from tests.support import http2
from tests.support.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, message

RST_STREAM, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 3, 6, 7, 8, 9
ACK = 1
CLIENT = ("192.0.2.1", 7)
UNARY = "/etcdserverpb.KV/Range"

Frame = tuple[int, int, int, bytes]
"""Kind, flags, stream, payload."""


def split(data: bytes) -> Iterator[Frame]:
    at = 0
    while at < len(data):
        size, kind, flags, stream = int.from_bytes(data[at : at + 3], "big"), data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big")
        yield kind, flags, stream, data[at + 9 : at + 9 + size]
        at += 9 + size
    assert at == len(data), "half a frame was written"


@dataclass
class Served:
    """A stream that came through `serve`."""

    stream: Stream
    body: bytes = b""
    ended: bool = False
    has_left: bool = False
    drained_times: int = 0

    def received(self, data: bytes, ended: bool) -> None:
        self.body += data
        self.ended |= ended

    def left(self) -> None:
        self.has_left = True

    def drained(self) -> None:
        self.drained_times += 1


@dataclass
class Conversation:
    """`says` gives the server frames and returns what it answers; the opening is over unless `silent`."""

    lane: Callable[[Call], bool] | None = None
    limits: Limits = field(default_factory=Limits)
    silent: bool = False
    served: list[Served] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    woken: int = 0

    def __post_init__(self) -> None:
        self.decoder = Decoder()
        self.written: list[bytes] = []
        info = Info(CLIENT, ("192.0.2.2", 2379), None, lambda work, name: None)  # type: ignore[arg-type,return-value]
        self.connection = Connection(self.limits, info, self._serve, self._wake, self._write, self.lane, {UNARY} if self.lane else None)
        self.opening = self.heard()
        if not self.silent:
            self.says(PREFACE, frame(SETTINGS, 0, 0))

    def _serve(self, stream: Stream) -> Served:
        self.served.append(Served(stream))
        return self.served[-1]

    def _wake(self) -> None:
        self.woken += 1

    def _write(self) -> None:
        self.written += map(bytes, self.connection.out)
        self.connection.out.clear()

    def heard(self) -> list[Frame]:
        """What the server has said since it was last asked."""
        while True:
            self.connection.pump()
            if not self.connection.out:
                break
            self._write()
        data = b"".join(self.written)
        self.written = []
        return list(split(data))

    def says(self, *data: bytes) -> list[Frame]:
        self.connection.receive(b"".join(data))
        return self.heard()

    def headers_of(self, answer: Frame) -> dict[str, str]:
        return dict(self.decoder.decode(answer[3]))


def settings(*values: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", name, value) for name, value in values))


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def reset(stream: int, code: int = 8) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def request(stream: int = 1, path: str = "/watch", end: bool = False, **headers: str) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, http2.request_block(path, **headers))


def call(stream: int = 1, body: bytes = b"question", end: bool = True, path: str = UNARY) -> bytes:
    """A unary call of the lane."""
    return request(stream, path) + frame(DATA, END_STREAM if end else 0, stream, message(body))


def code_of(answer: list[Frame]) -> tuple[str, int]:
    """How the server took it: ("connection", code) of a GOAWAY, ("stream", code) of a reset; ("", 0): neither."""
    for kind, _, _, payload in answer:
        if kind == GOAWAY:
            return "connection", int.from_bytes(payload[4:8], "big")
        if kind == RST_STREAM:
            return "stream", int.from_bytes(payload, "big")
    return "", 0
