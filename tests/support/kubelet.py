"""A kubelet's streaming server without a runtime: exec runs a program of this machine, attach an echo, logs are given, port-forward dials loopback.

It keeps the contract that the API server builds on: exec and attach upgrade to v5.channel.k8s.io, port-forward to bytes of one connection.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
from aiohttp import web


class FakeKubelet:
    def __init__(self) -> None:
        self.log = [b"one\n", b"two\n"]
        self.asked: list[tuple[str, list[tuple[str, str]]]] = []
        self.resized: list[dict[str, int]] = []
        self.stats: dict[str, object] = {}
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeKubelet"]:
        app = web.Application()
        app.router.add_get("/exec/{ns}/{pod}/{container}", self._exec)
        app.router.add_get("/attach/{ns}/{pod}/{container}", self._attach)
        app.router.add_get("/portForward/{ns}/{pod}", self._forward)
        app.router.add_get("/containerLogs/{ns}/{pod}/{container}", self._logs)
        app.router.add_get("/stats/summary", self._stats)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    def node(self) -> dict[str, object]:
        return {
            "metadata": {"name": "node-1"},
            "status": {
                "addresses": [{"type": "Hostname", "address": "node-1"}, {"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            },
        }

    def _note(self, request: web.Request) -> None:
        self.asked.append((request.path, list(request.query.items())))

    async def _stats(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response(self.stats)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        if request.query.get("previous"):
            return web.Response(status=400, text='previous terminated container "main" in pod "p" not found')
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        for line in self.log:
            await answer.write(line)
        return answer

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        if request.match_info["container"] == "gone":
            return web.Response(status=404, text='container not found ("gone")')
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        wanted = {name for name in ("stdin", "stdout", "stderr") if request.query.get(name) == "1"}
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        program = await asyncio.create_subprocess_exec(
            *request.query.getall("command"),
            stdin=pipe if "stdin" in wanted else null,
            stdout=pipe if "stdout" in wanted else null,
            stderr=pipe if "stderr" in wanted else null,
            env={**os.environ, "TERM": "xterm"},
        )
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._to_program(socket, program.stdin))
                outputs = [
                    group.create_task(_from_program(socket, channel, stream))
                    for channel, stream in ((1, program.stdout), (2, program.stderr))
                    if stream
                ]
                await asyncio.gather(*outputs)
                code = await program.wait()
                reading.cancel()
            with suppress(OSError):
                await socket.send_bytes(b"\x03" + json.dumps(_status(code)).encode())
            await socket.close()
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
            program._transport.close()  # type: ignore[attr-defined]
        return socket

    async def _to_program(self, socket: web.WebSocketResponse, stdin: asyncio.StreamWriter | None) -> None:
        while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            channel, data = message.data[0], message.data[1:]
            if channel == 4:
                self.resized.append(json.loads(data))
            elif channel == 255 and data == b"\x00" and stdin:
                stdin.close()
            elif channel == 0 and stdin:
                stdin.write(data)
                with suppress(OSError):
                    await stdin.drain()

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        """Says hello, then everything that it is told, in capitals."""
        self._note(request)
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        await socket.send_bytes(b"\x01hello\n")
        while request.query.get("stdin") and (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
            if message.data[0] == 0:
                await socket.send_bytes(b"\x01" + message.data[1:].upper())
            elif message.data[0] == 255:
                break
        with suppress(OSError):
            await socket.send_bytes(b"\x03" + json.dumps(_status(0)).encode())
        await socket.close()
        return socket

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(request.query["port"]))
        except OSError as error:
            return web.Response(status=500, text=f"failed to connect to localhost:{request.query['port']} inside namespace: {error.strerror}")
        socket = web.WebSocketResponse()
        await socket.prepare(request)

        async def up() -> None:
            while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                if message.data:
                    writer.write(message.data)
                    await writer.drain()
                else:
                    writer.write_eof()

        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(up())
                while data := await reader.read(65536):
                    await socket.send_bytes(data)
                sending.cancel()
        except* OSError:
            pass
        await socket.close()
        writer.close()
        return socket


async def _from_program(socket: web.WebSocketResponse, channel: int, stream: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while data := await stream.read(65536):
            await socket.send_bytes(bytes((channel,)) + data)


def _status(code: int) -> dict[str, object]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
