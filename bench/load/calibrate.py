"""Is the generator the limit? The same load on etcd from it and from h2load (Debian: nghttp2-client), in turns.

    python -m bench.load.calibrate

h2load sends one fixed message over and over, so it is compared on reads and on puts of one key; the generator sends distinct keys all the same.
It passes if it gets at least nine tenths of what h2load gets.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.load.generator import run_load
from bench.load.requests import PUT, RANGE, SERIALIZABLE_RANGE, Operation, loading
from bench.peers.servers import etcd
from tests.support.members import Cluster

CONNECTIONS, STREAMS = 20, 10
ENOUGH = 0.9


def h2load(endpoint: str, operation: Operation, folder: Path, seconds: int) -> float:
    """Requests per second that h2load gets."""
    path, message = operation.requests(0)()
    body = folder / "message"
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    load = ["-c", str(CONNECTIONS), "-m", str(STREAMS), "-t", "1", "-D", str(seconds), "--warm-up-time", "1"]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    done = subprocess.run(
        ["h2load", *load, *headers, "-d", str(body), f"http://{endpoint}{path}"], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r"([\d.]+) req/s", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def ours(endpoint: str, operation: Operation, seed: int, seconds: int) -> float:
    in_flight = CONNECTIONS * STREAMS
    return run_load([endpoint], operation, in_flight=in_flight, connections=CONNECTIONS, seconds=seconds, warm_up_s=1, seed=seed).per_second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    if shutil.which("h2load") is None:
        sys.exit("needs h2load: apt-get install nghttp2-client")
    enough = True
    with tempfile.TemporaryDirectory(prefix="calibrate-") as folder, Cluster(etcd(), Path(folder)) as cluster:
        endpoint = cluster.leader().endpoint
        load, requests = loading()
        run_load([endpoint], load, in_flight=100, connections=5, requests=requests)
        print(f"{'operation':<22}{'h2load':>10}{'ours':>10}{'ours/h2load':>13}")
        for operation in (RANGE, SERIALIZABLE_RANGE, PUT):
            pairs = [
                (h2load(endpoint, operation, Path(folder), options.seconds), ours(endpoint, operation, seed, options.seconds))
                for seed in range(1, options.rounds + 1)
            ]
            theirs, mine = (statistics.median(column) for column in zip(*pairs, strict=True))
            enough &= mine >= ENOUGH * theirs
            print(f"{operation.name:<22}{theirs:>10,.0f}{mine:>10,.0f}{mine / theirs:>13.2f}", flush=True)
    sys.exit(0 if enough else 1)


if __name__ == "__main__":
    main()
