"""The results of drills as a table for the terminal."""

from collections.abc import Iterable, Sequence

from keelson.cogs import output
from keelson.drills.trial import Result, Target

HEADERS = (
    "DRILL", "TARGET", "TRIALS", "FIRST WRITE", "NO LEADER", "WRITE GAP", "ENDPOINT GAP", "FAILED", "RETRIED", "P99 BEFORE", "P99 AROUND", "PROMISES",
)  # fmt: skip
RIGHT = HEADERS[2:-1]


def table(results: Iterable[Result], colour: bool) -> str:
    """Medians of each drill and target; what was skipped says why."""
    return output.table(HEADERS, [_row(result, target, colour) for result in results for target in result.targets], right=RIGHT, colour=colour)


def broken(results: Iterable[Result]) -> list[str]:
    """A line for each promise that was not kept."""
    results = list(results)
    failed = [f"{result.drill}, {target.program}: {target.failed}" for result in results for target in result.targets if target.failed]
    return failed + [
        f"{result.drill}, {target.program}, trial {number}: {verdict.promise}: {verdict.detail}"
        for result in results
        for target in result.targets
        for number, trial in enumerate(target.trials, 1)
        for verdict in trial.verdicts
        if not verdict.kept
    ]


def _row(result: Result, target: Target, colour: bool) -> Sequence[object]:
    name = f"{target.program} {target.version}".strip()
    found = target.medians
    if found is None:
        how = output.paint("FAILED", output.RED, colour) if target.failed else output.paint(f"skipped: {target.skipped}", output.YELLOW, colour)
        return [result.drill, name, 0, *["-"] * 8, how]
    promises = [verdict for trial in target.trials for verdict in trial.verdicts]
    lost = sum(not verdict.kept for verdict in promises) + bool(target.failed)
    return [
        result.drill,
        name,
        len(target.trials),
        seconds(found.first_write_s),
        seconds(found.no_leader_s),
        seconds(found.write_gap_s),
        seconds(found.endpoint_gap_s),
        round(found.failed),
        round(found.retried),
        milliseconds(found.calm_write_p99_ms),
        milliseconds(found.around_write_p99_ms),
        output.paint(f"{lost} BROKEN", output.RED, colour) if lost else output.paint(f"all {len(promises)} kept", output.GREEN, colour),
    ]


def seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"
