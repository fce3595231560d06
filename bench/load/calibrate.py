"""Is the generator the limit? The same load on etcd from it and from tools in C, in turns: h2load for gRPC, wrk for the JSON gateway.

    python -m bench.load.calibrate

They send one fixed message over and over, so the generator is compared on reads and on puts; it sends distinct keys all the same. It passes if
it gets at least nine tenths of what they get. The figures go to bench/results/calibration.json, for the page. Debian has the tools in
nghttp2-client and wrk; what is not installed is left out.
"""

import argparse
import datetime
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from bench.load.gateway import PUT_PATH, gateway_puts, json_put
from bench.load.generator import run_load
from bench.load.requests import PUT, RANGE, SERIALIZABLE_RANGE, Operation, loading
from bench.machine import commit
from bench.peers.servers import etcd
from tests.support.members import Cluster

FILE = Path(__file__).parents[1] / "results" / "calibration.json"
CONNECTIONS, STREAMS = 20, 10
GATEWAY_CONNECTIONS = 50
ENOUGH = 0.9
Rate = Callable[[int], float]
"""Requests a second, given a seed."""


class Row(Struct, frozen=True):
    operation: str
    tool: str
    theirs: float
    ours: float


class Calibration(Struct, frozen=True):
    """Medians of requests a second that etcd gave to each."""

    began: str
    commit: str
    rounds: int
    seconds: int
    rows: list[Row]


def h2load(endpoint: str, operation: Operation, folder: Path, seconds: int) -> float:
    """Requests per second that h2load gets."""
    path, message = operation.requests(0)()
    body = folder / "message"
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    load = ["-c", str(CONNECTIONS), "-m", str(STREAMS), "-t", "1", "-D", str(seconds), "--warm-up-time", "1"]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    return told(["h2load", *load, *headers, "-d", str(body), f"http://{endpoint}{path}"], r"([\d.]+) req/s")


def wrk(endpoint: str, folder: Path, seconds: int) -> float:
    """The same of wrk, puts through the gateway."""
    script = folder / "put.lua"
    body = b"".join(json_put(0))
    script.write_text(f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [[{body.decode()}]]\n')
    load = ["-t", "1", "-c", str(GATEWAY_CONNECTIONS), "-d", str(seconds), "-s", str(script)]
    return told(["wrk", *load, f"http://{endpoint}{PUT_PATH}"], r"Requests/sec:\s*([\d.]+)")


def told(command: list[str], pattern: str) -> float:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(pattern, done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def ours(endpoint: str, operation: Operation, seed: int, seconds: int) -> float:
    in_flight = CONNECTIONS * STREAMS
    return run_load([endpoint], operation, in_flight=in_flight, connections=CONNECTIONS, seconds=seconds, warm_up_s=1, seed=seed).per_second


def our_gateway(endpoint: str, seed: int, seconds: int) -> float:
    return uvloop.run(gateway_puts([endpoint], connections=GATEWAY_CONNECTIONS, seconds=seconds, warm_up_s=1, seed=seed)).per_second


def compared(endpoint: str, folder: Path, seconds: int) -> list[tuple[str, str, Rate, Rate]]:
    """What is asked, the tool, and both rates."""

    def pair(operation: Operation) -> tuple[str, str, Rate, Rate]:
        return operation.name, "h2load", lambda _: h2load(endpoint, operation, folder, seconds), lambda seed: ours(endpoint, operation, seed, seconds)

    gateway = ("gateway put", "wrk", lambda _: wrk(endpoint, folder, seconds), lambda seed: our_gateway(endpoint, seed, seconds))
    return [*(pair(operation) for operation in (RANGE, SERIALIZABLE_RANGE, PUT)), gateway]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--to", type=Path, default=FILE)
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="calibrate-") as folder, Cluster(etcd(), Path(folder)) as cluster:
        endpoint = cluster.leader().endpoint
        load, requests = loading()
        run_load([endpoint], load, in_flight=100, connections=5, requests=requests)
        print(f"{'operation':<22}{'tool':<8}{'theirs':>10}{'ours':>10}{'ours/theirs':>13}")
        for name, tool, theirs, mine in compared(endpoint, Path(folder), options.seconds):
            if shutil.which(tool) is None:
                print(f"{name:<22}{tool} is not installed")
                continue
            pairs = [(theirs(seed), mine(seed)) for seed in range(1, options.rounds + 1)]
            row = Row(name, tool, *(statistics.median(column) for column in zip(*pairs, strict=True)))
            rows.append(row)
            print(f"{name:<22}{tool:<8}{row.theirs:>10,.0f}{row.ours:>10,.0f}{row.ours / row.theirs:>13.2f}", flush=True)
    if not rows:
        sys.exit("nothing to compare with: apt-get install nghttp2-client wrk")
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    made = Calibration(began, commit(), options.rounds, options.seconds, rows)
    options.to.write_bytes(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
    sys.exit(0 if all(row.ours >= ENOUGH * row.theirs for row in rows) else 1)


if __name__ == "__main__":
    main()
