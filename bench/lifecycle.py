"""What is not a rate under load: starting, growing to many keys, memory and disk there, restarting, backing up, catching up.

A cluster is filled in steps; after each the same puts and ranges are measured, which shows what grows with the number of keys. At the last
step come memory, disk, a backup, a member that is killed and started again over all of it, and one that lost its disk, is removed and added anew
and gets everything from the others.
"""

import shutil
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
from tests.cluster import growing
from tests.support.calls import Wire, open_channel, path
from tests.support.kinds import Kind
from tests.support.members import Cluster, Member, wait_until

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
            yield fact(f"catch-up of an empty member, {there:,} keys", _catch_up(cluster, follower), "s")


def _sizes(member: Member, keys: int, fact: Callable[[str, float, str], Fact]) -> Iterator[Fact]:
    assert member.process is not None
    resident, own = resident_bytes(member.process.pid), resident_bytes(member.process.pid, anonymous_only=True)
    yield fact(f"memory of a member, {keys:,} keys", resident / MIB, "MiB")
    yield fact(f"memory that is not the mapped file, {keys:,} keys", own / MIB, "MiB")
    yield fact(f"disk of a member, {keys:,} keys", disk_bytes(member.data) / MIB, "MiB")


def _catch_up(cluster: Cluster, lost: Member) -> float:
    """Seconds from the start of the process that takes the place of `lost` until it serves and has as many keys as the others."""
    lost.kill()
    growing.remove(cluster, lost)
    shutil.rmtree(lost.data)
    newcomer = growing.prepared(cluster, "newcomer")
    growing.asked(cluster, pb.MemberAddRequest(peerURLs=[newcomer.peer_url]))
    there = _count(cluster.leader())
    cluster.members.append(newcomer)
    began = time.monotonic()
    newcomer.start()
    newcomer.wait_ready(RESTART_TIMEOUT_S)
    wait_until(lambda: _count(newcomer) == there, RESTART_TIMEOUT_S, f"{there:,} keys on the new member", 0.05)
    return time.monotonic() - began


def _count(member: Member) -> int:
    """Keys that it has applied; -1 while it does not answer."""
    wire = Wire(member.endpoint, member.tls)
    reply = wire.call("KV/Range", pb.RangeRequest(key=b"\0", range_end=b"\0", count_only=True, serializable=True), RESTART_TIMEOUT_S)
    wire.close()
    return -1 if reply.message is None else int(reply.message.count)


def _backup(member: Member) -> int:
    """Bytes of a snapshot stream."""
    with open_channel(member.endpoint, member.tls) as channel:
        call = channel.unary_stream(path("Maintenance/Snapshot"), response_deserializer=pb.SnapshotResponse.FromString)
        return sum(len(answer.blob) for answer in call(b"", timeout=RESTART_TIMEOUT_S))
