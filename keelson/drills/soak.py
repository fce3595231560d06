"""`make soak`: clients at work for as long as asked while everything happens to the members, in random order.

    python -m keelson.drills.soak --minutes 60 [--seed S] [--target etcd]

The run is cut into windows with keys of their own: in each some faults, a compaction of what came before, a defragmentation; at its end the whole
history of the window is judged as a drill's is, and its keys are deleted. So memory here stays bounded, and so must the members': their memory and
files are sampled all the time, and the trend is told. The report (soak.json, soak.html) is written anew after each window; the run goes on until its
time is over or a promise is broken.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from keelson.cogs import output
from keelson.cogs.tasks import TaskSet
from keelson.drills import growth, measures, program, soak_page, upkeep
from keelson.drills.cluster import Cluster, NotReady
from keelson.drills.fault import Fault
from keelson.drills.faults.follower_kill import FollowerKill
from keelson.drills.faults.leader_kill import LeaderKill
from keelson.drills.faults.leader_pause import LeaderPause
from keelson.drills.faults.majority_loss import MajorityLoss
from keelson.drills.faults.member_replacement import MemberReplacement
from keelson.drills.faults.partition import AsymmetricPartition, DeafFollower, NetworkFault, Partition
from keelson.drills.faults.rolling_restart import RollingRestart
from keelson.drills.growth import Size
from keelson.drills.network.proxies import Proxies
from keelson.drills.program import Program
from keelson.drills.running import machine
from keelson.drills.session import Session
from keelson.drills.soak_report import Report, Window
from keelson.launcher.cluster import Refused
from kvstore.client.client import Client, StoreError, prefix_end

FAULTS: tuple[type[Fault], ...] = (
    LeaderKill, LeaderPause, FollowerKill, MajorityLoss, MemberReplacement, RollingRestart, Partition, AsymmetricPartition, DeafFollower,
)  # fmt: skip
GROW = "grow-and-shrink"
ROUND = 3
"""Things done in a window."""
SAMPLE_S = 2.0
TIMEOUT_S = 5.0
FLAGS = ("--heartbeat-interval=100", "--election-timeout=1000", "--snapshot-count=2000")
"""Members that were away shall need snapshots now and then."""


class Soak:
    def __init__(self, drilled: Program, minutes: float, seed: int, rate_per_s: float, folder: Path) -> None:
        self.length_s, self.rate_per_s, self.seed = 60 * minutes, rate_per_s, seed
        self.cluster = Cluster(drilled, folder, 3, flags=FLAGS)
        settings: dict[str, float | int | str] = {"minutes": minutes, "seed": seed, "rate_per_s": rate_per_s}
        self.report = Report(drilled.name, drilled.version, datetime.now(UTC).isoformat(timespec="seconds"), settings, machine(), [], [], [])
        self._chance = random.Random(seed)
        self._network = Proxies()
        self._began_s = 0.0
        self._compacted = 1

    async def run(self, folder: Path) -> None:
        """Fills `report` and writes it to `folder`. Raises NotReady, StoreError."""
        sampling = TaskSet("soak")
        try:
            async with self.cluster:
                await self._network.prepare(self.cluster)
                await self.cluster.start()
                self._began_s = time.monotonic()
                sampling.start("sizes", self._sample())
                while time.monotonic() < self._began_s + self.length_s and self.report.kept:
                    window = await self._window(len(self.report.windows))
                    self.report.windows.append(window)
                    self.report.verdicts = growth.judge(self.report.sizes, time.monotonic() - self._began_s)
                    self.write(folder)
                    tell(self._line(window))
        finally:
            await sampling.close()
            await self._network.close()

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "soak.json").write_bytes(msgspec.json.format(msgspec.json.encode(self.report), indent=1) + b"\n")
        (folder / "soak.html").write_text(soak_page.render(self.report))

    async def _window(self, number: int) -> Window:
        prefix = b"soak/%d/" % number
        session = Session(self.cluster, self.rate_per_s, TIMEOUT_S, self._chance.randrange(2**31), prefix)
        began_s = time.monotonic()
        done: list[str] = []

        async def story() -> None:
            await asyncio.sleep(1)
            await self._keep_house(session.first - 1)
            for kind in self._chance.sample([*FAULTS, None], ROUND):
                done.append(await self._do(kind))
                session.load.go_home()
                await asyncio.sleep(self._chance.uniform(0.5, 3))

        await session.play(story)
        verdicts = await asyncio.to_thread(session.verdicts)
        samples = session.load.samples
        ended_s = max(sample.called_s for sample in samples)
        unknown = sum(sample.unknown for sample in samples)
        failed = sum(bool(sample.error) for sample in samples) - unknown
        gap_s = measures.longest_gap_s((sample.returned_s for sample in samples if measures.acknowledged(sample)), began_s + 1, ended_s)
        async with Client([member.client_url for member in self.cluster], timeout_s=30) as client:
            await client.delete(prefix, prefix_end(prefix))
        return Window(began_s - self._began_s, done, len(samples) - failed - unknown, failed, unknown, gap_s, verdicts)

    async def _keep_house(self, revision: int) -> None:
        """Under load: history up to `revision`, before this window, is cut, and one member's file is written anew."""
        async with Client([member.client_url for member in self.cluster], timeout_s=30) as client:
            if revision > self._compacted:
                await client.compact(revision)
                self._compacted = revision
        async with Client([self._chance.choice(self.cluster.members).client_url], timeout_s=60) as client:
            await client.defragment()

    async def _do(self, kind: type[Fault] | None) -> str:
        """One fault, injected and healed, or (None) a member that comes and goes; what it was."""
        if kind is None:
            await upkeep.grow_and_shrink(self.cluster, self._chance.uniform(1, 4), _nobody, self._network.admit)
            await self.cluster.wait_healthy()
            return GROW
        fault = kind()
        if isinstance(fault, NetworkFault):
            fault.network = self._network
        await fault.inject(self.cluster, _nobody)
        await asyncio.sleep(self._chance.uniform(0.2, 4) if fault.hold_s else 0)
        await fault.heal(self.cluster, _nobody)
        await self.cluster.wait_healthy()
        return fault.name

    async def _sample(self) -> None:
        while True:
            for member in list(self.cluster.members)[:3]:
                at_s = time.monotonic() - self._began_s
                if member.process is None or not member.alive():
                    continue
                memory, files = growth.memory_bytes(member.process.pid), await asyncio.to_thread(growth.files_bytes, member.data)
                answer = await member.status()
                in_use = 0 if answer is None else answer.dbSizeInUse
                self.report.sizes.append(Size(round(at_s, 1), member.name, memory, files, in_use))
            await asyncio.sleep(SAMPLE_S)

    def _line(self, window: Window) -> str:
        broken = [f"BROKEN: {verdict.promise}: {verdict.detail}" for verdict in window.verdicts if not verdict.kept]
        done = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in Counter(window.done).items())
        counts = f"{window.ok} answered, {window.failed} failed, {window.unknown} unknown"
        text = f"{output.duration(window.began_s):>6}  {counts}, longest gap of writes {window.gap_s:.1f} s; {done}"
        return text + "".join(f"\n        {line}" for line in broken)


