"""What was to be reached, as ratio of Keelson to etcd 3.5.1 in the same run, and whether it is."""

from collections.abc import Iterator

from msgspec import Struct

from bench.cases import GATEWAY, KEY_EACH, ONE_KEY
from bench.load.requests import PUT, RANGE, SERIALIZABLE_RANGE
from bench.results import Case, Figures

GATEWAY_TARGET = 2.0
CORE, CORE_TARGET = "raft-core", 40_000.0
RESTART, MEMORY = "kill -9 to serving again", "memory of a member"


class Verdict(Struct, frozen=True):
    what: str
    target: float
    ratio: float | None
    """Subject to reference; of the core alone, its rate."""
    lower: bool = False
    """Whether the ratio is to be at most the target."""

    @property
    def met(self) -> bool | None:
        """None: not measured."""
        if self.ratio is None:
            return None
        told = round(self.ratio, 2)  # what the page shows is what is judged
        return told <= self.target if self.lower else told >= self.target


def _cases(figures: Figures, operation: str, in_flight: int) -> list[Case]:
    return [
        case
        for case in figures.cases()
        if case.operation == operation and case.in_flight == in_flight and not case.percent and not case.tls and case.connections < 1000
    ]


def verdicts(figures: Figures) -> Iterator[Verdict]:
    for operation, name in ((PUT, "puts"), (RANGE, "linearizable ranges of one key"), (SERIALIZABLE_RANGE, "serializable ranges of one key")):
        for case in _cases(figures, operation.name, 200):
            yield Verdict(f"{name} a second, 200 in flight, {case.at}", 1.0, figures.ratio(case))
    for case in _cases(figures, PUT.name, 1):
        yield Verdict("mean latency of a put, one client", 1.0, figures.ratio(case, "mean_ms"), lower=True)
    for case in _cases(figures, GATEWAY, 50):
        yield Verdict("puts a second through the JSON gateway", GATEWAY_TARGET, figures.ratio(case))
    for operation in (ONE_KEY, KEY_EACH):
        for case in [case for case in figures.cases() if case.operation == operation and not case.tls]:
            yield Verdict(f"events a second, {case.operation}", 1.0, figures.ratio(case))
    for case in _cases(figures, PUT.name, 1000):
        alone = figures.median(CORE, case)
        if alone is not None:
            yield Verdict("commands a second of the Raft core alone, 1,000 in flight", CORE_TARGET, alone)
    for kind in (RESTART, MEMORY):
        names = [name for name in figures.fact_names() if name.startswith(kind)]
        for name in names[-1:]:
            yield Verdict(name, 1.0, figures.fact_ratio(name), lower=True)
