"""What one run of one fault against one cluster gave, and what several runs of it gave together: the form of a drill's JSON.

One file a drill, `NAME.json`, is a `Result`: {"form": 1, "drill": "leader-kill", ..., "targets": [...]} with one `Target` for each program that was
drilled, side by side. A `Target` has its `trials` in order and the `medians` over them. In a `Trial`:

* all times are seconds from the fault (its first blow is 0; the calm phase is negative);
* `timeline` holds parallel lists, one element for each 100 ms, the first beginning at `begin_s`: `ok` and `failed` requests that ended then (and of
  the ok ones `writes`), `p50_ms` and `max_ms` of the latency of the ok ones (null where there were none), `events` that watchers were told of;
* `leaders` are changes: [time, name of the member that leads, or null];
* `marks` say what was done: [time, text];
* `before`, `around`, `after` count and time the requests that ended before the fault, those that it met (under way then, or called until every member
  was healthy again), and those called later.
"""

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from keelson.drills.fault import Verdict

FORM = 1
BIN_S = 0.1


class Latency(Struct, frozen=True):
    """Of requests that were answered; null if there were none."""

    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Phase(Struct, frozen=True):
    """`failed` were surely not done, of `unknown` ones nobody knows; `retried`: tries that the client repeated by itself."""

    ok: int
    failed: int
    unknown: int
    retried: int
    writes: Latency
    reads: Latency


class Timeline(Struct, frozen=True):
    begin_s: float
    bin_s: float
    ok: list[int]
    writes: list[int]
    failed: list[int]
    p50_ms: list[float | None]
    max_ms: list[float | None]
    events: list[int]


class Trial(Struct):
    """`no_leader_s`: the longest time in which no member led (and said so, and a majority named it); `first_write_s`: from the fault to the
    first acknowledged write that was called after it; `write_gap_s`: the longest time from the fault to the end without any acknowledged write
    (`calm_gap_s` before it); `endpoint_gap_s`: the same for the clients that began at one endpoint, of the endpoint that waited longest."""

    heal_s: float
    healthy_s: float
    end_s: float
    no_leader_s: float
    first_write_s: float | None
    write_gap_s: float
    calm_gap_s: float
    endpoint_gap_s: float
    resumed: int
    """How often a watch was opened anew."""
    before: Phase
    around: Phase
    after: Phase
    errors: dict[str, int]
    """Texts of errors, the most frequent ones, and how often each came."""
    marks: list[tuple[float, str]]
    leaders: list[tuple[float, str | None]]
    timeline: Timeline
    verdicts: list[Verdict]

    @property
    def failed(self) -> int:
        return sum(phase.failed + phase.unknown for phase in (self.before, self.around, self.after))

    @property
    def kept(self) -> bool:
        return all(verdict.kept for verdict in self.verdicts)


class Medians(Struct, frozen=True):
    """Over the trials of one target; `failed` counts unknown outcomes, too."""

    no_leader_s: float
    first_write_s: float | None
    write_gap_s: float
    endpoint_gap_s: float
    failed: float
    retried: float
    calm_write_p99_ms: float | None
    around_write_p99_ms: float | None


class Target(Struct):
    program: str
    version: str
    trials: list[Trial]
    medians: Medians | None = None
    skipped: str = ""
    """Why there is no trial."""
    failed: str = ""
    """How a trial ended that could not be brought to its end: members that did not come back, requests that nobody answered. A broken promise."""


class Result(Struct):
    """`settings` are the drill's own (members, rate_per_s, heartbeat_ms, ...); `machine` says where it ran."""

    drill: str
    what: str
    date: str
    settings: dict[str, float | int | str | bool]
    machine: dict[str, str | int]
    targets: list[Target]
    form: int = FORM

    @property
    def kept(self) -> bool:
        """No promise broken in any trial."""
        return all(trial.kept for target in self.targets for trial in target.trials) and not any(target.failed for target in self.targets)


def medians(trials: Sequence[Trial]) -> Medians | None:
    if not trials:
        return None

    def of(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return median(known) if len(known) == len(values) else None

    return Medians(
        no_leader_s=median(trial.no_leader_s for trial in trials),
        first_write_s=of([trial.first_write_s for trial in trials]),
        write_gap_s=median(trial.write_gap_s for trial in trials),
        endpoint_gap_s=median(trial.endpoint_gap_s for trial in trials),
        failed=median(trial.failed for trial in trials),
        retried=median(trial.before.retried + trial.around.retried + trial.after.retried for trial in trials),
        calm_write_p99_ms=of([trial.before.writes.p99_ms for trial in trials]),
        around_write_p99_ms=of([trial.around.writes.p99_ms for trial in trials]),
    )


def representative(trials: Sequence[Trial]) -> Trial:
    """The trial in the middle: the one to draw."""
    ranked = sorted(trials, key=lambda trial: (trial.first_write_s is None, trial.first_write_s or 0.0, trial.write_gap_s))
    return ranked[(len(ranked) - 1) // 2]
