"""The leader's disk becomes slow: each flush takes a fifth of a second more, as with a failing disk or a neighbour that writes a lot."""

import sys
from typing import TYPE_CHECKING

from keelson.drills import slow_disk
from keelson.drills.cluster import Cluster
from keelson.drills.fault import Fault, Tell
from keelson.drills.slow_disk import Delay

if TYPE_CHECKING:
    from keelson.drills.program import Program

DELAY_S = 0.2


class SlowDisk(Fault):
    name = "slow-disk"
    what = f"each flush of the leader's disk takes {DELAY_S:g} s more"

    def __init__(self) -> None:
        self._delays: dict[str, Delay] = {}

    def why_not(self, program: "Program") -> str | None:
        return slow_disk.why_not()

    async def prepare(self, cluster: Cluster) -> None:
        for member in cluster.members:
            delay = self._delays[member.name] = Delay(str(cluster.folder / f"{member.name}-delay"))
            member.wrapper = [*member.wrapper, sys.executable, "-I", "-S", slow_disk.__file__, delay.path]

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        leader = await cluster.leader()
        tell(f"{leader.name}, the leader: each flush of its disk takes {DELAY_S:g} s more")
        self._delays[leader.name].set(DELAY_S)

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        tell("its disk is as fast as before")
        for delay in self._delays.values():
            delay.set(0.0)
