"""A follower's process ends at once, as by a power cut of its machine. Only its own clients notice."""

from keelson.drills.cluster import Cluster, Member
from keelson.drills.fault import Fault, Tell


class FollowerKill(Fault):
    name = "follower-kill"
    what = "kill -9 of a follower, started again later"

    _killed: Member

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        self._killed = (await cluster.followers())[0]
        tell(f"{self._killed.name}, a follower, killed")
        await self._killed.kill()

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        tell(f"{self._killed.name} started")
        await self._killed.restart()
