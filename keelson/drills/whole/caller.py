"""A client that calls a service all the time, each call on a connection of its own, and remembers what became of each.

Calls begin at their appointed times whether or not earlier ones have ended: a service that stands still does not make its client wait politely.
"""

import asyncio

from msgspec import Struct

from keelson.cogs.tasks import TaskSet

PATIENCE_S = 5.0
"""A caller with some patience, as browsers and libraries have; who waits longer counts as failed."""

LOOK_S = 0.1


class Call(Struct, frozen=True):
    """`at_s` on the clock of the event loop; `error` is empty if the answer was 200."""

    at_s: float
    took_s: float
    error: str = ""


class Caller:
    def __init__(self, host: str, port: int, path: str, rate_per_s: float, patience_s: float = PATIENCE_S) -> None:
        self._host, self._port, self._path = host, port, path
        self._patience_s = patience_s
        self._pause_s = 1 / rate_per_s
        self.calls: list[Call] = []

    async def run(self) -> None:
        """Until cancelled; calls under way are brought to their end."""
        loop = asyncio.get_running_loop()
        under_way = TaskSet("caller")
        due_s = loop.time()
        try:
            while True:
                under_way.start("call", self._call())
                due_s += self._pause_s
                await asyncio.sleep(max(due_s - loop.time(), 0))
        finally:
            for _ in range(int(self._patience_s / LOOK_S)):
                if not len(under_way):
                    break
                await asyncio.sleep(LOOK_S)
            await under_way.close()

    async def _call(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(self._patience_s):
                error = await self._ask()
        except TimeoutError:
            error = f"no answer within {self._patience_s:g} s"
        except OSError as failure:
            error = failure.strerror or str(failure)
        self.calls.append(Call(began_s, loop.time() - began_s, error))

    async def _ask(self) -> str:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(f"GET {self._path} HTTP/1.1\r\nHost: {self._host}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read(-1)
        finally:
            writer.close()
        line = answer.split(b"\r\n", 1)[0].decode(errors="replace")
        if line.startswith("HTTP/1.") and " 200" in line:
            return ""
        return f"answered {line!r}" if line else "closed without an answer"
