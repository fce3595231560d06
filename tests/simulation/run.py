"""`python -m tests.simulation.run --seeds 1:200`: run worlds, say which seed broke what and how to see it again.

Seeds are inclusive ranges or single numbers, separated by commas. `--seconds` repeats with new seeds, from the first on, until the time is
over. Exit status 1 if any seed failed. `--trace` prints everything that happens, for one seed at a time.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice

from msgspec import Struct

from keelson.drills.checkers.violation import Violation
from tests.simulation.bare import BareWorld
from tests.simulation.store import StoreWorld
from tests.simulation.world import World

FLAVOURS: dict[str, type[World]] = {"bare": BareWorld, "store": StoreWorld}
"""The Raft core alone, and whole members with clients."""


class Verdict(Struct):
    """What became of one seed. `failure` is empty if every promise was kept."""

    flavour: str
    seed: int
    digest: int
    virtual_s: float
    events: int
    took_s: float
    failure: str = ""
    detail: str = ""

    @property
    def replay(self) -> str:
        return f"python -m tests.simulation.run --flavour {self.flavour} --seeds {self.seed} --trace"


def run_seed(flavour: str, seed: int, trace: bool = False) -> Verdict:
    """One world from beginning to end. Any exception is a failure, not only a Violation: members assert their own invariants."""
    began = time.perf_counter()
    world: World | None = None
    failure = detail = ""
    try:
        world = FLAVOURS[flavour](seed, trace=trace)
        world.run()
    except Violation as violation:
        failure = str(violation)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        detail = traceback.format_exc()
    timeline = world.timeline if world is not None else None
    took_s = time.perf_counter() - began
    if timeline is None:
        return Verdict(flavour, seed, 0, 0.0, 0, took_s, failure, detail)
    return Verdict(flavour, seed, timeline.digest, timeline.now_s, timeline.events, took_s, failure, detail)


def parse_seeds(text: str) -> list[int]:
    """ "1:5,9" is 1, 2, 3, 4, 5, 9."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds


def _verdicts(flavours: list[str], seeds: Iterator[int], seconds: float, jobs: int, trace: bool) -> Iterator[Verdict]:
    began = time.monotonic()
    work = ((flavour, seed) for seed in seeds for flavour in flavours)
    if jobs == 1:
        for flavour, seed in work:
            yield run_seed(flavour, seed, trace)
            if seconds and time.monotonic() - began > seconds:
                return
        return
    with ProcessPoolExecutor(jobs) as pool:
        while batch := list(islice(work, jobs * 8)):
            yield from pool.map(run_seed, *zip(*batch, strict=True))
            if seconds and time.monotonic() - began > seconds:
                return


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seeds", default="1:200", help="1:200 or 7 or 1:5,9 (default %(default)s)")
    parser.add_argument("--flavour", choices=[*FLAVOURS, "both"], default="both", help="the Raft core alone, whole members, or both (default)")
    parser.add_argument("--seconds", type=float, default=0, help="go on with further seeds for this long")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    options = parser.parse_args()
    seeds = parse_seeds(options.seeds)
    flavours = list(FLAVOURS) if options.flavour == "both" else [options.flavour]
    failed, done, virtual_s, began = 0, 0, 0.0, time.monotonic()
    for verdict in _verdicts(flavours, count(seeds[0]) if options.seconds else iter(seeds), options.seconds, options.jobs, options.trace):
        done += 1
        virtual_s += verdict.virtual_s
        if verdict.failure:
            failed += 1
            print(f"seed {verdict.seed} ({verdict.flavour}) FAILED at {verdict.virtual_s:.3f} s: {verdict.failure}\n{verdict.detail}"
                  f"  again: {verdict.replay}", flush=True)  # fmt: skip
        elif options.trace or len(seeds) == 1:
            print(f"seed {verdict.seed} ({verdict.flavour}) held: digest {verdict.digest:08x}, {verdict.virtual_s:.0f} virtual seconds, "
                  f"{verdict.events} events, {verdict.took_s:.2f} s")  # fmt: skip
    took_s = time.monotonic() - began
    print(f"{done} worlds, {failed} failed; {virtual_s:.0f} virtual seconds in {took_s:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
