"""Exec, attach and port-forward over WebSockets, as the API server asks for them.

Exec and attach: subprotocol v5.channel.k8s.io; the first byte of a message is the channel: 0 input, 1 output, 2 errors, 3 the outcome (a Status),
4 the terminal's size, 255 "this channel is closed". Port-forward: the bytes of one connection, an empty message where one side has no more to say.
"""

import asyncio
import contextlib

import aiohttp
import msgspec
from aiohttp import web

from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import Pipe, Session
from apiserver.machinery.objects import Object

PROTOCOL = "v5.channel.k8s.io"
INPUT, OUTPUT, ERRORS, OUTCOME, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MESSAGE_BYTES_MAX = 1 << 20
HEARTBEAT_S = 30.0


def success() -> Object:
    return {"metadata": {}, "status": "Success"}


def exited(code: int) -> Object:
    if code == 0:
        return success()
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failed(text: str) -> Object:
    return {"metadata": {}, "status": "Failure", "message": text, "reason": "InternalError", "code": 500}


async def serve(request: web.Request, session: Session, wanted: frozenset[int], *, attached: bool) -> web.WebSocketResponse:
    """Until the process ends or the client goes."""
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), max_msg_size=MESSAGE_BYTES_MAX, heartbeat=HEARTBEAT_S)
    try:
        await socket.prepare(request)
        async with asyncio.TaskGroup() as group:
            outputs = group.create_task(_from_session(socket, session, wanted), name="outputs")
            inputs = group.create_task(_to_session(socket, session), name="inputs")
            await asyncio.wait({outputs, inputs}, return_when=asyncio.FIRST_COMPLETED)
            if not outputs.done():  # the client has gone
                outputs.cancel()
            else:
                outcome = success() if attached else exited(await session.wait())
                with contextlib.suppress(OSError):
                    await socket.send_bytes(bytes((OUTCOME,)) + msgspec.json.encode(outcome))
                    await socket.close()
                inputs.cancel()
    finally:
        await session.close()
    return socket


async def _from_session(socket: web.WebSocketResponse, session: Session, wanted: frozenset[int]) -> None:
    channels = {base.STDOUT: OUTPUT, base.STDERR: ERRORS}
    while (chunk := await session.read()) is not None:
        channel = channels[chunk[0]]
        if channel in wanted:
            try:
                await socket.send_bytes(bytes((channel,)) + chunk[1])
            except OSError:
                return


async def _to_session(socket: web.WebSocketResponse, session: Session) -> None:
    """Until the client goes."""
    while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
        if not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == INPUT:
            await session.write(data)
        elif channel == RESIZE:
            with contextlib.suppress(msgspec.DecodeError, KeyError, TypeError, ValueError, OSError):
                size = msgspec.json.decode(data)
                await session.resize(int(size["Width"]), int(size["Height"]))
        elif channel == CLOSE and data == bytes((INPUT,)):
            await session.end_input()


async def forward(request: web.Request, pipe: Pipe) -> web.WebSocketResponse:
    """Bytes of one connection, both ways, until both sides have ended or one has broken."""
    socket = web.WebSocketResponse(max_msg_size=MESSAGE_BYTES_MAX, heartbeat=HEARTBEAT_S)

    async def up() -> None:
        while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            if message.data:
                await pipe.write(message.data)
            else:
                await pipe.end_input()

    async def down() -> None:
        while data := await pipe.read():
            await socket.send_bytes(data)

    try:
        await socket.prepare(request)
        async with asyncio.TaskGroup() as group:
            upward = group.create_task(up(), name="up")
            downward = group.create_task(down(), name="down")
            await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
            upward.cancel()
            downward.cancel()
    except* OSError:
        pass
    finally:
        await pipe.close()
    await socket.close()
    return socket
