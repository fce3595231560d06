"""A million keys: `python -m tests.cluster.million [--keys N] [--value-bytes B] [--members M] [--kind etcd]`.

Loads them in transactions of 100 puts, kills and restarts each member, and reports rates, times, memory and disk. No part of the test run.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

from kvstore.wire import messages as pb
from tests.cluster.promises import check_same_everywhere
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster, Member

BATCH = 100
CLIENTS = 8
RESTART_TIMEOUT_S = 300


def memory_mib(member: Member, field: str = "VmRSS") -> float:
    """What the process holds (VmRSS counts pages of the memory map that happen to be in the page cache; RssAnon does not)."""
    assert member.process is not None
    lines = Path(f"/proc/{member.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def disk_mib(member: Member) -> float:
    return sum(path.stat().st_blocks * 512 for path in member.data.rglob("*") if path.is_file()) / (1 << 20)


def load(cluster: Cluster, keys: int, value_bytes: int) -> float:
    """Seconds until all are acknowledged."""
    began = time.monotonic()
    leader = cluster.leader()

    def client(number: int) -> None:
        wire = Wire(leader.endpoint, leader.tls)
        for start in range(number * BATCH, keys, CLIENTS * BATCH):
            puts = [pb.PutRequest(key=b"million/%08d" % at, value=b"%08d" % at * (value_bytes // 8)) for at in range(start, min(start + BATCH, keys))]
            wire.ask(pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts]), 60)
        wire.close()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return time.monotonic() - began


def report(member: Member, what: str) -> None:
    memory = f"{memory_mib(member):.0f} MiB resident, of it {memory_mib(member, 'RssAnon'):.0f} its own"
    print(f"{member.name} {what}: {memory}, {disk_mib(member):.0f} MiB on disk", flush=True)


def restart_each(cluster: Cluster) -> None:
    for member in cluster:
        report(member, "loaded")
        member.kill()
        began = time.monotonic()
        member.start()
        member.wait_ready(RESTART_TIMEOUT_S)
        print(f"{member.name} serves again {time.monotonic() - began:.2f} s after its restart", flush=True)
        cluster.wait_healthy(RESTART_TIMEOUT_S)


def count(cluster: Cluster, keys: int) -> None:
    wire = Wire(cluster.leader().endpoint)
    began = time.monotonic()
    found = wire.ask(pb.RangeRequest(key=b"million/", range_end=b"million0", count_only=True), 120).count
    assert found == keys, f"{found} keys are left of {keys}"
    print(f"counted in {time.monotonic() - began:.2f} s", flush=True)
    wire.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--kind", default=kinds.KEELSON)
    told = parser.parse_args()
    quota = ["--quota-backend-bytes=8000000000"]
    with (
        tempfile.TemporaryDirectory(prefix="keelson-million-") as folder,
        Cluster(kinds.find(told.kind), Path(folder), told.members, flags=quota) as cluster,
    ):
        for member in cluster:
            report(member, "empty")
        took = load(cluster, told.keys, told.value_bytes)
        print(f"{told.keys} keys of {told.value_bytes} bytes in {took:.1f} s: {told.keys / took:.0f} a second", flush=True)
        check_same_everywhere(cluster)
        restart_each(cluster)
        count(cluster, told.keys)
        check_same_everywhere(cluster)
        for member in cluster:
            report(member, "at the end")


if __name__ == "__main__":
    main()
