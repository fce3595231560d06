"""The leader stands still and does not know it: connections stay open, nothing answers, and afterwards it believes for a moment that it leads."""

from keelson.drills.cluster import Cluster, Member
from keelson.drills.fault import Fault, Tell


class LeaderPause(Fault):
    name = "leader-pause"
    what = "SIGSTOP of the leader, SIGCONT later"

    _paused: Member

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        self._paused = await cluster.leader()
        tell(f"{self._paused.name}, the leader, paused")
        self._paused.pause()

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        tell(f"{self._paused.name} resumed")
        self._paused.resume()
