"""A comparison: `python -m tests.kubernetes.oracle.run --seeds 1:5 --requests 300`. The same seed asks the same questions of fresh names."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.kubernetes.oracle import program
from tests.kubernetes.oracle.arena import arena, twins
from tests.kubernetes.oracle.duel import Duel
from tests.kubernetes.oracle.generate import GADGETS, NAMES, NAMESPACES, WIDGETS, Generator
from tests.oracle.choosing import Seeded
from tests.support.members import Cluster, Member

LINES = 6
"""Of one mismatch, told in the report."""


def one_seed(duel: Duel, seed: int, requests: int, store: Cluster | None = None) -> None:
    """`store`: one whose leader is killed after a third of the requests, and comes back after two thirds."""
    generator = Generator(Seeded(seed))
    duel.begin()
    victim: Member | None = None
    for number in range(requests):
        if store is not None and number == requests // 3:
            victim = store.leader()
            victim.kill()
            store.leader()
        if victim is not None and number == 2 * requests // 3:
            victim.restart()
        duel.ask(generator.request())
    empty(duel)


def empty(duel: Duel) -> None:
    """Nothing of this seed is left for the next one."""
    for collection in (GADGETS, *(f"{WIDGETS}/namespaces/{each}/widgets" for each in NAMESPACES)):
        for name in (*NAMES, "bad1", "other"):
            for side in (duel.genuine, duel.ours):
                side.remove(f"{collection}/{name}")


def seeds(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last or first) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=seeds, default=range(1, 6))
    parser.add_argument("--requests", type=int, default=300, help="of each seed")
    parser.add_argument("--minutes", type=float, default=0, help="no further seed after so many; 0: all seeds")
    parser.add_argument("--twins", action="store_true", help="the genuine server on our store, whose leader is killed, against itself on etcd")
    parser.add_argument("--folder", type=Path, default=None, help="for logs and data; otherwise a temporary one")
    given = parser.parse_args()
    try:
        genuine = program.build()
    except program.Missing as missing:
        sys.exit(str(missing))
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = given.folder or Path(temporary)
        if given.twins:
            duel, store = stack.enter_context(twins(genuine, folder))
        else:
            duel, store = stack.enter_context(arena(genuine, folder)), None
        until = time.monotonic() + 60 * given.minutes
        for seed in given.seeds:
            before = len(duel.found)
            one_seed(duel, seed, given.requests, store)
            print(f"seed {seed}: {given.requests} requests, {len(duel.found) - before} differences", flush=True)
            if given.minutes and time.monotonic() > until:
                break
        report(duel)
    sys.exit(1 if duel.found else 0)


def report(duel: Duel) -> None:
    """Each difference once, with the first request that showed it."""
    kinds: Counter[str] = Counter()
    for each in duel.found:
        kinds[each.lines[0]] += 1
        if kinds[each.lines[0]] == 1:
            print("\n  ".join((each.request, *each.lines[:LINES])))
    print(f"{duel.asked} requests, {len(duel.found)} answers differ")


if __name__ == "__main__":
    main()
