"""Clients at work on a cluster for a while, and afterwards the verdict on all that they asked and were told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from keelson.cogs.tasks import TaskSet
from keelson.drills import verdicts
from keelson.drills.cluster import Cluster
from keelson.drills.fault import Verdict
from keelson.drills.leadership import Leadership
from keelson.drills.load import PREFIX, Load
from keelson.drills.watchers import Change, Watches, history

CATCH_UP_S = 30.0

T = TypeVar("T")


class Session:
    """Used once. Its keys begin with `prefix`, of which there is none before."""

    def __init__(self, cluster: Cluster, rate_per_s: float, timeout_s: float, seed: int, prefix: bytes = PREFIX) -> None:
        self.cluster = cluster
        self.load = Load(cluster, rate_per_s, timeout_s, seed, prefix)
        self.leadership = Leadership(cluster)
        self.watches: Watches
        self._prefix = prefix
        self.first = self._last = 0
        """The first revision that clients made, or might have made."""
        self._histories: dict[str, list[Change]] = {}

    async def play(self, story: Callable[[], Awaitable[T]]) -> T:
        """Clients work while `story` lasts; then everything is read and told to its end. Raises what `story` raises, NotReady, StoreError."""
        cluster = self.cluster
        self.first = (await cluster[0].client.get(self._prefix)).header.revision + 1
        self.watches = Watches(cluster, self.first, self._prefix)
        stop = asyncio.Event()
        around = TaskSet("drill")
        around.start("leadership", self.leadership.run())
        for number, watch in enumerate(self.watches.every):
            around.start(f"watch {number}", watch.run())
        try:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.load.run(stop), name="load")
                    try:
                        result = await story()
                    finally:
                        stop.set()
            except ExceptionGroup as several:
                raise several.exceptions[0] from None
            await cluster.wait_healthy()
            await self.load.read_everything((await cluster.leader()).client)
            self._last = (await cluster[0].client.get(self._prefix)).header.revision
            await self.watches.catch_up(self._last, CATCH_UP_S)
            self._histories = {member.name: await history(member, self.first, self._last, CATCH_UP_S) for member in cluster}
        finally:
            await around.close()
            await self.load.close()
        return result

    def verdicts(self) -> list[Verdict]:
        """After `play`. Takes a while: not for the event loop."""
        operations = self.load.operations
        same, reference = verdicts.of_members(self.first, self._histories, self._last)
        return [
            verdicts.of_history(operations),
            same,
            verdicts.of_acknowledged(operations, reference),
            verdicts.of_reads(operations, reference),
            *verdicts.of_watches(self.watches.every, reference, self.load.began_at),
        ]
