"""Raw results: what `compare` writes and `report` reads."""

import statistics
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.load.tally import Measured
from bench.machine import Machine

FOLDER = Path(__file__).parent / "results"
SUFFIX = ".raw.json"


class Case(Struct, frozen=True):
    """One load: `at` is "leader" or "spread" (connections go to all members in turn)."""

    operation: str
    in_flight: int
    connections: int
    at: str


class Sample(Struct, frozen=True):
    """One case on one peer in one round. Figures of members have the leader first."""

    peer: str
    round: int
    case: Case
    measured: Measured
    members_resident_bytes: list[int]


class Fact(Struct, frozen=True):
    """One figure that is no rate under load. Of units of time and size less is better, of rates more."""

    peer: str
    round: int
    name: str
    value: float
    unit: str


class Results(Struct, frozen=True):
    began: str
    machine: Machine
    peers: dict[str, str]
    """What each peer says of its version."""
    members: int
    tls: bool
    value_bytes: int
    seconds: float
    warm_up_s: float
    rounds: int
    samples: list[Sample]
    facts: list[Fact] = []
    commands: dict[str, float] = {}
    """Replicated commands a second of libraries without etcd's API (name and settings to figure), if measured."""

    def cases(self) -> list[Case]:
        return list(dict.fromkeys(sample.case for sample in self.samples))

    def of(self, peer: str, case: Case) -> list[Sample]:
        """One sample a round."""
        return [sample for sample in self.samples if sample.peer == peer and sample.case == case]

    def median(self, peer: str, case: Case, field: str) -> float:
        """Over the rounds, of a field of `Measured`."""
        return statistics.median(getattr(sample.measured, field) for sample in self.of(peer, case))

    def spread(self, peer: str, case: Case) -> float:
        """Greatest distance of a round's rate from the median, as a share of it."""
        middle = self.median(peer, case, "per_second")
        return max(abs(sample.measured.per_second - middle) for sample in self.of(peer, case)) / middle if middle else 0.0

    def cpu_us(self, peer: str, case: Case) -> float:
        """Processor time of all members together for one request."""
        return statistics.median(1e6 * sum(s.measured.servers_cpu_s) / max(1, s.measured.requests) for s in self.of(peer, case))

    def fact_names(self) -> list[str]:
        return list(dict.fromkeys(fact.name for fact in self.facts))

    def fact(self, peer: str, name: str) -> float | None:
        """Median over the rounds; None if this peer has none."""
        found = [fact.value for fact in self.facts if fact.peer == peer and fact.name == name]
        return statistics.median(found) if found else None

    def unit(self, name: str) -> str:
        return next(fact.unit for fact in self.facts if fact.name == name)

    def errors(self, peer: str, case: Case) -> int:
        return sum(sum(sample.measured.errors.values()) for sample in self.of(peer, case))


def write(results: Results) -> Path:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{results.began.replace(':', '').replace('-', '')}{SUFFIX}"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    return path


def newest() -> Path:
    """The latest results. Raises FileNotFoundError."""
    found = sorted(FOLDER.glob(f"*{SUFFIX}"))
    if not found:
        raise FileNotFoundError(f"no results in {FOLDER}: run python -m bench.compare")
    return found[-1]


def read(path: Path) -> Results:
    return msgspec.json.decode(path.read_bytes(), type=Results)
