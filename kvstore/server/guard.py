"""Nobody may take so much of a member that it cannot serve the others: who does is hung up on.

Memory is watched as it is taken (`api/held.py`). Idle connections are left alone until there are nearly as many as there may be. Open requests are
counted four times a second: a stream that waits costs 20 kB, and a client may have thousands on each of thousands of connections. When all
together have more than `OPEN_MAX`, the connections with the most go, until there are fewer. Who has what is only counted then, by looking at the
tasks: counting along would cost every request.
"""

import asyncio
import itertools
import logging
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from keelson.cogs.logs import fields
from kvstore.api.app import App
from kvstore.server import connections
from kvstore.server.listeners import ClientPort
from kvstore.server.throttle import Throttle

log = logging.getLogger("kvstore.server")

INTERVAL_S = 0.25
CROWD_ROUNDS = 4
"""Descriptors are counted once a second: with ten thousand of them it takes milliseconds."""
CROWDED = 0.8
"""The part of the connections that there may be at which idle ones must go."""
OPEN_MAX = 30_000
HELD_SHARE, HELD_BYTES_LEAST, HELD_BYTES_MOST = 1 / 16, 256 << 20, 1 << 30
"""The part of the machine's memory that connections may make us keep, and its bounds. Not small: large answers to slow clients are kept, too."""
REQUEST_TASK = "h2corn.request"
"""The name that h2corn gives to the task of each request."""


def held_bytes_max() -> int:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(min(max(memory_bytes * HELD_SHARE, HELD_BYTES_LEAST), HELD_BYTES_MOST))


def too_many(open_calls: int, open_max: int = OPEN_MAX) -> list[Any]:
    """Clients to hang up on, as the scopes of their requests name them."""
    if open_calls <= open_max:
        return []
    chosen = []
    for client, count in by_client().most_common():
        if open_calls <= open_max // 2:
            break
        chosen.append(client)
        open_calls -= count
    return chosen


def by_client() -> Counter[Any]:
    """Requests under way of each client."""
    found: Counter[Any] = Counter()
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if task.get_name() == REQUEST_TASK and frame is not None:
            scope = frame.f_locals.get("scope")  # the application's own argument
            if scope is not None and scope.get("client") is not None:
                found[tuple(scope["client"])] += 1
    return found


class Guard:
    """Of an application and the ports that it is served on."""

    def __init__(self, app: App, ports: Sequence[ClientPort]) -> None:
        self._app = app
        self._ports = ports
        self._throttle = Throttle()
        app.held.hang_up = self._hold_too_much

    async def run(self) -> None:
        """Until cancelled."""
        for number in itertools.count(1):
            await asyncio.sleep(INTERVAL_S)
            if number % CROWD_ROUNDS == 0:
                self._thin_out()
            for client in too_many(self._app.stats.open_calls):
                self._hang_up(client, "too many open requests")

    def _thin_out(self) -> None:
        """Make room for new connections before there is none left, at the cost of those that do nothing: a client comes again when it has to."""
        for port in self._ports:
            if connections.descriptors() > CROWDED * port.connections_max:
                count = port.hang_up_idle(by_client())
                if count:
                    log.warning("hung up on idle connections", extra=fields(count=count, limit=port.connections_max))

    def _hold_too_much(self, client: Any) -> None:
        self._hang_up(client, "it holds too much memory")

    def _hang_up(self, client: Any, reason: str) -> None:
        for port in self._ports:
            port.hang_up(client)
        left_out = self._throttle.admit(asyncio.get_running_loop().time())
        if left_out is not None:
            more = {"not_logged": left_out} if left_out else {}
            held, waiting = self._app.held.total, self._app.stats.open_calls
            log.warning(
                "hung up on a client",
                extra=fields(remote_addr=f"{client[0]}:{client[1]}", reason=reason, held_bytes=held, open_requests=waiting, **more),
            )
