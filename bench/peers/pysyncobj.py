"""pysyncobj, a Raft library in Python: how many replicated commands a second three processes of it manage.

It has no etcd API, so commands are submitted inside the leader's process: no client, no wire, no parsing, which flatters it. It does not
sync its journal to disk either (0.3.x), so what it acknowledges is not safe against a power cut; docs/decisions and the drills show
what gets lost. Two settings: as it comes, and tuned (short ticks, large batches), both with its journal on disk.

    python -m bench.peers.pysyncobj SELF PARTNER PARTNER --journal FILE --tuned   (one member; `measure` starts three)
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.ports import free_ports

COMMAND_BYTES = 100
IN_FLIGHT = {"defaults": 200, "tuned": 1000}
SECONDS = 5.0
WARM_UP_S = 2.0
START_TIMEOUT_S = 30.0
TUNED = {"autoTickPeriod": 0.01, "appendEntriesPeriod": 0.01, "commandsQueueSize": 100_000, "appendEntriesBatchSizeBytes": 1 << 20}


def member(me: str, partners: list[str], journal: str, *, tuned: bool) -> None:
    """Run one member; the one that leads measures itself and prints its rate."""
    from pysyncobj import SyncObj, SyncObjConf, replicated

    class Counter(SyncObj):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(me, partners, SyncObjConf(journalFile=journal, **(TUNED if tuned else {})))
            self.value = b""

        @replicated
        def put(self, value: bytes) -> int:
            self.value = value
            return len(value)

    node = Counter()
    deadline = time.monotonic() + START_TIMEOUT_S
    while not node.isReady():
        if time.monotonic() > deadline:
            sys.exit("no leader in time")
        time.sleep(0.05)
    if node._getLeader() != node.selfNode:
        time.sleep(3600)  # the leader's process is what `measure` waits for; it ends us
    done = failed = 0
    value = bytes(COMMAND_BYTES)

    def answered(_: object, error: object) -> None:
        nonlocal done, failed
        if error:
            failed += 1
        else:
            done += 1
        node.put(value, callback=answered)

    for _ in range(IN_FLIGHT["tuned" if tuned else "defaults"]):
        node.put(value, callback=answered)
    time.sleep(WARM_UP_S)
    first, began = done, time.perf_counter()
    time.sleep(SECONDS)
    print(f"{(done - first) / (time.perf_counter() - began):.1f} {failed}", flush=True)


def _rate(folder: Path, *, tuned: bool) -> float:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    processes = []
    try:
        for number, address in enumerate(addresses):
            others = [other for other in addresses if other != address]
            command = [sys.executable, "-m", "bench.peers.pysyncobj", address, *others, "--journal", str(folder / f"journal{number}")]
            processes.append(
                subprocess.Popen([*command, *(["--tuned"] if tuned else [])], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            )
        deadline = time.monotonic() + START_TIMEOUT_S + WARM_UP_S + SECONDS + 10
        while time.monotonic() < deadline:
            for process in processes:
                # Only the leader prints, and then its process is over or about to be.
                if process.poll() is not None and process.stdout is not None:
                    told = process.stdout.read().split()
                    if len(told) == 2:
                        return float(told[0])
                    raise RuntimeError(f"pysyncobj ended with {process.returncode} instead of a figure")
            time.sleep(0.1)
        raise TimeoutError("pysyncobj gave no figure in time")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(folder: Path) -> dict[str, float]:
    """Replicated commands a second by settings."""
    figures = {}
    for settings in ("defaults", "tuned"):
        with tempfile.TemporaryDirectory(prefix="bench-pysyncobj-", dir=folder) as journals:
            name = f"pysyncobj, {settings}, {COMMAND_BYTES}-byte commands, {IN_FLIGHT[settings]} in flight, journal not synced"
            figures[name] = _rate(Path(journals), tuned=settings == "tuned")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("me")
    parser.add_argument("partners", nargs="+")
    parser.add_argument("--journal", required=True)
    parser.add_argument("--tuned", action="store_true")
    options = parser.parse_args()
    member(options.me, options.partners, options.journal, tuned=options.tuned)
    sys.stdout.flush()
    # pysyncobj's thread does not end by itself.
    import os

    os._exit(0)


if __name__ == "__main__":
    main()
