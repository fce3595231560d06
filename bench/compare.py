"""Keelson and other systems under the same load, in one run on one machine: `make bench`, `make bench-full`.

Rounds alternate (etcd, Keelson, etcd, Keelson, ...), each on a fresh three-member cluster with empty data directories; a figure is the median over
the rounds. Members and generator share the machine's processors, so a figure is what the whole machine gives, and peers that burn more
processor time get less done: that is meant. The run is saved to bench/results/ after every case: `--continue` goes on with one that was ended.
`python -m bench.report` makes docs/BENCHMARKS.md of the results.
"""

import argparse
import contextlib
import datetime
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from bench import lifecycle, results
from bench.cases import FULL_SCALE, Scale, cases, closed_loop_of, common_cases
from bench.load.http2 import ConnectionBroken
from bench.load.requests import VALUE_BYTES
from bench.load.tally import Measured
from bench.machine import describe, resident_bytes
from bench.peers import NAMES, peer
from bench.peers.base import Missing, Peer, Standing
from bench.peers.servers import Server
from bench.results import REFERENCE, Case, Fact, Figures, Plan, Results, Sample
from bench.tables import facts_table, table
from keelson.cogs import descriptors, output

MEMBERS = 3
DATA = Path(__file__).parent.parent / "build"
OTHERS = ["etcd-3.4", "redis", "zookeeper", "raft-core", "pysyncobj", "pysyncobj-tuned"]
BROKEN = (ConnectionBroken, OSError, TimeoutError, AssertionError)
"""What a load raises that cannot be put on. OSError: a member that is gone; AssertionError: one that does not start or refuses what it needs."""
LOOK_BELOW_S = 2.0
"""Cases shorter than this show whether something works; their figures are not kept."""


class Record:
    """A run as it grows; each addition is saved."""

    def __init__(self, run: Results) -> None:
        self.run = run
        self.path = results.path_of(run)

    def _save(self, run: Results) -> None:
        self.run = run
        self.path = results.write(run)

    def sample(self, sample: Sample) -> None:
        self._save(replace(self.run, samples=[*self.run.samples, sample]))

    def facts(self, peer: str, number: int, facts: Sequence[Fact]) -> None:
        self._save(replace(self.run, facts=[*self.run.facts, *facts], lifecycles=[*self.run.lifecycles, (peer, number)]))

    def rate(self, operation: str, per_second: float) -> None:
        self._save(replace(self.run, rates={**self.run.rates, operation: round(per_second)}))

    def end(self) -> None:
        self._save(replace(self.run, complete=True))

    def has(self, peer: str, number: int, case: Case) -> bool:
        return any(sample.peer == peer and sample.round == number and sample.case == case for sample in self.run.samples)


