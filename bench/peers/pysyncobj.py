"""pysyncobj, a Raft library in Python: how many replicated commands a second three processes of it manage.

It has no client protocol, so commands are submitted inside the leader's process: no client, no wire, no parsing, which flatters it. Its journal
is a memory-mapped file that it never syncs (0.3.x), so what it acknowledges is not safe against a power cut. Two settings: as it comes,
and tuned (short ticks, large batches), both with the journal on disk.

    python -m bench.peers.pysyncobj SELF PARTNER PARTNER --journal FILE --tuned

is one member: it prints "leader" or "follower" when the cluster stands; then each line "IN_FLIGHT SECONDS WARM_UP" is answered with a figure.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bench.cases import FULL_SCALE, Scale
from bench.load.requests import PUT, VALUE_BYTES
from bench.load.tally import STUCK_TIMEOUT_S, Measured, summary
from bench.machine import cpu_of
from bench.peers.base import Missing
from bench.peers.processes import START_TIMEOUT_S, Processes, processes
from bench.results import Case, PeerInfo
from keelson.drills.ports import free_ports

TUNED = {"autoTickPeriod": 0.01, "appendEntriesPeriod": 0.01, "commandsQueueSize": 100_000, "appendEntriesBatchSizeBytes": 1 << 20}
LEADER, FOLLOWER = "leader", "follower"


class Load:
    """A closed loop inside the leader: a command's answer, which comes in the library's thread, submits the next one."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._value = bytes(VALUE_BYTES)
        self._latencies: list[float] = []
        self._errors: Counter[int] = Counter()
        self._in_flight = 0
        self._sending = False

    def measure(self, in_flight: int, seconds: float, warm_up_s: float) -> Measured:
        self._sending = True
        self._in_flight = in_flight
        for _ in range(in_flight):
            self._submit()
        time.sleep(warm_up_s)
        self._latencies, self._errors = [], Counter()
        began = time.perf_counter()
        time.sleep(seconds)
        took = time.perf_counter() - began
        measured = summary(self._latencies, self._errors, took, 0.0, [])
        self._sending = False
        deadline = time.monotonic() + STUCK_TIMEOUT_S
        while self._in_flight and time.monotonic() < deadline:
            time.sleep(0.01)
        return measured

    def _submit(self) -> None:
        self._node.put(self._value, callback=partial(self._answered, time.perf_counter()))

    def _answered(self, began: float, _: object, error: object) -> None:
        self._latencies.append(time.perf_counter() - began)
        if error:
            self._errors[int(error)] += 1  # type: ignore[call-overload]
        if self._sending:
            self._submit()
        else:
            self._in_flight -= 1


def member(me: str, partners: list[str], journal: str, *, tuned: bool) -> None:
    """Run one member until its input ends."""
    from pysyncobj import SyncObj, SyncObjConf, replicated

    class Store(SyncObj):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(me, partners, SyncObjConf(journalFile=journal, **(TUNED if tuned else {})))
            self.value = b""

        @replicated
        def put(self, value: bytes) -> int:
            self.value = value
            return len(value)

    node = Store()
    deadline = time.monotonic() + START_TIMEOUT_S
    while not node.isReady():
        if time.monotonic() > deadline:
            sys.exit("no leader in time")
        time.sleep(0.02)
    print(LEADER if node._getLeader() == node.selfNode else FOLLOWER, flush=True)
    load = Load(node)
    for line in sys.stdin:
        in_flight, seconds, warm_up_s = line.split()
        print(msgspec.json.encode(load.measure(int(in_flight), float(seconds), float(warm_up_s))).decode(), flush=True)


class PySyncObj:
    def __init__(self, *, tuned: bool) -> None:
        if importlib.util.find_spec("pysyncobj") is None:
            raise Missing("pysyncobj is not installed: pip install 'keelson[bench]'")
        self._tuned = tuned
        self.name = "pysyncobj-tuned" if tuned else "pysyncobj"

    def info(self) -> PeerInfo:
        settings = ", ".join(f"{name} {value}" for name, value in TUNED.items()) if self._tuned else "as it comes"
        told = f"{settings}; commands are submitted inside the leader, without any client protocol; acknowledged once a majority has it in a "
        return PeerInfo(f"pysyncobj {importlib.metadata.version('pysyncobj')}", f"{told}memory-mapped journal that is never synced")

    def can(self, case: Case) -> bool:
        return case.operation == PUT.name and case.at == "leader" and not case.tls and not case.percent

    @contextlib.contextmanager
    def start(self, folder: Path, members: int, *, tls: bool) -> "Iterator[Nodes]":
        assert not tls
        addresses = [f"127.0.0.1:{port}" for port in free_ports(members)]
        with processes() as started:
            for number, address in enumerate(addresses):
                others = [other for other in addresses if other != address]
                place = folder / f"p{number}"
                command = [sys.executable, "-m", "bench.peers.pysyncobj", address, *others, "--journal", str(place / "journal")]
                here = {"PYTHONPATH": str(Path(__file__).parents[2])}
                started.start([*command, *(["--tuned"] if self._tuned else [])], place / "log", here, piped=True)
            yield Nodes(started)


class Nodes:
    def __init__(self, started: Processes) -> None:
        self._started = started
        roles = [line(process, START_TIMEOUT_S) for process in started.all]
        if roles.count(LEADER) != 1:
            raise OSError(f"pysyncobj's members say that they are {roles}")
        self._leader = started.all[roles.index(LEADER)]

    @property
    def processes(self) -> Sequence[int]:
        """The leader first."""
        return [self._leader.pid, *(process.pid for process in self._started.all if process is not self._leader)]

    def alive(self) -> bool:
        return self._started.alive()

    def measure(self, case: Case, *, seconds: float, warm_up_s: float, seed: int, rate: float | None, scale: Scale = FULL_SCALE) -> Measured:
        """Processor time is that of warm-up and measurement, scaled to the latter."""
        assert self._leader.stdin is not None
        before, began = cpu_of(self.processes), time.perf_counter()
        self._leader.stdin.write(f"{case.in_flight} {seconds} {warm_up_s}\n".encode())
        self._leader.stdin.flush()
        told = line(self._leader, seconds + warm_up_s + 2 * STUCK_TIMEOUT_S)
        share = seconds / (time.perf_counter() - began)
        spent = [share * (after - first) for first, after in zip(before, cpu_of(self.processes), strict=True)]
        return msgspec.convert({**json.loads(told), "servers_cpu_s": spent}, Measured)


def line(process: subprocess.Popen[bytes], timeout_s: float) -> str:
    """The next line that a member prints. Raises TimeoutError, or OSError if it ended."""
    assert process.stdout is not None
    expired = threading.Event()

    def give_up() -> None:
        expired.set()
        process.kill()

    timer = threading.Timer(timeout_s, give_up)
    timer.start()
    try:
        told = process.stdout.readline().decode().strip()
    finally:
        timer.cancel()
    if expired.is_set():
        raise TimeoutError(f"pysyncobj said nothing for {timeout_s} s")
    if not told:
        raise OSError(f"pysyncobj ended with {process.wait(10)}")
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("me")
    parser.add_argument("partners", nargs="+")
    parser.add_argument("--journal", required=True)
    parser.add_argument("--tuned", action="store_true")
    options = parser.parse_args()
    member(options.me, options.partners, options.journal, tuned=options.tuned)
    os._exit(0)  # pysyncobj's thread does not end by itself


if __name__ == "__main__":
    main()
