"""HTTP/2 by hand, one call at a time on one connection: for requests that no gRPC library would send."""

import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from hpack import Decoder, Encoder
from msgspec import Struct

from tests.support.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, opening

GOAWAY = 7
ACK = 1
FRAME_BYTES_MAX = 16_384
TIMEOUT_S = 10


class Answer(Struct):
    status: int = 0
    body: bytes = b""
    trailers: dict[str, str] = {}


class Exchange:
    def __init__(self, port: int, window_bytes: int = (1 << 31) - 1) -> None:
        """`window_bytes`: how much the server may send on a stream."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._encoder, self._decoder = Encoder(), Decoder()
        self._stream = -1
        self._socket.sendall(opening([(INITIAL_WINDOW, window_bytes)]) + frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self._socket.close()

    def begin(self, path: str, headers: Mapping[str, str | bytes]) -> int:
        """Open a stream and leave it open; its number."""
        self._stream += 2
        fields: list[tuple[str, str | bytes]] = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test")]
        fields += ({"content-type": "application/grpc", "te": "trailers"} | dict(headers)).items()
        self._socket.sendall(frame(HEADERS, END_HEADERS, self._stream, self._encoder.encode(fields)))
        return self._stream

    def send(self, stream: int, body: bytes, end: bool, piece_bytes: int = FRAME_BYTES_MAX) -> None:
        pieces = [body[at : at + piece_bytes] for at in range(0, len(body), piece_bytes)] or [b""]
        for piece in pieces[:-1]:
            self._socket.sendall(frame(DATA, 0, stream, piece))
        self._socket.sendall(frame(DATA, END_STREAM if end else 0, stream, pieces[-1]))

    def reset(self, stream: int) -> None:
        self._socket.sendall(frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big")))

    def call(self, path: str, body: bytes, headers: Mapping[str, str | bytes], piece_bytes: int = FRAME_BYTES_MAX) -> Answer:
        """One request and its whole answer."""
        stream = self.begin(path, headers)
        self.send(stream, body, True, piece_bytes)
        answer, ended = Answer(), False
        while not ended:
            ended = self.take(stream, answer)
        return answer

    def take(self, stream: int, answer: Answer) -> bool:
        """Read one frame into `answer` if it belongs to `stream`; whether the answer on `stream` is complete."""
        head = self._file.read(9)
        assert len(head) == 9, "the server closed the connection"
        kind, flags, on = head[3], head[4], int.from_bytes(head[5:9], "big")
        payload = self._file.read(int.from_bytes(head[:3], "big"))
        assert kind != GOAWAY, f"the server goes away: {payload!r}"
        if kind in (SETTINGS, PING) and not flags & ACK:
            self._socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        if kind == HEADERS:
            fields = {str(name): str(value) for name, value in self._decoder.decode(payload)}
            if on == stream and ":status" in fields:
                answer.status = int(fields[":status"])
            if on == stream:
                answer.trailers = fields
        if on != stream:
            return False
        assert kind != RST_STREAM, f"the server reset the stream: {payload!r}"
        if kind == DATA:
            answer.body += payload
        return kind in (DATA, HEADERS) and bool(flags & END_STREAM)
