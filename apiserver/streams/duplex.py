"""Two-way byte connections behind one small interface: a connection taken over from HTTP after `101 Switching Protocols`, and a WebSocket
whose binary messages are a byte stream."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

READ_AHEAD_BYTES = 1 << 18
"""How much may wait unread before the peer is made to wait."""


class Duplex(Protocol):
    async def read(self) -> bytes:
        """Some bytes; nothing at the end, which also a broken connection is."""

    async def write(self, data: bytes) -> None:
        """Waits while the peer is slow. Raises OSError if the connection is gone."""

    async def close(self) -> None: ...


class Taken(web.StreamResponse):
    """The answer of a handler that took the connection over: aiohttp writes nothing any more and closes."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class TakenConnection(asyncio.Protocol):
    """The connection of a request after the switch: whatever comes now is the new protocol's.

    The client sends nothing before it has read the 101, so no byte is lost between the parser of HTTP and this one.
    """

    def __init__(self, request: web.BaseRequest) -> None:
        assert request.transport is not None
        self._transport = request.transport
        self._http = request.protocol
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def switch(self, headers: Mapping[str, str]) -> None:
        """Send 101 with these headers, and read on from here."""
        self._transport.set_protocol(self)
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in headers.items())]
        self._transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def read(self) -> bytes:
        while not self._chunks and not self._ended:
            self._readable.clear()
            await self._readable.wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if not self._ended:
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)
        await self._writable.wait()

    async def close(self) -> None:
        self._transport.close()

    # --- called by the event loop -----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > READ_AHEAD_BYTES:
            self._transport.pause_reading()
        self._readable.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._readable.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._readable.set()
        self._writable.set()
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()


class SocketBytes:
    """The bytes of a WebSocket's messages, one after the other."""

    def __init__(self, socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                if message.data:
                    return bytes(message.data)
            elif message.type is not aiohttp.WSMsgType.TEXT:
                return b""

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def close(self) -> None:
        await self._socket.close()
