"""The Raft core alone: how many replicated commands a second three processes of it manage, each with its log synced to disk.

A member here is what replicates and nothing else: `kvstore.raft`, the log on disk, the driver that puts the two in order, the frames of the
peer protocol over TCP. No clients, no services, no state machine: a committed command is counted. Commands are proposed inside the leader's
process, in a closed loop, as those of pysyncobj are (`peers/pysyncobj.py`), whose counterpart this is; but what it acknowledges is synced.

    python -m bench.raft_core                                  # three members, prints the figure
    python -m bench.raft_core --member 1 --ports ... --folder DIR --in-flight 1000 ...   # one of them; `measure` starts three

The members' checksums over what they committed are compared in the end: a figure of members that disagree is none.
"""

import argparse
import asyncio
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, cast
from zlib import crc32

import uvloop

from bench.load.tally import Measured, cpu_s, summary
from bench.machine import cpu_s as cpu_of
from bench.results import Case
from keelson.drills.ports import free_ports
from kvstore.ids import NO_INDEX, MemberId
from kvstore.member.driver import Durable, LogWriter
from kvstore.member.effects import Persist
from kvstore.peer.frames import FrameReader, MessageCodec
from kvstore.raft.config import Config
from kvstore.raft.core import Proposed, Raft
from kvstore.raft.messages import AnyMessage, ConfState, Entry
from kvstore.raft.ready import Ready, Role
from kvstore.server.disk import DiskThread
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.raftlog import RaftLog

MEMBERS = 3
COMMAND_BYTES = 100
CASE = Case(f"replicated command, {COMMAND_BYTES} bytes", 1000, 1, "leader")
TICK_S = 0.1
START_TIMEOUT_S = 30.0
CHECKPOINT_ENTRIES = 1000
"""Every so many entries a member notes its checksum over everything committed up to there."""


Checkpoints = list[tuple[int, int]]
"""Index and checksum."""


class Disagreement(Exception):
    """Two members committed different commands."""


def fail(why: str) -> NoReturn:
    """End this member, from whatever callback: it would only be logged, and the others would wait."""
    os.write(2, f"{why}\n".encode())
    os._exit(1)


class Core:
    """One member: the same turns as `server.loop.Runner`, over a Raft core instead of a whole member."""

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int, folder: Path) -> None:
        self._loop = loop
        conf = ConfState(tuple(MemberId(member) for member in range(1, MEMBERS + 1)))
        self._log = RaftLog(LmdbDisk(folder).open_log())
        self._log.bootstrap(conf, b"bench")
        self.raft = Raft(Config(MemberId(number)), self._log, NO_INDEX, conf, random.randint)
        self._writer = LogWriter(self._log.hard_state())
        self._disk = DiskThread("log disk", loop, self._failed)
        self._codec = MessageCodec(AnyMessage)
        self._scheduled = False
        self.peers: dict[MemberId, asyncio.Transport] = {}
        self.checksum = 0
        self.checkpoints: dict[int, int] = {}
        self.load: Load | None = None
        self.leads = asyncio.Event()

    @staticmethod
    def _failed(error: BaseException) -> None:
        fail(f"the log's disk failed: {error}")

    def tick(self) -> None:
        self.raft.tick()
        if self.raft.role is Role.LEADER:
            self.leads.set()
        self.wake()
        self._loop.call_later(TICK_S, self.tick)

    def receive(self, payload: bytes) -> None:
        self.raft.step(cast(AnyMessage, self._codec.decode(payload)))
        self.wake()

    def wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        raft = self.raft
        messages: list[AnyMessage] = []
        if self.load is not None:
            self.load.propose()
        while True:
            while (ready := raft.ready()) is not None:
                self._take(ready, messages)
            work = self._writer.start()
            if isinstance(work, Durable):
                self._release(work, messages)
                continue
            break
        self._send(messages)
        if work is not None:
            self._persist(work)

    def _take(self, ready: Ready, messages: list[AnyMessage]) -> None:
        messages += ready.messages
        self._writer.add(ready)
        if ready.committed:
            self._count(ready.committed)
            self.raft.applied(ready.committed[-1].index)

    def _count(self, committed: Sequence[Entry]) -> None:
        checksum = self.checksum
        for entry in committed:
            checksum = crc32(entry.data, checksum)
            if entry.index % CHECKPOINT_ENTRIES == 0:
                self.checkpoints[entry.index] = checksum
        self.checksum = checksum
        if self.load is not None:
            self.load.committed(sum([bool(entry.data) for entry in committed]))
            self.wake()

    def _release(self, durable: Durable, messages: list[AnyMessage]) -> None:
        messages += durable.messages
        for mark in durable.marks:
            self.raft.persisted(mark)

    def _send(self, messages: list[AnyMessage]) -> None:
        frames: dict[MemberId, list[bytes]] = {}
        for message in messages:
            frames.setdefault(message.receiver, []).append(self._codec.encode(message))
        for receiver, batch in frames.items():
            peer = self.peers.get(receiver)
            if peer is not None:
                peer.write(b"".join(batch))

    def _persist(self, work: Persist) -> None:
        self._disk.submit(lambda: self._log.append(work.entries, work.hard_state), self._persisted)

    def _persisted(self, _: None) -> None:
        messages: list[AnyMessage] = []
        self._release(self._writer.finish(), messages)
        self._send(messages)
        self.wake()


