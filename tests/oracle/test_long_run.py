"""Thousands of seeded steps in a row. More of them on demand: `python -m tests.oracle.run --steps 1000000`."""

import os

import pytest

from tests.oracle.arena import Arena
from tests.oracle.run import run

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STEPS = int(os.environ.get("KEELSON_ORACLE_STEPS", "3000"))


@pytest.mark.timeout(120 + STEPS // 5)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seeded_run_has_the_answers_of_etcd(arena: Arena, seed: int) -> None:
    duel = arena.enter()
    duel.reset()
    run(duel, STEPS, seed)
