"""What `keelson drill NAMES` does: the drills, their reports, the table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from keelson.cogs import output
from keelson.drills import drill, page, running, summary
from keelson.drills.drill import Settings
from keelson.drills.faults.registry import FAULTS
from keelson.drills.progress import Progress
from keelson.drills.trial import Result
from keelson.drills.whole import faults as whole

ALL = "all"
"""Every drill of the store."""
CLUSTER = "cluster"
"""Every drill of a whole cluster."""


def listing(colour: bool) -> str:
    rows = [*([name, kind.what] for name, kind in FAULTS.items()), *([name, fault.what] for name, fault in whole.FAULTS.items())]
    return output.table(("DRILL", "WHAT IS DONE"), rows, colour=colour)


def perform(names: list[str], target: str, etcd: str, trials: int, settings: Settings, report: Path, keep: Path | None, form: str) -> bool:
    """Run them, write NAME.json, .html, .svg and index.html into `report`, print the table; whether every promise was kept. Raises Refused."""
    programs = running.find_programs(target, etcd)
    report.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    with Progress() as progress:
        for name in names:
            result = running.run(name, programs, settings, trials, progress, keep)
            results.append(result)
            (report / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
            (report / f"{name}.html").write_text(page.render([result], f"Drill: {name}"))
            if picture := page.picture(result):
                (report / f"{name}.svg").write_text(picture)
            if len(names) > 1:
                (report / "index.html").write_text(page.render(results))
    if form == "json":
        click.echo(msgspec.json.encode(results).decode())
    else:
        click.echo(summary.table(results, output.colour_wanted()))
        click.echo(f"report: {report / ('index' if len(names) > 1 else names[0])}.html")
    for line in summary.broken(results):
        click.echo(f"BROKEN: {line}", err=True)
    return all(result.kept for result in results)


def settings(short: bool, given: Mapping[str, Any]) -> Settings:
    """What is not given (None) is as in the long form, or the short one."""
    base = drill.SHORT if short else Settings()
    return msgspec.structs.replace(base, **{name: value for name, value in given.items() if value is not None})


def chosen(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The drills that are meant: those of the store, and those of a whole cluster. Raises click.UsageError."""
    if ALL in names:
        return list(FAULTS), []
    if CLUSTER in names:
        return [], list(whole.FAULTS)
    unknown = [name for name in names if name not in FAULTS and name not in whole.FAULTS]
    if unknown:
        raise click.UsageError(f"there is no drill {unknown[0]!r}: {', '.join([*FAULTS, ALL, *whole.FAULTS, CLUSTER])}")
    return [name for name in names if name in FAULTS], [name for name in names if name in whole.FAULTS]
