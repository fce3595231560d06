"""Every member in turn is stopped in good order and started again, as an upgrade does it: the next one only when the last serves again.

With leadership handed over, requests under way finished and clients told to go elsewhere in time, nobody need notice.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keelson.drills.cluster import Cluster
from keelson.drills.fault import Fault, Tell, Verdict

if TYPE_CHECKING:
    from keelson.drills.trial import Trial

REST_S = 1.0
"""Between two members. Clients that moved may come back, and etcd counts a peer as connected only after a while."""


class RollingRestart(Fault):
    name = "rolling-restart"
    what = "SIGTERM to each member in turn, started again, the next when it is healthy"
    hold_s = 0.0

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        leader = await cluster.leader()
        for member in cluster.members:
            tell(f"{member.name} stops" + (", the leader" if member is leader else ""))
            await member.terminate()
            tell(f"{member.name} starts")
            await member.restart()
            await cluster.wait_healthy()
            leader = await cluster.leader()
            await asyncio.sleep(REST_S)

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        """Nothing is broken."""

    def judge(self, trial: "Trial") -> Sequence[Verdict]:
        met = trial.around
        detail = f"{met.ok} answered, {met.failed} failed, {met.unknown} with unknown outcome, {met.retried} tries repeated by the client itself"
        return [Verdict("members that are restarted in turn fail no request", met.failed + met.unknown == 0, detail)]
