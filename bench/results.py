"""Results: what `compare` writes, one file a run, and `report` reads; and the figures of several runs together.

A run is saved after each case, so that one which was ended can be continued. What the page is made of is kept.json: of each case the newest
run's samples, each with its run's machine, commit and date.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench.load.histogram import Histogram, added
from bench.load.tally import Measured
from bench.machine import Machine

FOLDER = Path(__file__).parent / "results"
SUFFIX = ".raw.json"
KEPT = "kept.json"
SUBJECT, REFERENCE = "keelson", "etcd"


class Case(Struct, frozen=True, omit_defaults=True):
    """One load: `at` is "leader" or "spread" (connections go to all members in turn). `percent`: an open loop at so much of what the reference
    does in the closed loop that the other fields describe; 0 is that closed loop."""

    operation: str
    in_flight: int
    connections: int
    at: str
    tls: bool = False
    percent: int = 0


class Sample(Struct, frozen=True, omit_defaults=True):
    """One case on one peer in one round. Figures of members have the leader first. `failed`: why there is no figure."""

    peer: str
    round: int
    case: Case
    measured: Measured | None
    members_resident_bytes: list[int] = []
    rate: float = 0.0
    """Requests a second that an open loop asked for."""
    failed: str = ""


class Fact(Struct, frozen=True):
    """One figure that is no rate under load. Of units of time and size less is better, of rates more."""

    peer: str
    round: int
    name: str
    value: float
    unit: str


class Plan(Struct, frozen=True):
    """What was to be measured: a run that is continued goes on with it."""

    peers: list[str]
    others: list[str] = []
    """Peers that are asked only for what all can do."""
    rounds: int = 3
    seconds: float = 4.0
    warm_up_s: float = 1.0
    only: str = ""
    tls: bool = False
    keys: list[int] = []
    """Steps of growth; none: starting, growing and restarting are not measured."""
    lifecycle_rounds: int = 1
    look: bool = False
    """Too short for figures to be kept."""


class PeerInfo(Struct, frozen=True):
    version: str
    settings: str
    """How it was started, and when it acknowledges a write."""


class Results(Struct, frozen=True):
    """One run."""

    began: str
    machine: Machine
    plan: Plan
    peers: dict[str, PeerInfo]
    members: int
    value_bytes: int
    samples: list[Sample] = []
    facts: list[Fact] = []
    rates: dict[str, float] = {}
    """What the reference did in closed loops, by operation: open loops are shares of it."""
    lifecycles: list[tuple[str, int]] = []
    """Peers and rounds whose facts are complete."""
    skipped: dict[str, str] = {}
    """Peers that were wanted and are not installed, with what to do."""
    complete: bool = False


class Figures:
    """Medians over the rounds of one run, or of several, where the newest run that measured a case counts."""

    def __init__(self, runs: Sequence[Results]) -> None:
        self.runs = sorted(runs, key=lambda run: run.began)
        self._samples: dict[tuple[str, Case], list[Sample]] = {}
        self._runs: dict[tuple[str, Case], Results] = {}
        self._facts: dict[tuple[str, str], list[Fact]] = {}
        self._fact_runs: dict[tuple[str, str], Results] = {}
        for run in self.runs:
            of_run: dict[tuple[str, Case], list[Sample]] = {}
            for sample in run.samples:
                of_run.setdefault((sample.peer, sample.case), []).append(sample)
            facts: dict[tuple[str, str], list[Fact]] = {}
            for fact in run.facts:
                facts.setdefault((fact.peer, fact.name), []).append(fact)
            self._samples |= of_run
            self._facts |= facts
            self._runs |= dict.fromkeys(of_run, run)
            self._fact_runs |= dict.fromkeys(facts, run)

    # --- what there is

    @property
    def peers(self) -> list[str]:
        """The subject, the reference, then the others."""
        there = dict.fromkeys(peer for peer, _ in [*self._samples, *self._facts])
        return sorted(there, key=lambda peer: (peer != SUBJECT, peer != REFERENCE))

    def cases(self, peer: str = "") -> list[Case]:
        return list(dict.fromkeys(case for its, case in self._samples if peer in ("", its)))

    def fact_names(self) -> list[str]:
        return list(dict.fromkeys(name for _, name in self._facts))

    def run(self, peer: str, case: Case) -> Results | None:
        return self._runs.get((peer, case))

    def run_of_fact(self, peer: str, name: str) -> Results | None:
        return self._fact_runs.get((peer, name))

    # --- rates under load

    def of(self, peer: str, case: Case) -> list[Measured]:
        """One a round, without rounds that failed."""
        return [sample.measured for sample in self._samples.get((peer, case), []) if sample.measured is not None]

    def failures(self, peer: str, case: Case) -> list[str]:
        return [sample.failed for sample in self._samples.get((peer, case), []) if sample.failed]

    def median(self, peer: str, case: Case, field: str = "per_second") -> float | None:
        """Over the rounds, of a field of `Measured`; None if there is no figure."""
        found = [getattr(measured, field) for measured in self.of(peer, case)]
        return statistics.median(found) if found else None

    def spread(self, peer: str, case: Case) -> float:
        """Greatest distance of a round's rate from the median, as a share of it."""
        middle = self.median(peer, case)
        return max(abs(measured.per_second - middle) for measured in self.of(peer, case)) / middle if middle else 0.0

    def histogram(self, peer: str, case: Case) -> Histogram:
        """Latencies of all rounds together."""
        return added([measured.histogram for measured in self.of(peer, case)])

    def cpu_us(self, peer: str, case: Case) -> float | None:
        """Processor time of all members together for one request."""
        found = [1e6 * sum(each.servers_cpu_s) / max(1, each.requests) for each in self.of(peer, case) if each.servers_cpu_s]
        return statistics.median(found) if found else None

    def errors(self, peer: str, case: Case) -> int:
        return sum(sum(measured.errors.values()) for measured in self.of(peer, case))

    def rate(self, peer: str, case: Case) -> float:
        """What an open loop asked for."""
        return next((sample.rate for sample in self._samples.get((peer, case), []) if sample.rate), 0.0)

    def ratio(self, case: Case, field: str = "per_second") -> float | None:
        """Subject to reference, if one run measured both."""
        ours, theirs = self.median(SUBJECT, case, field), self.median(REFERENCE, case, field)
        if ours is None or not theirs or self.run(SUBJECT, case) is not self.run(REFERENCE, case):
            return None
        return ours / theirs

    # --- facts

    def fact(self, peer: str, name: str) -> float | None:
        """Median over the rounds; None if this peer has none."""
        found = [fact.value for fact in self._facts.get((peer, name), [])]
        return statistics.median(found) if found else None

    def unit(self, name: str) -> str:
        return next(facts[0].unit for (_, its), facts in self._facts.items() if its == name)

    def fact_ratio(self, name: str) -> float | None:
        ours, theirs = self.fact(SUBJECT, name), self.fact(REFERENCE, name)
        if ours is None or not theirs or self.run_of_fact(SUBJECT, name) is not self.run_of_fact(REFERENCE, name):
            return None
        return ours / theirs


