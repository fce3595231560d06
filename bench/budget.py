"""Where the microseconds of a request go: processor time of each member, by what it is spent on.

    python -m bench.budget            # the main cases; writes bench/results/budgets.json, for the page

Processor time per request is measured by thread, unobserved. Then the same load runs again with py-spy beside the leader and a follower, and
what it sees of each thread (by the innermost frame that belongs to a room of ours) says how that thread's time divides. What no frame of ours
stands under is the event loop with the kernel's part of sending and receiving; threads without Python frames are named as they are.
"""

import argparse
import contextlib
import datetime
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.cases import CONNECTIONS, GATEWAY
from bench.compare import DATA, MEMBERS
from bench.load.requests import PUT, RANGE, SERIALIZABLE_RANGE
from bench.load.tally import Measured
from bench.machine import commit, cpu_of_threads
from bench.peers.base import Standing
from bench.peers.servers import Server, kind_of
from bench.profile import record, stacks
from bench.results import Case

FILE = Path(__file__).parent / "results" / "budgets.json"
CASES = [
    *(Case(operation.name, number, CONNECTIONS[number], "leader") for operation in (PUT, RANGE, SERIALIZABLE_RANGE) for number in (1, 200)),
    Case(GATEWAY, 50, 50, "leader"),
]
LOOP, ELSEWHERE = "event loop, kernel", "other threads"
HTTP, SERVE, DECODE, ENCODE, PROPOSE = "HTTP", "serve", "decode", "encode", "propose, read"
LOG, REPLICATE, APPLY, LOGGING = "log", "replicate", "apply", "logs, metrics"
STEPS = (HTTP, DECODE, SERVE, PROPOSE, LOG, REPLICATE, APPLY, ENCODE, LOGGING, LOOP, ELSEWHERE)

ROOMS: tuple[tuple[str, str], ...] = (
    ("kvstore/http/", HTTP),
    ("kvstore/server/listeners", HTTP),
    ("h2corn", HTTP),
    ("kvstore/wire/", DECODE),
    ("kvstore/api/", SERVE),
    ("kvstore/server/backend", SERVE),
    ("kvstore/statemachine/commands", PROPOSE),
    ("kvstore/member/driver", LOG),
    ("kvstore/member/", PROPOSE),
    ("kvstore/storage/raftlog", LOG),
    ("kvstore/storage/journal", LOG),
    ("kvstore/server/disk", LOG),
    ("kvstore/raft/", REPLICATE),
    ("kvstore/peer/", REPLICATE),
    ("kvstore/server/transport", REPLICATE),
    ("kvstore/statemachine/", APPLY),
    ("kvstore/mvcc/", APPLY),
    ("kvstore/auth/", APPLY),
    ("keelson/cogs/", LOGGING),
    ("kvstore/server/metrics", LOGGING),
    ("kvstore/server/logs", LOGGING),
    ("kvstore/server/", LOOP),
)
"""The innermost frame in one of these says what a sample belongs to. kvstore/storage's engines are none: they work for who calls them."""

ENCODES = re.compile(r"encode|answer|respon|render|dump|header|write")


class Part(Struct, frozen=True):
    """Microseconds of processor time per request, by step, of one member."""

    member: str
    steps_us: dict[str, float]

    @property
    def total_us(self) -> float:
        return sum(self.steps_us.values())


class Budget(Struct, frozen=True):
    case: Case
    began: str
    commit: str
    per_second: float
    parts: list[Part]
    """The leader and one follower."""


def step(frames: Sequence[str]) -> str:
    """What a stack belongs to; `frames` from the outermost, as py-spy writes them: "function (path:line)"."""
    for frame in reversed(frames):
        name, _, place = frame.partition(" (")
        for path, its in ROOMS:
            if path in place:
                return ENCODE if its == DECODE and ENCODES.search(name.lower()) else its
    return LOOP


def shares(path: Path) -> dict[int, dict[str, float]]:
    """By thread, what share of its samples belongs to each step."""
    counts: dict[int, Counter[str]] = {}
    for frames, times in stacks(path):
        found = re.match(r"thread \((\d+)\)", frames[0])
        if found is not None:
            counts.setdefault(int(found[1]), Counter())[step(frames[1:])] += times
    return {thread: {name: times / steps.total() for name, times in steps.items()} for thread, steps in counts.items()}


def divided(threads_us: dict[int, float], of_thread: dict[int, dict[str, float]]) -> dict[str, float]:
    """Microseconds by step: each thread's by its shares."""
    found: Counter[str] = Counter()
    for thread, us in threads_us.items():
        for name, share in of_thread.get(thread, {ELSEWHERE: 1.0}).items():
            found[name] += us * share  # type: ignore[assignment]  # a Counter of floats
    return {name: round(found[name], 2) for name in STEPS if found[name] >= 0.01}


def budget(standing: Standing, case: Case, seconds: float, seed: int, folder: Path) -> Budget:
    watched = standing.processes[:2]

    def load(number: int, for_s: float) -> Measured:
        return standing.measure(case, seconds=for_s, warm_up_s=0.5, seed=seed + number, rate=None)

    before = [cpu_of_threads(process) for process in watched]
    measured = load(0, seconds)
    after = [cpu_of_threads(process) for process in watched]
    driver = threading.Thread(target=load, args=(1, seconds + 3), name="load")
    driver.start()
    spies = [record(process, seconds, folder, f"budget-{at}", native=False, lock_only=False) for at, process in enumerate(watched)]
    for spy in spies:
        told, _ = spy.communicate(timeout=seconds + 60)
        if spy.returncode:
            raise RuntimeError(f"py-spy failed: {told}")
    driver.join()
    parts = []
    for at, member in enumerate(("leader", "follower")):
        spent = {thread: used - before[at].get(thread, 0.0) for thread, used in after[at].items()}
        # The readings of threads have warm-up and end between them, too; that of the whole member has not.
        us = 1e6 * measured.servers_cpu_s[at] / measured.requests / sum(spent.values())
        spent = {thread: us * its for thread, its in spent.items()}
        parts.append(Part(member, divided(spent, shares(folder / f"budget-{at}.stacks"))))
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    return Budget(case, began, commit(), measured.per_second, parts)


def lines(budgets: Iterable[Budget]) -> Iterable[str]:
    for each in budgets:
        yield f"{each.case.operation}, {each.case.in_flight} in flight: {each.per_second:,.0f}/s, microseconds of processor time per request"
        for part in each.parts:
            yield f"  {part.member:<9}{part.total_us:>8.1f}  " + "  ".join(f"{name} {us:.1f}" for name, us in part.steps_us.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only operations whose name contains this")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--peer", default="keelson", help="or NAME=COMMAND for another build")
    parser.add_argument("--to", type=Path, default=FILE)
    options = parser.parse_args()
    DATA.mkdir(exist_ok=True)
    made: list[Budget] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budget-", dir=DATA)))
        standing = stack.enter_context(Server(kind_of(options.peer)).start(folder, MEMBERS, tls=False))
        for number, case in enumerate(case for case in CASES if options.only in case.operation):
            made.append(budget(standing, case, options.seconds, 10 * number + 1, folder))
            print("\n".join(lines(made[-1:])), flush=True)
    options.to.write_bytes(msgspec.json.format(msgspec.json.encode(made)) + b"\n")


if __name__ == "__main__":
    main()
