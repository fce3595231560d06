"""Results to docs/BENCHMARKS.md and its plots.

    python -m bench.report            # what was kept, with all finished runs since that are measurements
    python -m bench.report FILE...    # what was kept, with these runs, whatever they are

A run takes the place of older figures only for the cases that it measured: `bench.compare --only put`, then this, renews the puts.
Drills that `make drill ARGS="--target both"` did on both systems come in, too.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench import results
from bench.page import extras, plots, text
from bench.results import REFERENCE, SUBJECT, Figures, Results

DOCS = Path(__file__).parent.parent / "docs"
DRILLS = Path(__file__).parent.parent / "build" / "drills"
"""Where `make drill` puts its reports."""


def draw(figures: Figures, folder: Path) -> list[Path]:
    main = [peer for peer in (SUBJECT, REFERENCE) if peer in figures.peers]
    made = [
        plots.concurrency(figures, main, folder),
        plots.latencies(figures, main, folder),
        plots.open_loop(figures, main, folder),
        plots.systems(figures, folder),
    ]
    return [path for path in made if path is not None]


def build(runs: Sequence[Results], docs: Path) -> Path:
    """The page and its plots under `docs`."""
    figures = Figures(runs)
    pictures = draw(figures, docs / "bench")
    docs.mkdir(parents=True, exist_ok=True)
    path = docs / "BENCHMARKS.md"
    drills = extras.drills()
    timelines = [picture.relative_to(docs) for picture in plots.timelines(drills, docs / "bench")]
    more = [*extras.failover(drills, timelines), *extras.calibration(), *extras.budgets(), *extras.control_plane()]
    path.write_text(text.page(figures, {picture.stem: picture.relative_to(docs) for picture in pictures}, more))
    return path


def new_runs(kept: Sequence[Results]) -> list[Results]:
    """Finished measurements, looks left out, that are newer than what was kept."""
    newest = max((run.began for run in kept), default="")
    found = []
    for path in results.raw_files():
        try:
            run = results.read(path)
        except msgspec.ValidationError as strange:
            print(f"{path} is left out: it is not of this version ({strange})", file=sys.stderr)
            continue
        if run.complete and not run.plan.look and run.began > newest:
            found.append(run)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="*", type=Path)
    parser.add_argument("--to", type=Path, default=DOCS, help="folder to write to; what is kept changes only with the default one")
    options = parser.parse_args()
    runs = results.read_kept()
    try:
        for run in [results.read(path) for path in options.file] or new_runs(runs):
            runs = results.merged(runs, run)
    except (OSError, msgspec.ValidationError) as error:
        sys.exit(str(error))
    if not runs:
        sys.exit("there are no results: run python -m bench.compare")
    if options.to == DOCS:
        results.write_kept(runs)
        extras.keep_drills(DRILLS)
    print(build(runs, options.to))


if __name__ == "__main__":
    main()
