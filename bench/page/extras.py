"""Sections of the page that do not come from runs: calibration of the generator, budgets of microseconds, failover drills.

Each is made of a file in bench/results/, where there is one.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from bench.budget import STEPS, Budget
from bench.control_plane import ControlPlaneResults
from bench.load.calibrate import Calibration
from bench.page.text import table
from bench.results import FOLDER
from keelson.drills.trial import Medians, Result, Timeline, representative

DRILLS = FOLDER / "drills"
NO_TIMELINE = Timeline(0.0, 0.1, [], [], [], [], [], [])


def calibration(path: Path = FOLDER / "calibration.json") -> list[str]:
    if not path.exists():
        return []
    made = msgspec.json.decode(path.read_bytes(), type=Calibration)
    rows = [[row.operation, row.tool, f"{row.theirs:,.0f}", f"{row.ours:,.0f}", f"**{row.ours / row.theirs:.2f}**"] for row in made.rows]
    return [
        "## Is the generator the limit?",
        "",
        "What etcd gives to the generator and to load tools written in C, in turns: 200 in flight over 20 connections, 50 over 50 for the gateway. "
        f"The tools send one fixed message, the generator distinct keys. Medians of {made.rounds} rounds of {made.seconds} s; "
        f"{made.began}, {made.commit}.",
        "",
        *table(["operation", "tool", "tool /s", "generator /s", "generator / tool"], rows, 2),
    ]


def budgets(path: Path = FOLDER / "budgets.json") -> list[str]:
    if not path.exists():
        return []
    made = msgspec.json.decode(path.read_bytes(), type=list[Budget])
    steps = [step for step in STEPS if any(step in part.steps_us for each in made for part in each.parts)]
    rows = []
    for each in made:
        for part in each.parts:
            cells = [f"{part.steps_us[step]:.1f}" if step in part.steps_us else "" for step in steps]
            rows.append([each.case.operation, f"{each.case.in_flight:,}", part.member, *cells, f"**{part.total_us:.0f}**"])
    dates = sorted({f"{each.began[:10]}, {each.commit}" for each in made})
    return [
        "## Where the microseconds go",
        "",
        "Processor time of Keelson's members per request, by what it is spent on: time by thread, measured unobserved, divided as py-spy sees the "
        f"thread at work. A put costs one leader and two followers. `python -m bench.budget`; {'; '.join(dates)}.",
        "",
        *table(["operation", "in flight", "member", *steps, "us"], rows, 1),
    ]


def control_plane(path: Path = FOLDER / "control_plane.json") -> list[str]:
    if not path.exists():
        return []
    made = msgspec.json.decode(path.read_bytes(), type=ControlPlaneResults)
    rows = [[each.what, f"**{each.value:,.{0 if each.value >= 100 else 2}f}** {each.unit}", each.note] for each in made.figures]
    return [
        "## The whole cluster",
        "",
        "Three store members, two API servers, schedulers, controller managers and cloud controller managers, three nodes with proxies and DNS "
        f"on this one machine, over TLS. `python -m bench.control_plane`; {made.began[:10]}, {made.commit}.",
        "",
        *table(["what", "measured", "how"], rows, 1),
    ]


def drills(folder: Path = DRILLS) -> list[Result]:
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(folder.glob("*.json"))]


def keep_drills(reports: Path, folder: Path = DRILLS) -> None:
    """Those that were done on both systems since what is kept was, with the timeline of the trial in the middle only: the page needs no more."""
    known = {result.drill: result.date for result in drills(folder)}
    for result in drills(reports):
        if all(target.trials for target in result.targets) and len(result.targets) > 1 and result.date > known.get(result.drill, ""):
            for target in result.targets:
                drawn = representative(target.trials)
                target.trials = [trial if trial is drawn else replace(trial, timeline=NO_TIMELINE) for trial in target.trials]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{result.drill}.json").write_bytes(msgspec.json.encode(result) + b"\n")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def failover(results: Sequence[Result], pictures: Iterable[Path]) -> list[str]:
    if not results:
        return []
    rows = []
    for result in results:
        for target in result.targets:
            found: Medians | None = target.medians
            if found is None:
                rows.append([result.drill, target.program, target.skipped, *[""] * 6])
                continue
            broken = sorted({verdict.promise for trial in target.trials for verdict in trial.verdicts if not verdict.kept})
            times = (found.no_leader_s, found.first_write_s, found.write_gap_s)
            counts = (f"{found.failed:,.0f}", f"{found.retried:,.0f}", f"{found.around_write_p99_ms or 0:,.0f}")
            rows.append([result.drill, target.program, str(len(target.trials)), *map(_seconds, times), *counts, ", ".join(broken) or "all kept"])
    head = ["drill", "system", "trials", "no leader s", "first write s", "longest gap s", "failed", "retried", "p99 ms around", "promises"]
    return [
        "## Failover drills",
        "",
        "What clients at all endpoints noticed when something broke, with the same election time-out and heartbeat for both systems; medians over "
        "the trials. The pictures show the trial in the middle: requests answered in each tenth of a second, and, below zero, those that failed.",
        "",
        *(f"![{path.stem}]({path})\n" for path in pictures),
        *table(head, rows, 2),
    ]
