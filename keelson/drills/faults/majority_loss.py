"""The leader and all but one of the others are gone. What is left must answer nothing that needs a majority, and may answer what does not."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keelson.drills.cluster import Cluster, Member
from keelson.drills.fault import Fault, Tell, Verdict
from kvstore.client.client import StoreError

if TYPE_CHECKING:
    from keelson.drills.trial import Trial

PATIENCE_S = 2.0
"""Between the loss and the questions: what was under way has come to its end by then (two election timeouts of the usual length)."""
KEY = b"drill/majority-loss"


class MajorityLoss(Fault):
    name = "majority-loss"
    what = "kill -9 of all members but one, the leader among them; all come back"

    _killed: list[Member]
    _verdicts: list[Verdict]

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        leader = await cluster.leader()
        survivor = (await cluster.followers())[0]
        await survivor.client.put(KEY, b"before")
        await survivor.client.get(KEY)  # so the survivor has it
        self._killed = [member for member in cluster.members if member is not survivor]
        tell(f"all but {survivor.name} killed, {leader.name}, the leader, among them")
        await asyncio.gather(*(member.kill() for member in self._killed))
        await asyncio.sleep(PATIENCE_S)
        self._verdicts = [await _no_write(survivor), await _no_read(survivor), await _serializable(survivor)]

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        tell(f"{' and '.join(member.name for member in self._killed)} started")
        for member in self._killed:
            member.start()
        await cluster.wait_healthy()

    def judge(self, trial: "Trial") -> Sequence[Verdict]:
        return self._verdicts


async def _no_write(survivor: Member) -> Verdict:
    promise = "without a majority no write is acknowledged"
    try:
        await survivor.client.put(KEY, b"meanwhile")
    except StoreError as error:
        return Verdict(promise, True, str(error))
    return Verdict(promise, False, f"{survivor} alone acknowledged one")


async def _no_read(survivor: Member) -> Verdict:
    promise = "without a majority no linearizable read is answered"
    try:
        await survivor.client.get(KEY)
    except StoreError as error:
        return Verdict(promise, True, str(error))
    return Verdict(promise, False, f"{survivor} alone answered one")


async def _serializable(survivor: Member) -> Verdict:
    promise = "without a majority serializable reads go on"
    try:
        found = await survivor.client.get(KEY, serializable=True)
    except StoreError as error:
        return Verdict(promise, False, str(error))
    values = [pair.value for pair in found.kvs]
    return Verdict(promise, values == [b"before"], f"{survivor} answered {values}")
