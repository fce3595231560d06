"""One fault, one cluster, one run: members are started, clients begin, the fault comes and goes, and everything is checked."""

import asyncio
import itertools
import shutil
import tempfile
import time
from pathlib import Path

from msgspec import Struct

from keelson.drills import measures
from keelson.drills.cluster import Cluster
from keelson.drills.fault import Fault
from keelson.drills.leadership import Leadership, leaders, longest_without_s
from keelson.drills.load import Load
from keelson.drills.program import Program
from keelson.drills.session import Session
from keelson.drills.trial import Trial

WARM_UP_S = 0.5
"""Connections are made and first requests answered: not part of the calm phase."""


class Settings(Struct, frozen=True):
    """What a drill is told. `timeout_s`: how long a client waits for an answer, tries included."""

    members: int = 3
    rate_per_s: float = 300.0
    calm_s: float = 3.0
    hold_s: float | None = None
    """Between inject and heal, in place of the fault's own."""
    aftermath_s: float = 4.0
    heartbeat_ms: int = 100
    election_ms: int = 1000
    timeout_s: float = 5.0
    tls: bool = False
    seed: int = 1

    @property
    def flags(self) -> list[str]:
        return [f"--heartbeat-interval={self.heartbeat_ms}", f"--election-timeout={self.election_ms}"]


SHORT = Settings(rate_per_s=150, calm_s=0.5, hold_s=0.5, aftermath_s=0.8, heartbeat_ms=50, election_ms=500, timeout_s=1.2)
"""To see that promises are kept, in a few seconds; its times say nothing."""


class Onlooker:
    """Who looks on while a trial runs: the progress line. Every method may be left empty."""

    def tell(self, text: str) -> None:
        """Something happened."""

    def phase(self, name: str) -> None:
        """The trial is in this phase from now on."""

    def look_at(self, load: Load, leadership: Leadership) -> None:
        """Here is what can be shown of it."""


async def run(fault: Fault, program: Program, settings: Settings, onlooker: Onlooker, keep: Path | None = None) -> Trial:
    """Raises Impossible, NotReady, StoreError when there is nothing to judge. `keep`: where the members' files are left."""
    folder = Path(tempfile.mkdtemp(prefix=f"keelson-drill-{fault.name}-"))
    cluster = Cluster(program, folder, max(settings.members, fault.members), tls=settings.tls or fault.needs_tls, flags=settings.flags)
    try:
        async with cluster:
            await fault.prepare(cluster)
            onlooker.phase("start")
            await cluster.start()
            return await _Run(fault, cluster, settings, onlooker).run()
    finally:
        await fault.clean_up(cluster)
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.key"))
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    def __init__(self, fault: Fault, cluster: Cluster, settings: Settings, onlooker: Onlooker) -> None:
        self.fault, self.cluster, self.settings, self.onlooker = fault, cluster, settings, onlooker
        self.session = Session(cluster, settings.rate_per_s, settings.timeout_s, settings.seed)
        self.load, self.leadership = self.session.load, self.session.leadership
        self.marks: list[tuple[float, str]] = []

    async def run(self) -> Trial:
        self.onlooker.look_at(self.load, self.leadership)
        times = await self.session.play(self._story)
        self.onlooker.phase("checks")
        return await asyncio.to_thread(self._trial, times)

    async def _story(self) -> "_Times":
        settings, phase = self.settings, self.onlooker.phase
        phase("warm-up")
        await asyncio.sleep(WARM_UP_S)
        phase("calm")
        begin_s, tries = time.monotonic(), self.load.failed_tries
        await asyncio.sleep(settings.calm_s)
        phase("fault")
        calm_tries, inject_s = self.load.failed_tries, time.monotonic()
        await self.fault.inject(self.cluster, self._tell)
        fault_s = self.marks[0][0] if self.marks else inject_s
        await asyncio.sleep(self.fault.hold_s if settings.hold_s is None or not self.fault.hold_s else settings.hold_s)
        phase("heal")
        heal_s = time.monotonic()
        await self.fault.heal(self.cluster, self._tell)
        await self.cluster.wait_healthy()
        phase("aftermath")
        healthy_s, fault_tries = time.monotonic(), self.load.failed_tries
        self.load.go_home()
        await asyncio.sleep(settings.aftermath_s)
        phase("last tries")
        return _Times(begin_s, fault_s, heal_s, healthy_s, time.monotonic(), (calm_tries - tries, fault_tries - calm_tries, fault_tries))

    def _tell(self, text: str) -> None:
        self.marks.append((time.monotonic(), text))
        self.onlooker.tell(text)

    def _trial(self, times: "_Times") -> Trial:
        watches = self.session.watches
        samples = [sample for sample in self.load.samples if sample.called_s >= times.begin_s]
        acknowledged_s = [sample.returned_s for sample in samples if measures.acknowledged(sample)]
        changes = leaders(self.leadership.answers, len(self.cluster.members))
        calm_tries, fault_tries, tries_before = times.tries
        begin_s, fault_s, healthy_s, end_s = times.begin_s, times.fault_s, times.healthy_s, times.end_s
        # What was under way when the fault came was met by it.
        calm = [sample for sample in samples if sample.returned_s < fault_s]
        met = [sample for sample in samples if sample.returned_s >= fault_s and sample.called_s < healthy_s]
        later = [sample for sample in samples if sample.called_s >= healthy_s]
        trial = Trial(
            heal_s=times.heal_s - fault_s,
            healthy_s=healthy_s - fault_s,
            end_s=end_s - fault_s,
            no_leader_s=longest_without_s(changes, fault_s, end_s),
            first_write_s=measures.first_write_s(samples, fault_s),
            write_gap_s=measures.longest_gap_s(acknowledged_s, fault_s, end_s),
            calm_gap_s=measures.longest_gap_s(acknowledged_s, begin_s, fault_s),
            endpoint_gap_s=measures.endpoint_gap_s(samples, fault_s, end_s),
            resumed=watches.resumed,
            before=measures.phase(calm, calm_tries),
            around=measures.phase(met, fault_tries),
            after=measures.phase(later, self.load.failed_tries - tries_before),
            errors=self.load.errors(),
            marks=[(at_s - fault_s, text) for at_s, text in self.marks],
            leaders=[(max(at_s, begin_s) - fault_s, leader) for at_s, leader in _within(changes, begin_s, end_s)],
            timeline=measures.timeline(samples, itertools.chain.from_iterable(watch.events_s for watch in watches.every), fault_s, begin_s, end_s),
            verdicts=[],
        )
        trial.verdicts = [*self.session.verdicts(), *self.fault.judge(trial)]
        return trial


class _Times(Struct, frozen=True):
    """Of time.monotonic(). `tries`: failed ones in the calm phase, then until all were healthy, and all until then."""

    begin_s: float
    fault_s: float
    heal_s: float
    healthy_s: float
    end_s: float
    tries: tuple[int, int, int]


def _within(changes: list[tuple[float, str | None]], begin_s: float, end_s: float) -> list[tuple[float, str | None]]:
    """The changes in between, and the one before them."""
    before = [change for change in changes if change[0] <= begin_s][-1:]
    return before + [change for change in changes if begin_s < change[0] <= end_s]
