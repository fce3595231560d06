"""The adversary: breaks and mends links, processes and disks at random moments, until it is told to stop.

It prefers the leader as its victim: that is where a mistake hurts.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from kvstore.ids import MemberId
from tests.simulation.network import Network
from tests.simulation.options import Options
from tests.simulation.process import Process
from tests.simulation.timeline import Timeline


class Cluster(Protocol):
    """What the adversary can ask of the world beside its links."""

    def processes(self) -> Collection[Process]:
        """Those that are not gone for good."""
        ...

    def leader(self) -> MemberId | None: ...
    def transfer_leadership(self) -> None: ...
    def change_membership(self) -> None: ...


class Nemesis:
    def __init__(self, timeline: Timeline, options: Options, network: Network, cluster: Cluster) -> None:
        self._timeline = timeline
        self._options = options
        self._network = network
        self._cluster = cluster
        self._rng = timeline.random("nemesis")
        self.active = True
        for every_s, act in (
            (options.partition_every_s, self._partition),
            (options.crash_every_s, self._crash),
            (options.pause_every_s, self._pause),
            (options.slow_disk_every_s, self._slow_disk),
            (options.disk_full_every_s, self._fill_disk),
            (options.transfer_every_s, cluster.transfer_leadership),
            (options.change_every_s, cluster.change_membership),
        ):
            timeline.every(every_s, timeline.random(act.__name__), self._while_active(act))

    def stop(self) -> None:
        self.active = False

    def _while_active(self, act: Callable[[], None]) -> Callable[[], None]:
        return lambda: act() if self.active else None

    def _lasting(self, mean_s: float) -> float:
        return self._rng.expovariate(1 / mean_s)

    def _victim(self, candidates: Iterable[Process]) -> Process | None:
        chosen = list(candidates)
        if not chosen:
            return None
        leader = self._cluster.leader()
        for process in chosen:
            if process.id == leader and self._rng.random() < 0.4:
                return process
        return self._rng.choice(chosen)

    def _partition(self) -> None:
        members = [process.id for process in self._cluster.processes()]
        victim = self._victim(self._cluster.processes())
        if len(members) < 2 or victim is None:
            return
        kind = self._rng.random()
        if kind < 0.5:
            side = {victim.id}
        elif kind < 0.85:
            side = set(self._rng.sample(members, self._rng.randrange(1, len(members))))
        else:
            # One pair only: everybody else still sees both.
            other = self._rng.choice([member for member in members if member != victim.id])
            self._cut([(victim.id, other)])
            return
        self._cut([(inside, outside) for inside in members if inside in side for outside in members if outside not in side])

    def _cut(self, pairs: list[tuple[MemberId, MemberId]]) -> None:
        way = self._rng.random()
        one_way = way < self._options.one_way
        links = []
        for inside, outside in pairs:
            if not one_way or way * 2 < self._options.one_way:
                links.append((inside, outside))
            if not one_way or way * 2 >= self._options.one_way:
                links.append((outside, inside))
        self._timeline.say("cut " + " ".join(f"{sender}→{receiver}" for sender, receiver in links))
        for link in links:
            self._network.cut_link(*link)
        self._timeline.after(self._lasting(self._options.partition_lasts_s), self._mend, links)

    def _mend(self, links: list[tuple[MemberId, MemberId]]) -> None:
        if self.active:
            self._timeline.say("mend " + " ".join(f"{sender}→{receiver}" for sender, receiver in links))
            for link in links:
                self._network.heal_link(*link)

    def _crash(self) -> None:
        running = [process for process in self._cluster.processes() if process.running]
        victim = self._victim(running)
        if victim is None:
            return
        everybody = self._rng.random() < self._options.crash_all
        for process in running if everybody else [victim]:
            process.crash()
            self._timeline.after(self._lasting(self._options.down_s), self._restart, process)

    def _restart(self, process: Process) -> None:
        if self.active:
            process.start()

    def _pause(self) -> None:
        victim = self._victim(process for process in self._cluster.processes() if process.running and not process.paused)
        if victim is not None:
            victim.pause()
            self._timeline.after(self._lasting(self._options.pause_s), victim.resume)

    def _slow_disk(self) -> None:
        victim = self._victim(self._cluster.processes())
        if victim is not None:
            victim.slow_disk_until_s = self._timeline.now_s + self._lasting(self._options.slow_disk_s)
            self._timeline.say(f"{victim.id} has a slow disk until {victim.slow_disk_until_s:.3f}")

    def _fill_disk(self) -> None:
        """A process notices with its next write, and ends; a supervisor starts it again and again."""
        everybody = self._rng.random() < self._options.disk_full_all
        victim = self._victim(process for process in self._cluster.processes() if not process.disk_is_full)
        for process in self._cluster.processes() if everybody else [] if victim is None else [victim]:
            process.disk_is_full = True
            self._timeline.say(f"{process.id} has a full disk")
            self._timeline.after(self._lasting(self._options.disk_full_s), self._free_disk, process)

    def _free_disk(self, process: Process) -> None:
        if process.disk_is_full:
            self._timeline.say(f"{process.id} has room on its disk")
            process.disk_is_full = False