def _nobody(_: str) -> None:
    """Nobody is told: a window's line says what was done in it."""


def tell(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--target", choices=[program.KEELSON, program.ETCD], default=program.KEELSON)
    parser.add_argument("--etcd", default="")
    parser.add_argument("--report", type=Path, default=Path("drill-reports"))
    parser.add_argument("--keep", type=Path, help="where the members' files and logs are left")
    options = parser.parse_args()
    try:
        drilled = program.find(options.target, options.etcd)
    except Refused as refused:
        sys.exit(str(refused))
    folder = Path(tempfile.mkdtemp(prefix="keelson-soak-"))
    soak = Soak(drilled, options.minutes, options.seed, options.rate, folder)
    tell(f"{drilled.name} {drilled.version}, {options.minutes:g} minutes, seed {options.seed}, report in {options.report}/soak.html")
    try:
        asyncio.run(soak.run(options.report))
    except (NotReady, StoreError) as error:
        soak.report.error = str(error) or type(error).__name__
        soak.write(options.report)
        tell(f"FAILED: {soak.report.error}")
    finally:
        if options.keep is not None:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    for verdict in soak.report.verdicts:
        tell(f"{'kept' if verdict.kept else 'BROKEN'}: {verdict.promise}: {verdict.detail}")
    checked = sum(len(window.verdicts) for window in soak.report.windows)
    tell(f"{len(soak.report.windows)} windows, {checked} promises checked, {'all kept' if soak.report.kept else 'NOT all kept'}")
    sys.exit(0 if soak.report.kept else 1)


if __name__ == "__main__":
    main()
