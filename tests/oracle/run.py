"""A long comparison: `python -m tests.oracle.run --steps N --seed S`. The same seed asks the same questions.

`--subject etcd` judges the oracle by itself, which shows what of a mismatch is ours and what is the comparison's.
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.oracle.choosing import Seeded
from tests.oracle.duel import Duel, Mismatch
from tests.oracle.steps import step
from tests.support import kinds

EPOCH_STEPS = 400
"""After so many steps the state is emptied: histories stay small enough that interesting ones come often."""


def run(duel: Duel, steps: int, seed: int) -> None:
    """`steps` random steps; each epoch has a seed of its own, told when it fails."""
    for epoch, start in enumerate(range(0, steps, EPOCH_STEPS)):
        c = Seeded(seed * 1_000_003 + epoch)
        try:
            for _ in range(min(EPOCH_STEPS, steps - start)):
                step(duel, c)
            duel.reset()
        except Mismatch as mismatch:
            raise Mismatch(f"seed {seed}, epoch {epoch}: {mismatch}") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--subject", default=kinds.KEELSON)
    parser.add_argument("--oracle", default=kinds.ETCD)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="keelson-oracle-") as folder:
        duel = Duel(kinds.find(arguments.oracle), kinds.find(arguments.subject), Path(folder))
        try:
            began = time.monotonic()
            duel.reset()  # compacts: what Compact(0) does to a store that never was, once in etcd and ever again here, interests nobody
            run(duel, arguments.steps, arguments.seed)
            print(f"{duel.steps} requests agreed in {time.monotonic() - began:.0f} s, revision {duel.known.revision}")
        finally:
            duel.close()


if __name__ == "__main__":
    main()
