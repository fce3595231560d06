"""exec and attach: the channels of a remote command between a client and a kubelet (k8s.io/kubelet/pkg/cri/streaming/remotecommand).

Whatever the client speaks becomes (channel, bytes): stdin 0, stdout 1, stderr 2, error 3 (a Status as JSON, the last word), resize 4. Version 5 adds
CLOSE: "255, channel" ends a channel, which version 4 cannot say. Towards the kubelet it is always version 5.
"""

import asyncio
import base64
import binascii
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import aiohttp
import msgspec
from aiohttp import web

from apiserver.machinery.status import ApiError
from apiserver.streams.session import Session, Stream

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
CHANNELS = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
V5, V4, V4_BASE64 = "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"
SOCKET_PROTOCOLS = (V5, V4, V4_BASE64)
SPDY_PROTOCOLS = (V4,)
STREAMS_TIMEOUT_S = 30.0
"""How long a SPDY client may take to open the streams that it asked for."""
GOODBYE_S = 5.0
"""How long a SPDY client may take to hang up after the last word."""


class Client(Protocol):
    async def receive(self) -> tuple[int, bytes] | None:
        """What the client says; None when it is gone."""

    async def send(self, channel: int, data: bytes) -> None: ...

    async def finish(self) -> None:
        """All has been said."""


class SocketClient:
    """A client on a WebSocket, its protocol negotiated."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._base64 = socket.ws_protocol == V4_BASE64
        self._closes = socket.ws_protocol == V5

    async def receive(self) -> tuple[int, bytes] | None:
        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY or message.type is aiohttp.WSMsgType.TEXT:
                raw = message.data.encode() if isinstance(message.data, str) else bytes(message.data)
                if not raw:
                    continue
                if not self._base64:
                    return raw[0], raw[1:]
                try:
                    return raw[0] - ord("0"), base64.b64decode(raw[1:], validate=True)
                except binascii.Error:
                    return None
            else:
                return None

    async def send(self, channel: int, data: bytes) -> None:
        if channel == CLOSE and not self._closes:
            return
        if self._base64:
            await self._socket.send_str(chr(ord("0") + channel) + base64.b64encode(data).decode())
        else:
            await self._socket.send_bytes(bytes((channel,)) + data)

    async def finish(self) -> None:
        await self._socket.close()


class SpdyClient:
    """A client whose channels are SPDY streams (kubectl up to 1.29)."""

    def __init__(self, session: Session, streams: Mapping[int, Stream]) -> None:
        self._session = session
        self._streams = streams
        self._received: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(maxsize=1)

    @classmethod
    async def gathered(cls, session: Session, wanted: set[int]) -> "SpdyClient":
        """When the client has opened all the streams it asked for. Raises TimeoutError, and ConnectionError if it went instead."""
        streams: dict[int, Stream] = {}
        async with asyncio.timeout(STREAMS_TIMEOUT_S):
            while not wanted <= streams.keys():
                stream = await session.accept()
                if stream is None:
                    raise ConnectionResetError("the client is gone")
                channel = CHANNELS.get(stream.headers.get("streamtype", ""))
                if channel is None or channel in streams:
                    await stream.reset()
                else:
                    streams[channel] = stream
        return cls(session, streams)

    async def pump(self) -> None:
        """Carries what the client says to `receive`; ends with the streams that a client writes."""
        async with asyncio.TaskGroup() as group:
            for channel in (STDIN, RESIZE):
                if channel in self._streams:
                    group.create_task(self._read(channel, self._streams[channel]))

    async def _read(self, channel: int, stream: Stream) -> None:
        while data := await stream.read():
            await self._received.put((channel, data))
        if channel == STDIN:
            await self._received.put((CLOSE, bytes((STDIN,))))

    def gone(self) -> None:
        """The connection has ended: `receive` says so once all is read."""
        if self._received.full():
            self._received.get_nowait()
        self._received.put_nowait(None)

    async def receive(self) -> tuple[int, bytes] | None:
        return await self._received.get()

    async def send(self, channel: int, data: bytes) -> None:
        if channel == CLOSE:
            if data and data[0] in self._streams:
                await self._streams[data[0]].close()
        elif channel in self._streams:
            await self._streams[channel].write(data)

    async def finish(self) -> None:
        for stream in self._streams.values():
            await stream.close()
        await self._session.close()


async def bridge(client: Client, kubelet: aiohttp.ClientWebSocketResponse) -> None:
    """Carries both directions until the command has ended or the client is gone. Exactly one Status is the client's last word."""
    said = False

    async def down() -> None:
        nonlocal said
        while (message := await kubelet.receive()).type is aiohttp.WSMsgType.BINARY:
            if message.data:
                said = said or message.data[0] == ERROR
                await client.send(message.data[0], bytes(message.data[1:]))
        if not said:
            await tell(client, ApiError("InternalError", "error reading from error stream: the connection to the node was lost"))
        await client.finish()

    async def up() -> None:
        while (said := await client.receive()) is not None:
            channel, data = said
            if channel in (STDIN, RESIZE, CLOSE):
                await kubelet.send_bytes(bytes((channel,)) + data)

    await either(down(), up())
    await kubelet.close()


async def tell(client: Client, error: ApiError) -> None:
    await client.send(ERROR, msgspec.json.encode(error.status()))


async def either(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    """Runs both until one ends, and ends the other. A broken connection is such an end."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(first), group.create_task(second)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
    except* OSError:
        pass
