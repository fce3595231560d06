"""Nobody may take so much of a member that it cannot serve the others: who does is hung up on.

Memory is watched as it is taken (`api/held.py`), connections as they come (`listeners.py`). Open requests are counted four times a
second: a stream that waits costs 20 kB, and a client may have thousands on each of thousands of connections. When all together have more than
`OPEN_MAX`, the connections with the most go, until there are fewer.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from keelson.cogs.logs import fields
from kvstore.api.app import App
from kvstore.server.listeners import ClientPort
from kvstore.server.throttle import Throttle

log = logging.getLogger("kvstore.server")

INTERVAL_S = 0.25
OPEN_MAX = 30_000
HELD_SHARE, HELD_BYTES_LEAST, HELD_BYTES_MOST = 1 / 16, 256 << 20, 1 << 30
"""The part of the machine's memory that connections may make us keep, and its bounds. Not small: large answers to slow clients are kept, too."""


def held_bytes_max() -> int:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(min(max(memory_bytes * HELD_SHARE, HELD_BYTES_LEAST), HELD_BYTES_MOST))


def too_many(by_client: Counter[Any], open_max: int = OPEN_MAX) -> list[Any]:
    """Clients to hang up on when all together have too many requests under way."""
    waiting = by_client.total()
    if waiting <= open_max:
        return []
    chosen = []
    for client, count in by_client.most_common():
        if waiting <= open_max // 2:
            break
        chosen.append(client)
        waiting -= count
    return chosen


class Guard:
    """Of an application and the ports that it is served on."""

    def __init__(self, app: App, ports: Sequence[ClientPort]) -> None:
        self._app = app
        self._ports = ports
        self._throttle = Throttle()
        app.held.hang_up = self._hold_too_much

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            for client in too_many(self._open_requests()):
                self._hang_up(client, "too many open requests")

    def _open_requests(self) -> Counter[Any]:
        return sum((port.open_requests() for port in self._ports), Counter())

    def _hold_too_much(self, client: Any) -> None:
        self._hang_up(client, "it holds too much memory")

    def _hang_up(self, client: Any, reason: str) -> None:
        for port in self._ports:
            port.hang_up(client)
        left_out = self._throttle.admit(asyncio.get_running_loop().time())
        if left_out is not None:
            more = {"not_logged": left_out} if left_out else {}
            held, waiting = self._app.held.total, self._open_requests().total()
            log.warning(
                "hung up on a client",
                extra=fields(remote_addr=f"{client[0]}:{client[1]}", reason=reason, held_bytes=held, open_requests=waiting, **more),
            )