def lower_is_better(unit: str) -> bool:
    return "/" not in unit


def merged(kept: Sequence[Results], new: Results) -> list[Results]:
    """The runs with one more: of what it measured, only its samples stay. A run with only one of subject and reference has no ratio and
    does not take the place of one that has."""
    both = {SUBJECT, REFERENCE}
    peers = {sample.peer for sample in new.samples} | {fact.peer for fact in new.facts}
    if len(both & peers) == 1:
        new = replace(
            new,
            samples=[sample for sample in new.samples if sample.peer not in both],
            facts=[fact for fact in new.facts if fact.peer not in both],
        )
    samples, facts = {(sample.peer, sample.case) for sample in new.samples}, {(fact.peer, fact.name) for fact in new.facts}
    thinned = [
        replace(
            run,
            samples=[sample for sample in run.samples if (sample.peer, sample.case) not in samples],
            facts=[fact for fact in run.facts if (fact.peer, fact.name) not in facts],
        )
        for run in kept
        if run.began != new.began
    ]
    return sorted((run for run in [*thinned, new] if run.samples or run.facts), key=lambda run: run.began)


def path_of(run: Results) -> Path:
    return FOLDER / f"{run.began.replace(':', '').replace('-', '')}{SUFFIX}"


def write(run: Results) -> Path:
    """Whole or not at all: a reader, or one who continues the run, never finds half of it."""
    FOLDER.mkdir(exist_ok=True)
    path = path_of(run)
    _replace(path, msgspec.json.encode(run))
    return path


def _replace(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def raw_files() -> list[Path]:
    """Oldest first."""
    return sorted(FOLDER.glob(f"*{SUFFIX}"))


def read(path: Path) -> Results:
    """Raises msgspec.ValidationError for what another version wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def read_kept(path: Path = FOLDER / KEPT) -> list[Results]:
    return msgspec.json.decode(path.read_bytes(), type=list[Results]) if path.exists() else []


def write_kept(runs: Sequence[Results], path: Path = FOLDER / KEPT) -> None:
    """One run a line, so that a difference in git shows which one changed."""
    _replace(path, b"[\n" + b",\n".join(msgspec.json.encode(run) for run in runs) + b"\n]\n")
