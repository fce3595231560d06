"""Calls with many messages each way (Watch, LeaseKeepAlive), one to a connection, in the generator's own HTTP/2."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from bench.load.dial import Link, dial, scheme
from bench.load.http2 import GRPC_PREFIX_BYTES, INITIAL_WINDOW, ConnectionBroken, RequestEncoder, ResponseReader, message_frame, opening


class Call(Link):
    """One connection with one call on it. `on_message` gets each answer as bytes; `broken` is told if the call ends before `close`."""

    def __init__(self, path: str, authority: str, scheme: str, on_message: Callable[[bytes], None], broken: Callable[[Exception], None]) -> None:
        super().__init__()
        self._path = path
        self._on_message = on_message
        self._broken = broken
        self._encoder = RequestEncoder((path,), authority, scheme)
        self._reader = ResponseReader(self._settings, self._data)
        self._received = b""
        self._unsent: deque[bytes] = deque()
        self._stream = 0
        self._window = INITIAL_WINDOW

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports do not derive from asyncio's
        self._transport.write(opening())  # type: ignore[union-attr]

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(ConnectionBroken(f"connection lost: {error}"))

    def _fail(self, error: Exception) -> None:
        if self._closed:
            return
        if not self.ready.done():
            self.ready.set_exception(error)
        else:
            self._broken(error)

    def _settings(self, settings: dict[int, int]) -> None:
        if self._stream:
            return
        if 0x1 in settings:
            self._encoder.limit_table(settings[0x1])
        self._window = settings.get(0x4, INITIAL_WINDOW)
        self._stream, begin = self._encoder.call(self._path)
        assert self._transport is not None
        self._transport.write(begin)
        self.ready.set_result(None)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
        except ConnectionBroken as error:
            self._fail(error)
            return
        if reader.ended:
            self._fail(ConnectionBroken(f"the call ended with status {reader.ended[0][1]}"))
        if reader.to_send or reader.stream_credit:
            self._window += reader.stream_credit.pop(self._stream, 0)
            reader.stream_credit.clear()
            self._flush()

    def _data(self, _stream: int, data: bytes) -> None:
        """Whole messages out of what came; one often lies in several frames, and several in one."""
        received = self._received + data if self._received else data
        at, end = 0, len(received)
        while end - at >= GRPC_PREFIX_BYTES:
            stop = at + GRPC_PREFIX_BYTES + int.from_bytes(received[at + 1 : at + GRPC_PREFIX_BYTES], "big")
            if stop > end:
                break
            self._on_message(received[at + GRPC_PREFIX_BYTES : stop])
            at = stop
        self._received = received[at:]

    def send(self, *messages: bytes) -> None:
        self._unsent.extend(messages)
        self._flush()

    def _flush(self) -> None:
        """What the protocol owes, and as many messages as both windows allow."""
        reader, out = self._reader, list(self._reader.to_send)
        reader.to_send.clear()
        while self._unsent and min(reader.send_window, self._window) >= len(self._unsent[0]) + GRPC_PREFIX_BYTES:
            message = self._unsent.popleft()
            reader.send_window -= len(message) + GRPC_PREFIX_BYTES
            self._window -= len(message) + GRPC_PREFIX_BYTES
            out.append(message_frame(self._stream, message))
        if out and self._transport is not None:
            self._transport.write(b"".join(out))


async def open_call(
    endpoint: str, path: str, on_message: Callable[[bytes], None], broken: Callable[[Exception], None], tls: ssl.SSLContext | None = None
) -> Call:
    """Raises ConnectionBroken, OSError or TimeoutError."""
    return await dial(endpoint, lambda: Call(path, endpoint, scheme(tls), on_message, broken), tls)
