"""A few hundred worlds, every seed that ever found something, and the proof that a seed always makes the same world.

More: `make simulate SEEDS=1:5000`, or `python -m tests.simulation.run --seconds 3600 --jobs 2`.
"""

from pathlib import Path

import pytest

from tests.simulation.run import FLAVOURS, parse_seeds, run_seed

SEEDS_PER_TEST = 10
KNOWN = [line.split(maxsplit=2) for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines() if line and line[0] != "#"]


def must_hold(flavour: str, seed: int) -> None:
    verdict = run_seed(flavour, seed)
    assert not verdict.failure, f"seed {seed}: {verdict.failure}\n{verdict.detail}\nagain: {verdict.replay}"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 161, SEEDS_PER_TEST))
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_worlds_hold(flavour: str, first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        must_hold(flavour, seed)


@pytest.mark.slow
@pytest.mark.parametrize(("flavour", "seed", "found"), KNOWN)
def test_what_once_failed_holds(flavour: str, seed: str, found: str) -> None:
    must_hold(flavour, int(seed))


@pytest.mark.slow
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_seed_always_makes_the_same_world(flavour: str) -> None:
    first, again, other = run_seed(flavour, 3), run_seed(flavour, 3), run_seed(flavour, 4)
    assert (first.digest, first.events, first.virtual_s) == (again.digest, again.events, again.virtual_s)
    assert first.digest != other.digest


def test_seeds_are_parsed() -> None:
    assert parse_seeds("1:3,7,9:10") == [1, 2, 3, 7, 9, 10]
