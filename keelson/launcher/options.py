"""What the commands' options have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from keelson.launcher import cluster as clusters
from keelson.launcher.cluster import Cluster, Refused

DATA_DIR = "data"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType[float]):
    """Seconds, from "60s", "500ms", "1.5m" or a plain number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        number = value.rstrip("hms")
        try:
            seconds = float(number) * UNITS[value[len(number) :] or "s"]
        except (KeyError, ValueError):
            self.fail(f"{value!r} is not a duration such as 60s, 500ms or 2m", param, ctx)
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is not a positive duration", param, ctx)
        return seconds


def data_dir(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--data-dir",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=DATA_DIR,
        envvar="KEELSON_DATA_DIR",
        show_default="./data",
        help="The cluster's folder: data, certificates, logs.",
    )(command)


def existing(folder: Path) -> Cluster:
    """The cluster in `folder`; a one-line error if there is none."""
    try:
        cluster = clusters.load(folder)
    except Refused as error:
        raise click.ClickException(str(error)) from None
    if cluster is None:
        raise click.ClickException(f"there is no cluster in {folder}: `keelson up` makes one")
    return cluster
