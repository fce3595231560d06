"""Faults for as long as asked: `python -m tests.cluster.soak --minutes N [--seed S]`. Stops at the first broken promise, which it tells."""

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.cluster.load import Load
from tests.cluster.promises import check_history, check_same_everywhere
from tests.support import kinds, tls
from tests.support.members import Cluster

ROUND_FAULTS = 6


def fault(cluster: Cluster, load: Load, chance: random.Random) -> str:
    """One fault and its end; what it was."""
    kind = chance.choice(["kill leader", "kill follower", "pause leader", "pause follower", "kill all", "terminate leader"])
    member = cluster.leader() if "leader" in kind else cluster.followers()[chance.randrange(2)]
    if kind == "kill all":
        for each in cluster:
            each.kill()
        load.run_for(chance.random())
        cluster.start()
    elif kind.startswith("pause"):
        member.pause()
        load.run_for(chance.uniform(0.2, 4))
        member.resume()
    else:
        if kind.startswith("kill"):
            member.kill()
        else:
            member.terminate()
        load.run_for(chance.uniform(0, 4))
        member.restart()
    load.wait_for_answers(chance.randrange(20, 200))
    return f"{kind} ({member.name})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kind", default=kinds.KEELSON)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    print(f"seed {arguments.seed}", flush=True)
    end = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory(prefix="keelson-soak-") as name:
        folder = Path(name)
        kind = kinds.find(arguments.kind)
        with Cluster(kind, folder, 3, tls.make(folder / "pki"), kind.short_log(500, 50)) as cluster:
            while time.monotonic() < end:
                with Load(cluster, seed=chance.randrange(2**31)) as load:
                    load.wait_for_answers(100)
                    faults = [fault(cluster, load, chance) for _ in range(ROUND_FAULTS)]
                cluster.wait_healthy()
                check_history(load, cluster)
                revision = check_same_everywhere(cluster)
                print(f"{len(load.operations)} operations kept every promise over: {', '.join(faults)}; revision {revision}", flush=True)


if __name__ == "__main__":
    main()