class Load:
    """So many commands in flight at the leader: for each that was committed the next one is proposed."""

    def __init__(self, core: Core, in_flight: int) -> None:
        self._core = core
        self._value = random.randbytes(COMMAND_BYTES - 8)
        self._number = 0
        self._wanted = in_flight
        self._proposed: deque[tuple[float, int]] = deque()
        """When, and how many then, of those that are not committed yet; in the order of the log."""
        self.latencies: list[float] = []

    def propose(self) -> None:
        if self._wanted:
            first, self._number = self._number, self._number + self._wanted
            value = self._value
            proposed = self._core.raft.propose([number.to_bytes(8, "big") + value for number in range(first, self._number)])
            if proposed is not Proposed.ACCEPTED:
                fail(f"the leader took no more: {proposed.value}")
            self._proposed.append((time.perf_counter(), self._wanted))
            self._wanted = 0

    def committed(self, count: int) -> None:
        now = time.perf_counter()
        self._wanted += count
        while count:
            began, waiting = self._proposed.popleft()
            done = min(count, waiting)
            self.latencies += [now - began] * done
            count -= done
            if waiting > done:
                self._proposed.appendleft((began, waiting - done))


class Link(asyncio.Protocol):
    """A connection in one direction: the dialler sends, the other receives."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._reader = FrameReader()

    def data_received(self, data: bytes) -> None:
        for payload in self._reader.feed(data):
            self._core.receive(payload)


async def _dial(core: Core, peer: int, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: Link(core), "127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)
        else:
            core.peers[MemberId(peer)] = transport
            return


async def member(number: int, ports: Sequence[int], folder: Path, in_flight: int, warm_up_s: float, seconds: float) -> None:
    """Run one member until SIGTERM. The one that leads says so in a line when it has warmed up, and then its latencies; all say their checkpoints."""
    loop = asyncio.get_running_loop()
    core = Core(loop, number, folder)
    ended = asyncio.Event()

    def end() -> None:
        ended.set()
        core.leads.set()

    loop.add_signal_handler(signal.SIGTERM, end)
    await loop.create_server(lambda: Link(core), "127.0.0.1", ports[number - 1])
    await asyncio.gather(*(_dial(core, peer, port) for peer, port in enumerate(ports, 1) if peer != number))
    core.tick()
    await core.leads.wait()
    if not ended.is_set():
        load = core.load = Load(core, in_flight)
        core.wake()
        await asyncio.sleep(warm_up_s)
        _say({"warm": number})
        load.latencies.clear()
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        took = time.perf_counter() - began
        latencies, core.load = load.latencies, None
        _say({"took": took, "latencies_us": [round(latency * 1e6) for latency in latencies]})
    await ended.wait()
    _say({"checkpoints": list(core.checkpoints.items())})


def _say(line: object) -> None:
    print(json.dumps(line), flush=True)


def _hear(processes: Sequence["subprocess.Popen[str]"], timeout_s: float) -> dict[str, object]:
    """The next line of whoever says one."""
    streams = {process.stdout: process for process in processes if process.stdout is not None}
    readable, _, _ = select.select(list(streams), [], [], timeout_s)
    if not readable:
        raise TimeoutError(f"no member said anything within {timeout_s:.0f} s")
    line = readable[0].readline()
    if not line:
        raise RuntimeError(f"a member ended with {streams[readable[0]].wait()} instead of a figure")
    told: dict[str, object] = json.loads(line)
    return told


def measure(folder: Path, *, in_flight: int = CASE.in_flight, warm_up_s: float = 1.0, seconds: float = 5.0) -> Measured:
    """Three fresh members with their logs under `folder`, all gone afterwards. The leader's processor time, which proposes too, is the first of
    `servers_cpu_s`. Raises Disagreement, TimeoutError, or RuntimeError if a member failed."""
    with tempfile.TemporaryDirectory(prefix="bench-raft-core-", dir=folder) as data:
        ports = free_ports(MEMBERS)
        common = ["--ports", ",".join(map(str, ports)), "--in-flight", str(in_flight), "--warm-up", str(warm_up_s), "--seconds", str(seconds)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.raft_core", "--member", str(number), "--folder", f"{data}/{number}", *common],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(1, MEMBERS + 1)
        ]
        try:
            leader = processes[cast(int, _hear(processes, START_TIMEOUT_S + warm_up_s)["warm"]) - 1]
            processes = [leader, *(process for process in processes if process is not leader)]
            before = [cpu_of(process.pid) for process in processes]
            own = cpu_s()
            told = _hear(processes, seconds + START_TIMEOUT_S)
            used = [cpu_of(process.pid) - earlier for process, earlier in zip(processes, before, strict=True)]
            compare(_checkpoints(processes))
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        latencies = [latency / 1e6 for latency in cast(list[int], told["latencies_us"])]
        return summary(latencies, Counter(), cast(float, told["took"]), cpu_s() - own, used)


def _checkpoints(processes: Sequence["subprocess.Popen[str]"]) -> list[Checkpoints]:
    for process in processes:
        process.terminate()
    return [cast(Checkpoints, _hear([process], START_TIMEOUT_S)["checkpoints"]) for process in processes]


def compare(members: Sequence[Checkpoints]) -> None:
    """Raises Disagreement if members have committed different commands, or if there is nothing that could show it."""
    known: dict[int, int] = {}
    twice = False
    for checkpoints in members:
        for index, checksum in checkpoints:
            twice |= index in known
            if known.setdefault(index, checksum) != checksum:
                raise Disagreement(f"members committed different commands up to entry {index}")
    if not twice:
        raise Disagreement(f"no two members committed {CHECKPOINT_ENTRIES} commands: nothing to compare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=CASE.in_flight)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, default=Path("build"))
    parser.add_argument("--member", type=int, help="run this one member (needs --ports)")
    parser.add_argument("--ports", type=lambda text: [int(port) for port in text.split(",")], default=[])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.member:
        uvloop.run(member(options.member, options.ports, options.folder, options.in_flight, options.warm_up, options.seconds))
        sys.stdout.flush()
        os._exit(0)  # the disk's thread may be in the middle of a write that nobody waits for
    done = measure(options.folder, in_flight=options.in_flight, warm_up_s=options.warm_up, seconds=options.seconds)
    cpu = " + ".join(f"{1e6 * used / max(1, done.requests):.1f}" for used in done.servers_cpu_s)
    print(f"{done.per_second:,.0f} commands/s at {options.in_flight} in flight, p50 {done.p50_ms} ms, p99 {done.p99_ms} ms; us of processor: {cpu}")


if __name__ == "__main__":
    main()
