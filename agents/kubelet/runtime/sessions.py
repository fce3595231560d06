"""Streams to processes in containers, over pipes and terminals that the shim was given or gave."""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios

from agents.kubelet.runtime.base import STDERR, STDOUT
from agents.kubelet.runtime.shims import Connection, ShimGone, readable, settle

CHUNK_BYTES = 32 << 10


class FdSession:
    """`outputs`: readable descriptors by stream; `stdin`: -1 without one. Owns all of them, and the connection on which the exit comes."""

    def __init__(self, connection: Connection | None, outputs: dict[int, int], stdin: int, terminal: int = -1) -> None:
        self._connection = connection
        self._outputs = outputs
        self._stdin = stdin
        self._terminal = terminal
        for fd in {*outputs.values(), *((stdin,) if stdin >= 0 else ())}:
            os.set_blocking(fd, False)

    async def read(self) -> tuple[int, bytes] | None:
        while self._outputs:
            for stream, fd in list(self._outputs.items()):
                try:
                    data = os.read(fd, CHUNK_BYTES)
                except BlockingIOError:
                    continue
                except OSError:  # a terminal whose other side is closed
                    data = b""
                if data:
                    return stream, data
                del self._outputs[stream]
                if fd not in (self._terminal, self._stdin):
                    os.close(fd)
            if self._outputs:
                await _any_readable(list(self._outputs.values()))
        return None

    async def write(self, data: bytes) -> None:
        """What the other side no longer reads is dropped."""
        while data and self._stdin >= 0:
            try:
                data = data[os.write(self._stdin, data) :]
            except BlockingIOError:
                await _writable(self._stdin)
            except OSError:
                return

    async def end_input(self) -> None:
        if self._stdin >= 0 and self._stdin != self._terminal:
            os.close(self._stdin)
            self._stdin = -1
        elif self._terminal >= 0:
            await self.write(b"\x04")

    async def resize(self, columns: int, rows: int) -> None:
        if self._terminal >= 0:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))

    async def wait(self) -> int:
        if self._connection is None:
            return 0
        try:
            answer, _ = await self._connection.receive()
        except ShimGone:
            return 137
        return int(answer["exit"])

    async def close(self) -> None:
        for fd in {*self._outputs.values(), self._stdin, self._terminal} - {-1}:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._outputs, self._stdin, self._terminal = {}, -1, -1
        if self._connection is not None:
            self._connection.close()


async def _any_readable(fds: list[int]) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    for fd in fds:
        loop.add_reader(fd, settle, future)
    try:
        await future
    finally:
        for fd in fds:
            loop.remove_reader(fd)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, settle, future)
    try:
        await future
    finally:
        loop.remove_writer(fd)


class SocketPipe:
    """A TCP connection inside a pod."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    async def read(self) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self._socket, CHUNK_BYTES)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        self._socket.close()


__all__ = ["STDERR", "STDOUT", "FdSession", "SocketPipe", "readable"]
