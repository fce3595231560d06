"""Where a member's time goes: py-spy beside a member of a three-member cluster while it serves one kind of load.

    python -m bench.profile --operation put --in-flight 200            # the leader
    python -m bench.profile --operation put --follower

Writes to build/profiles a flame graph (SVG) and the same for speedscope (JSON; https://www.speedscope.app), and prints the hottest functions,
by the time in themselves and with what they call, as shares of the samples in which a thread held the interpreter's lock: that is
what a member has only one of. Threads without it are left out, because py-spy cannot tell well which of them only wait; `perf record
-g -p PID` shows what compiled code and the kernel take.

py-spy pauses the member for each sample, so the rate is lower than unobserved; the shares are what counts. Needs the right to trace
processes (root, or kernel.yama.ptrace_scope=0).
"""

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.cases import CONNECTIONS, cases, run_case
from bench.compare import DATA, MEMBERS
from bench.load.generator import run_load
from bench.load.requests import loading
from bench.load.tally import Measured
from bench.peers.servers import kind_of
from bench.results import Case
from tests.support.members import Cluster

FOLDER = DATA / "profiles"
RATE_HZ = 250
SHOWN = 40


def record(process: int, seconds: float, folder: Path, name: str, *, native: bool, lock_only: bool = True) -> subprocess.Popen[str]:
    """Start py-spy on a running process; raw stacks go to a file that `hottest` reads. `lock_only`: only of threads with the interpreter's lock."""
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(process), "--rate", str(RATE_HZ), "--threads"]
    command += ["--gil"] if lock_only else []
    command += ["--duration", str(round(seconds)), "--format", "raw", "--output", str(folder / f"{name}.stacks")]
    return subprocess.Popen([*command, *(["--native"] if native else [])], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stacks(path: Path) -> Iterator[tuple[list[str], int]]:
    """(frames from the outermost, samples) out of py-spy's collapsed stacks."""
    for line in path.read_text().splitlines():
        frames, times = line.rsplit(" ", 1)
        yield frames.split(";"), int(times)


def function(frame: str) -> str:
    """A frame without its line number: `name (file.py:12)` to `name (file.py)`."""
    return frame.rsplit(":", 1)[0] + ")" if ":" in frame and frame.endswith(")") else frame


def hottest(path: Path) -> list[str]:
    """A text table: share of busy samples in each function itself, and with its callees."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for frames, times in stacks(path):
        names = [function(frame) for frame in frames]
        total += times
        own[names[-1]] += times
        for name in set(names):
            whole[name] += times
    lines = [f"{total} samples with the lock held, at {RATE_HZ} Hz", f"{'itself':>7} {'with callees':>13}  function"]
    lines += [f"{times / total:>7.1%} {whole[name] / total:>13.1%}  {name}" for name, times in own.most_common(SHOWN)]
    lines += ["", f"{'with callees':>13}  function (by that)"]
    lines += [f"{times / total:>13.1%}  {name}" for name, times in whole.most_common(SHOWN)]
    return lines


def speedscope(path: Path, out: Path, title: str) -> None:
    """Collapsed stacks as a speedscope file (its "sampled" profile)."""
    numbers: dict[str, int] = {}
    samples, weights = [], []
    for frames, times in stacks(path):
        samples.append([numbers.setdefault(frame, len(numbers)) for frame in frames])
        weights.append(times)
    profile = {"type": "sampled", "name": title, "unit": "none", "startValue": 0, "endValue": sum(weights), "samples": samples, "weights": weights}
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": name} for name in numbers]},
        "profiles": [profile],
    }
    out.write_bytes(msgspec.json.encode(document))


def flame_graph(path: Path, out: Path, title: str) -> None:
    """Collapsed stacks as an SVG, boxes as wide as their share, callees above callers."""
    tree: dict[str, Any] = {}  # name -> [samples, subtree]
    total = depth_max = 0
    for frames, times in stacks(path):
        total += times
        depth_max = max(depth_max, len(frames))
        level = tree
        for frame in frames:
            node = level.setdefault(function(frame), [0, {}])
            node[0] += times
            level = node[1]
    width, row = 1600, 17
    height = (depth_max + 2) * row
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace" font-size="11">',
        f'<text x="4" y="13">{_escaped(title)}: {total} samples</text>',
    ]

    def draw(level: dict[str, Any], left: float, depth: int) -> None:
        for name, (times, callees) in sorted(level.items()):
            wide = width * times / total
            if wide >= 0.5:
                top = height - (depth + 1) * row
                colour = f"hsl({sum(name.encode()) % 50 + 5},75%,{68 + len(name) % 12}%)"
                text = _escaped(name[: int(wide / 6.7)]) if wide > 25 else ""
                parts.append(
                    f'<g><title>{_escaped(name)}: {times} samples, {times / total:.1%}</title><rect x="{left:.1f}" y="{top}" width="{wide:.1f}" '
                    f'height="{row - 1}" fill="{colour}"/><text x="{left + 2:.1f}" y="{top + 12}">{text}</text></g>'
                )
                draw(callees, left, depth + 1)
            left += wide

    draw(tree, 0.0, 0)
    out.write_text("\n".join([*parts, "</svg>"]))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operation", choices=list(dict.fromkeys(case.operation for case in cases())), default="put")
    parser.add_argument("--in-flight", type=int, choices=list(CONNECTIONS), default=200)
    parser.add_argument("--at", choices=["leader", "spread"], default="leader", help="which members are loaded")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--follower", action="store_true", help="watch a follower")
    parser.add_argument("--peer", default="keelson", help="or NAME=COMMAND for another build")
    parser.add_argument("--native", action="store_true", help="frames of compiled code too (slower sampling)")
    options = parser.parse_args()
    case = Case(options.operation, options.in_flight, CONNECTIONS[options.in_flight], options.at)
    name = f"profile-{re.sub('[^a-z0-9]+', '-', case.operation.lower())}-{case.in_flight}" + ("-follower" if options.follower else "")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="profile-", dir=DATA) as folder, Cluster(kind_of(options.peer), Path(folder), MEMBERS) as cluster:
        leader = cluster.leader()
        member = cluster.followers()[0] if options.follower else leader
        assert member.process is not None
        load, requests = loading()
        run_load([leader.endpoint], load, in_flight=100, connections=5, requests=requests)
        measured: list[Measured] = []
        endpoints = [leader.endpoint] if case.at == "leader" else [leader.endpoint, *(follower.endpoint for follower in cluster.followers())]
        loading_for_s = options.seconds + 3  # py-spy takes a moment to read the symbols

        def drive() -> None:
            measured.append(uvloop.run(run_case(case, endpoints, seconds=loading_for_s, warm_up_s=1, seed=1, tls=None, meter=list)))

        driver = threading.Thread(target=drive, name="load")
        driver.start()
        spy = record(member.process.pid, options.seconds, FOLDER, name, native=options.native)
        told, _ = spy.communicate(timeout=options.seconds + 60)
        driver.join()
        if spy.returncode != 0:
            sys.exit(f"py-spy failed:\n{told}")
    raw = FOLDER / f"{name}.stacks"
    title = f"{case.operation}, {case.in_flight} in flight, {'a follower' if options.follower else 'the leader'}"
    flame_graph(raw, FOLDER / f"{name}.svg", title)
    speedscope(raw, FOLDER / f"{name}.speedscope.json", title)
    with contextlib.suppress(IndexError):
        print(f"{title}: {measured[0].per_second:,.0f}/s while observed, p50 {measured[0].p50_ms} ms, errors {measured[0].errors}")
    print("\n".join(hottest(raw)))
    print(f"{FOLDER / name}.svg, .speedscope.json")


if __name__ == "__main__":
    main()
