"""The leader's process ends at once, as by a power cut of its machine."""

from keelson.drills.cluster import Cluster, Member
from keelson.drills.fault import Fault, Tell


class LeaderKill(Fault):
    name = "leader-kill"
    what = "kill -9 of the leader, started again later"

    _killed: Member

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        self._killed = await cluster.leader()
        tell(f"{self._killed.name}, the leader, killed")
        await self._killed.kill()

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        tell(f"{self._killed.name} started")
        await self._killed.restart()