class Progress:
    """What is under way and how long it may still take: one line that changes, on a terminal only."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._began = time.monotonic()
        self._shown = output.colour_wanted()

    def line(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._shown else text, flush=True)

    def now(self, text: str) -> None:
        if self._shown:
            left = (time.monotonic() - self._began) / self._done * (self._steps - self._done) if self._done else 0
            until = f", {output.duration(left)} left" if self._done else ""
            print(f"\r\x1b[K[{self._done}/{self._steps}{until}] {text}", end="", flush=True)

    def step(self) -> None:
        self._done += 1

    def end(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", flush=True)


class Comparison:
    def __init__(self, record: Record, peers: Sequence[Peer], scale: Scale = FULL_SCALE) -> None:
        self._record = record
        self._plan = record.run.plan
        self._peers = peers
        self._scale = scale
        self._seeds = iter(range(1 + len(record.run.samples), 1_000_000))
        self._progress = Progress(sum(len(self._todo(each, number)) for each in peers for number in self._rounds()))

    def _rounds(self) -> range:
        return range(1, self._plan.rounds + 1)

    def _todo(self, peer: Peer, number: int) -> list[Case]:
        wanted = common_cases() if peer.name in self._plan.others else cases(tls=self._plan.tls)
        return [case for case in wanted if self._plan.only in case.operation and peer.can(case) and not self._record.has(peer.name, number, case)]

    def run(self) -> None:
        for number in self._rounds():
            for each in self._peers:
                self._round(each, number)
            if number <= self._plan.lifecycle_rounds and self._plan.keys and not self._plan.only:
                for each in self._peers:
                    if isinstance(each, Server) and each.name in self._plan.peers and (each.name, number) not in self._record.run.lifecycles:
                        self._lifecycle(each, number)
        self._progress.end()
        self._record.end()

    def _round(self, peer: Peer, number: int) -> None:
        todo = self._todo(peer, number)
        for tls in (False, True):
            part = [case for case in todo if case.tls == tls]
            while part:
                self._progress.now(f"round {number}: starting {peer.name}{' with TLS' if tls else ''}")
                part = self._cluster(peer, number, part, tls=tls)

    def _cluster(self, peer: Peer, number: int, todo: list[Case], *, tls: bool) -> list[Case]:
        """Cases on a fresh cluster, in their order; the rest if one failed, since what comes after it should not suffer from it."""
        with tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-", dir=DATA) as folder, contextlib.ExitStack() as stack:
            try:
                standing = stack.enter_context(peer.start(Path(folder), MEMBERS, tls=tls))
            except BROKEN as error:
                self._record.sample(Sample(peer.name, number, todo[0], None, failed=f"did not start: {str(error).splitlines()[0]}"))
                self._progress.line(f"  {peer.name} did not start: {error}")
                return todo[1:]
            for at, case in enumerate(todo):
                self._progress.now(f"round {number}: {peer.name}: {case.operation}, {case.in_flight} in flight, {case.at}")
                sample = self._sample(standing, peer, number, case)
                self._record.sample(sample)
                self._progress.step()
                self._progress.line(one_line(sample))
                if sample.failed:
                    return todo[at + 1 :]
        return []

    def _sample(self, standing: Standing, peer: Peer, number: int, case: Case) -> Sample:
        rate = 0.0
        try:
            rate = self._rate(standing, case) if case.percent else 0.0
            measured = self._measure(standing, case, rate or None)
            resident = [resident_bytes(process) for process in standing.processes]
        except BROKEN as error:
            return Sample(peer.name, number, case, None, [], rate, f"{type(error).__name__}: {error}")
        if peer.name == REFERENCE and not case.percent and not case.tls and case.operation not in self._record.run.rates:
            self._note_rate(case, measured)
        return Sample(peer.name, number, case, measured, resident, rate)

    def _measure(self, standing: Standing, case: Case, rate: float | None) -> Measured:
        return standing.measure(
            case, seconds=self._plan.seconds, warm_up_s=self._plan.warm_up_s, seed=next(self._seeds), rate=rate, scale=self._scale
        )

    def _note_rate(self, case: Case, measured: Measured) -> None:
        if any(opened.percent and closed_loop_of(opened) == case for opened in cases()):
            self._record.rate(case.operation, measured.per_second)

    def _rate(self, standing: Standing, case: Case) -> float:
        """Requests a second of an open loop, at least one: a share of what the reference did in this run, or, without it, of what this peer does."""
        if case.operation not in self._record.run.rates:
            self._note_rate(closed_loop_of(case), self._measure(standing, closed_loop_of(case), None))
        return max(1, round(self._record.run.rates[case.operation] * case.percent / 100))

    def _lifecycle(self, peer: Server, number: int) -> None:
        self._progress.now(f"round {number}: {peer.name}: starting, growing to {self._plan.keys[-1]:,} keys, restarting")
        facts = []
        try:
            for fact in lifecycle.measure(peer.kind, DATA, MEMBERS, self._plan.keys, self._plan.seconds, number):
                facts.append(fact)
                self._progress.line(f"  {fact.peer:<16}{fact.name:<62}{fact.value:>12,.2f} {fact.unit}")
        except Exception as error:  # whatever went wrong at the end of one life, the rest of the run is worth more
            self._progress.line(f"  {peer.name}: FAILED after {len(facts)} figures: {type(error).__name__}: {error}")
        self._record.facts(peer.name, number, facts)


def one_line(sample: Sample) -> str:
    case, measured = sample.case, sample.measured
    loop = f"open loop at {sample.rate:,.0f}/s" if case.percent else f"{case.in_flight} in flight"
    what = f"{case.operation}, {loop}, {case.at}{', TLS' if case.tls else ''}"
    if measured is None:
        return f"  {sample.peer:<16}{what:<56}  FAILED: {sample.failed}"
    errors = f"  ERRORS {measured.errors}" if measured.errors else ""
    members_us, generator_us = (1e6 * spent / max(1, measured.requests) for spent in (sum(measured.servers_cpu_s), measured.generator_cpu_s))
    return (
        f"  {sample.peer:<16}{what:<56}{measured.per_second:>10,.0f}/s  p50 {measured.p50_ms:.2f} ms"
        f"  cpu/request: members {members_us:.0f} us, generator {generator_us:.0f} us{errors}"
    )


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="keelson,etcd", help=f"of {', '.join(NAMES)}; or NAME=COMMAND for another build")
    parser.add_argument("--others", default="", help="further peers, only for what all can do: puts and reads at the leader")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured a case")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before that")
    parser.add_argument("--quick", action="store_true", help="one round of short cases: a look, not a measurement")
    parser.add_argument("--full", action="store_true", help=f"everything: with TLS, and with {', '.join(OTHERS)}")
    parser.add_argument("--only", default="", help="only operations whose name contains this")
    parser.add_argument("--tls", action="store_true", help="the main cases with mutual TLS too")
    parser.add_argument("--keys", type=_steps, default=[1_000, 100_000, 1_000_000], help="steps of growth, as in 1000,100000; 0: none")
    parser.add_argument("--lifecycle-rounds", type=int, default=1, help="in how many of the rounds that is measured")
    parser.add_argument("--continue", action="store_true", dest="go_on", help="go on with the newest run that was ended before its end")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.warm_up, options.keys = 1, 1.0, 0.4, [1_000, 20_000]
    if options.full:
        options.tls, options.others, options.seconds, options.warm_up = True, options.others or ",".join(OTHERS), min(options.seconds, 2.5), 0.6
    return options


def _steps(text: str) -> list[int]:
    return sorted(int(part) for part in text.split(",") if int(part))


def begin(options: argparse.Namespace) -> tuple[Results, list[Peer]]:
    """A run of which nothing is measured yet, and its peers in the order they take their turns."""
    plan = Plan(
        options.peers.split(","),
        [name for name in options.others.split(",") if name],
        options.rounds,
        options.seconds,
        options.warm_up,
        options.only,
        options.tls,
        options.keys,
        options.lifecycle_rounds,
        look=options.quick or options.seconds < LOOK_BELOW_S,
    )
    machine = describe(DATA)
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    peers, skipped = turns(plan)
    return Results(began, machine, plan, {each.name: each.info() for each in peers}, MEMBERS, VALUE_BYTES, skipped=skipped), peers


def turns(plan: Plan) -> tuple[list[Peer], dict[str, str]]:
    """The peers that are installed, the reference before the subject; and those that are not, with what to do.

    Raises Missing for one of the main peers.
    """
    skipped, found = dict[str, str](), [peer(text) for text in reversed(plan.peers)]
    for name in plan.others:
        try:
            found.append(peer(name))
        except Missing as missing:
            skipped[name] = str(missing)
    return found, skipped


def unfinished() -> Results:
    """The newest run if it was ended before its end. Raises Missing."""
    files = results.raw_files()
    run = results.read(files[-1]) if files else None
    if run is None or run.complete:
        raise Missing("there is no run to go on with")
    return run


def measured(run: Results, peers: Sequence[Peer], scale: Scale = FULL_SCALE) -> Results:
    record = Record(run)
    Comparison(record, peers, scale).run()
    return record.run


def opening_lines(run: Results) -> Iterator[str]:
    machine = run.machine
    yield f"{machine.processor}, {machine.cores} cores shared by {MEMBERS} members and the load generator; sync {machine.sync_ms:.2f} ms"
    if machine.load_before > 0.5:
        yield f"warning: load average {machine.load_before:.1f} before we began: others use this machine, figures will scatter"
    yield from (f"{name} is left out: {why}" for name, why in run.skipped.items())


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments)
    descriptors.raise_limit()
    DATA.mkdir(exist_ok=True)
    try:
        if options.go_on:
            run = unfinished()
            peers, _ = turns(run.plan)
        else:
            run, peers = begin(options)
    except Missing as missing:
        sys.exit(str(missing))
    print("\n".join(opening_lines(run)))
    run = measured(run, peers)
    colour, figures = output.colour_wanted(), Figures([run])
    print(f"\n{table(figures, colour)}\n")
    if run.facts:
        print(f"{facts_table(figures, colour)}\n")
    print(f"raw results: {results.path_of(run)}")


if __name__ == "__main__":
    main()
