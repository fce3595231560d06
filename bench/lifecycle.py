"""What is not a rate under load: starting, growing to many keys, memory and disk there, restarting, backing up.

A cluster is filled in steps; after each the same puts and ranges are measured, which shows what grows with the number of keys. At the last
step come memory, disk, a backup, and a member that is killed and started again over all of it.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop

from bench.cases import run_case
from bench.load.generator import run_load
from bench.load.requests import TXN_PATH, Operation, field, key, loading, value
from bench.machine import disk_bytes, resident_bytes
from bench.results import Case, Fact
from kvstore.wire import messages as pb
from tests.support.calls import open_channel, path
from tests.support.kinds import Kind
from tests.support.members import Cluster, Member

BATCH = 100
"""Puts to a transaction: etcd's limit is 128 operations."""

QUOTA_FLAG = "--quota-backend-bytes=8000000000"
RESTART_TIMEOUT_S = 300
GROWTH = [Case("put", 200, 20, "leader"), Case("range", 200, 20, "leader")]
MIB = 1 << 20


def filling(first: int, keys: int) -> tuple[Operation, int]:
    """The operation that writes so many keys from number `first` on, and how many requests it takes."""
    tail = field(2, value())
    starts = iter(range(first, first + keys, BATCH))

    def request() -> tuple[str, bytes]:
        start = next(starts)
        puts = (field(2, field(2, field(1, key(number)) + tail)) for number in range(start, min(start + BATCH, first + keys)))
        return TXN_PATH, b"".join(puts)

    return Operation("fill", (TXN_PATH,), lambda _: request), -(-keys // BATCH)


def measure(kind: Kind, folder: Path, members: int, steps: list[int], seconds: float, number: int) -> Iterator[Fact]:
    """All facts of one peer in one round; `steps` are the numbers of keys. Raises what a load raises."""

    def fact(name: str, told: float, unit: str) -> Fact:
        return Fact(kind.name, number, name, told, unit)

    with tempfile.TemporaryDirectory(prefix=f"life-{kind.name}-", dir=folder) as place:
        began = time.monotonic()
        with Cluster(kind, Path(place), members, flags=[QUOTA_FLAG]) as cluster:
            yield fact("start of an empty cluster", time.monotonic() - began, "s")
            leader = cluster.leader()
            there = 0
            load, requests = loading()
            run_load([leader.endpoint], load, in_flight=100, connections=5, requests=requests)
            for keys in steps:
                operation, requests = filling(there, keys - there)
                filled = run_load([leader.endpoint], operation, in_flight=8, connections=8, requests=requests)
                assert not filled.errors, f"{kind.name} refused keys: {filled.errors}"
                if keys == steps[-1]:
                    yield fact(f"filling, {BATCH} puts a transaction, up to {keys:,} keys", (keys - there) / filled.seconds, "keys/s")
                there = keys
                for case in GROWTH:
                    measured = uvloop.run(
                        run_case(case, [leader.endpoint], seconds=seconds, warm_up_s=0.5, seed=1000 * number + keys % 997, tls=None, meter=list)
                    )
                    yield fact(f"{case.operation}, {case.in_flight} in flight, at {keys:,} keys", measured.per_second, "/s")
            follower = cluster.followers()[0]
            yield from _sizes(follower, there, fact)
            began = time.monotonic()
            size = _backup(leader)
            yield fact(f"backup of {there:,} keys", size / MIB / (time.monotonic() - began), "MiB/s")
            follower.kill()
            began = time.monotonic()
            follower.start()
            follower.wait_ready(RESTART_TIMEOUT_S)
            yield fact(f"kill -9 to serving again, {there:,} keys", time.monotonic() - began, "s")


def _sizes(member: Member, keys: int, fact: Callable[[str, float, str], Fact]) -> Iterator[Fact]:
    assert member.process is not None
    resident, own = resident_bytes(member.process.pid), resident_bytes(member.process.pid, anonymous_only=True)
    yield fact(f"memory of a member, {keys:,} keys", resident / MIB, "MiB")
    yield fact(f"memory that is not the mapped file, {keys:,} keys", own / MIB, "MiB")
    yield fact(f"disk of a member, {keys:,} keys", disk_bytes(member.data) / MIB, "MiB")


def _backup(member: Member) -> int:
    """Bytes of a snapshot stream."""
    with open_channel(member.endpoint, member.tls) as channel:
        call = channel.unary_stream(path("Maintenance/Snapshot"), response_deserializer=pb.SnapshotResponse.FromString)
        return sum(len(answer.blob) for answer in call(b"", timeout=RESTART_TIMEOUT_S))
