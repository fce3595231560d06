"""port-forward: TCP connections of a client to a pod, each a WebSocket of its own to the kubelet, whose binary messages are the connection's bytes.

An empty message says that no more bytes come from that side: the half-close of TCP, which a WebSocket has no word for.
"""

import asyncio
import struct
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import web

from apiserver.machinery.objects import Object, name_of
from apiserver.streams.kubelets import Kubelets, Refused
from apiserver.streams.remotecommand import either
from apiserver.streams.session import Session, Stream

PAIR_TIMEOUT_S = 30.0
"""How long the second stream of a pair may take."""
PORTS_MAX = 100


class Forwarder:
    """Opens connections to one pod."""

    def __init__(self, kubelets: Kubelets, pod: Object) -> None:
        self._kubelets = kubelets
        self._pod = pod

    async def dial(self, port: int) -> aiohttp.ClientWebSocketResponse:
        """Raises Refused, ApiError."""
        spec, metadata = self._pod["spec"], self._pod["metadata"]
        query = [("port", str(port))]
        url = await self._kubelets.url(spec["nodeName"], f"/portForward/{metadata['namespace']}/{metadata['name']}", query)
        return await self._kubelets.socket(url, "")

    def worded(self, port: int, why: str) -> str:
        return f"error forwarding port {port} to pod {name_of(self._pod)}, uid {self._pod['metadata'].get('uid', '')}: {why}"


async def forward_streams(session: Session, forwarder: Forwarder) -> None:
    """Serves a SPDY connection: pairs of streams, `error` and `data`, that belong together by their requestid."""
    pairs: dict[str, tuple[Stream, asyncio.TimerHandle]] = {}
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(session.run())

        def give_up(request: str) -> None:
            if waiting := pairs.pop(request, None):
                group.create_task(_quietly(waiting[0].reset()))

        while (stream := await session.accept()) is not None:
            kind, request = _kind(stream), _request(stream)
            if kind is None:
                await _quietly(stream.reset())
            elif (waiting := pairs.pop(request, None)) is None:
                pairs[request] = (stream, loop.call_later(PAIR_TIMEOUT_S, give_up, request))
            else:
                waiting[1].cancel()
                data, error = (stream, waiting[0]) if kind == "data" else (waiting[0], stream)
                if _kind(data) == _kind(error):
                    await _quietly(stream.reset())
                else:
                    group.create_task(_forward(data, error, forwarder))
        for _, timer in pairs.values():
            timer.cancel()
        reading.cancel()


async def _forward(data: Stream, error: Stream, forwarder: Forwarder) -> None:
    port = int(data.headers["port"])
    try:
        try:
            socket = await forwarder.dial(port)
        except Exception as refused:
            await error.write(forwarder.worded(port, _reason(refused)).encode())
            return
        try:
            why = await _splice(data, socket)
        finally:
            await socket.close()
        if why:
            await error.write(forwarder.worded(port, why).encode())
    except OSError:
        pass  # the client is gone, and with it everybody who could be told
    finally:
        await _quietly(data.close())
        await _quietly(error.close())


async def _splice(data: Stream, socket: aiohttp.ClientWebSocketResponse) -> str:
    """Until both sides have said all. What went wrong at the node's side, or nothing."""
    why = ""

    async def up() -> None:
        while chunk := await data.read():
            await socket.send_bytes(chunk)
        if data.over:
            await socket.close()  # the client has thrown the connection away
        else:
            await socket.send_bytes(b"")

    async def down() -> None:
        nonlocal why
        while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            if message.data:
                await data.write(bytes(message.data))
            else:
                await data.close()
        why = "" if data.over else _broken(message)

    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_quietly(up()))
        await down()
        sending.cancel()
    return why


async def forward_channels(socket: web.WebSocketResponse, ports: list[int], forwarder: Forwarder) -> None:
    """Serves a WebSocket of v4.channel.k8s.io: for the i-th port, channel 2i carries its bytes and 2i+1 its error. Each begins with the port's
    number, so that the client knows whose it is."""
    kubelets: list[asyncio.Future[aiohttp.ClientWebSocketResponse | None]] = [asyncio.get_running_loop().create_future() for _ in ports]

    async def serve(index: int, port: int) -> None:
        for channel in (2 * index, 2 * index + 1):
            await socket.send_bytes(bytes((channel,)) + struct.pack("<H", port))
        try:
            kubelet = await forwarder.dial(port)
        except Exception as refused:
            kubelets[index].set_result(None)
            await socket.send_bytes(bytes((2 * index + 1,)) + forwarder.worded(port, _reason(refused)).encode())
            return
        kubelets[index].set_result(kubelet)
        while (message := await kubelet.receive()).type is aiohttp.WSMsgType.BINARY:
            if message.data:
                await socket.send_bytes(bytes((2 * index,)) + message.data)
        if why := _broken(message):
            await socket.send_bytes(bytes((2 * index + 1,)) + forwarder.worded(port, why).encode())

    async def down() -> None:
        async with asyncio.TaskGroup() as group:
            for index, port in enumerate(ports):
                group.create_task(serve(index, port))
        await socket.close()

    async def up() -> None:
        while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            channel = message.data[0] if message.data else 1
            if channel % 2 == 0 and channel // 2 < len(ports) and len(message.data) > 1:
                kubelet = await kubelets[channel // 2]
                if kubelet is not None and not kubelet.closed:
                    await kubelet.send_bytes(bytes(message.data[1:]))

    try:
        await either(down(), up())
    finally:
        for opened in kubelets:
            if opened.done() and not opened.cancelled() and (kubelet := opened.result()) is not None:
                await kubelet.close()


def _broken(message: aiohttp.WSMessage) -> str:
    """Why a kubelet ended a connection, if it was not its end in peace."""
    if message.type is aiohttp.WSMsgType.CLOSE and message.data in (1000, 1001):
        return ""
    if message.type is aiohttp.WSMsgType.CLOSE:
        return message.extra or f"the connection to the pod broke off ({message.data})"
    return "the connection to the node broke off" if message.type is not aiohttp.WSMsgType.CLOSING else ""


def _kind(stream: Stream) -> str | None:
    """`data` or `error`; None if its headers do not say what a forwarded connection must."""
    kind, port = stream.headers.get("streamtype"), stream.headers.get("port", "")
    return kind if kind in ("data", "error") and port.isdigit() and 0 < int(port) < 1 << 16 else None


def _request(stream: Stream) -> str:
    """Clients of before requestids open a pair one after the other: error first, then data."""
    return stream.headers.get("requestid") or f"#{stream.number if stream.headers.get('streamtype') == 'error' else stream.number - 2}"


def _reason(error: Exception) -> str:
    if isinstance(error, Refused):
        return error.text
    return getattr(error, "message", "") or str(error) or repr(error)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    with suppress(OSError):
        await work
