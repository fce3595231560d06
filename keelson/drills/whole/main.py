"""`keelson drill NAMES` for drills of a whole cluster: one stage for all of them, a report for each."""

import asyncio
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from keelson.cogs import output
from keelson.drills.whole import drill, report
from keelson.drills.whole.drill import Outcome, Settings
from keelson.drills.whole.faults import FAULTS
from keelson.drills.whole.stage import staged


def perform(names: list[str], settings: Settings, folder: Path, keep: Path | None, form: str) -> bool:
    """Run them, write NAME.json and NAME.html into `folder`, print the table; whether every promise was kept. Raises Refused, NotHealthy."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as with Ctrl-C, no cluster is left behind
    outcomes = asyncio.run(_perform(names, settings, folder, keep))
    if len(names) > 1:
        (folder / "cluster.html").write_text(report.render(outcomes, "Drills of a whole cluster"))
    if form == "json":
        click.echo(msgspec.json.encode(outcomes).decode())
    else:
        click.echo(report.table(outcomes, output.colour_wanted()))
        click.echo(f"report: {folder / ('cluster' if len(names) > 1 else names[0])}.html")
    for line in report.broken(outcomes):
        click.echo(f"BROKEN: {line}", err=True)
    return all(outcome.kept for outcome in outcomes)


def settings(short: bool, given: Mapping[str, Any]) -> Settings:
    """What is not given (None) is as in the long form, or the short one."""
    base = drill.SHORT if short else Settings()
    return msgspec.structs.replace(base, **{name: given[name] for name in base.__struct_fields__ if given.get(name) is not None})


async def _perform(names: list[str], settings: Settings, folder: Path, keep: Path | None) -> list[Outcome]:
    def tell(text: str) -> None:
        click.echo(text, err=True)

    outcomes = []
    with tempfile.TemporaryDirectory(prefix="keelson-drill-") as temporary:
        async with staged(Path(temporary) / "data" if keep is None else keep, tell) as stage:
            for name in names:
                tell(f"--- {name}")
                outcome = await drill.run(stage, FAULTS[name], settings)
                outcomes.append(outcome)
                (folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1) + b"\n")
                (folder / f"{name}.html").write_text(report.render([outcome], f"Drill: {name}"))
    return outcomes
