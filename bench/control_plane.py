"""What the whole cluster costs and how fast it is: start, a pod's way to Ready, writes and lists at 10,000 pods, memory.

    python -m bench.control_plane          # as root; two to four minutes; writes bench/results/control_plane.json, for the page
    python -m bench.control_plane --look   # a tenth of it, kept nowhere

Requests go through the balancer as those of kubectl do, with the administrator's certificate. The pods of the large figures are bound to nobody:
what is measured is the API server and the store, not 10,000 processes.
"""

import argparse
import asyncio
import datetime
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from apiserver.client import kubeconfig
from apiserver.client.rest import Client
from apiserver.machinery.conditions import is_true
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import resource
from bench.load import scheduler
from bench.machine import commit, processor
from keelson.drills.ports import free_ports
from keelson.drills.whole.stage import free_block
from keelson.launcher import cluster as clusters
from keelson.launcher import down, processes, up
from keelson.launcher.cluster import Cluster
from keelson.launcher.control_plane import PORTS, files_of

FILE = Path(__file__).parent / "results" / "control_plane.json"
PODS = resource("pods")
NAMESPACE = "bench"
WRITERS = 32
"""Requests in flight while objects are made: as client-go programs without a limit of their own have."""
WAIT_S = 120.0


class Measured(Struct, frozen=True):
    """One figure and its unit; `note` says how it was got."""

    what: str
    value: float
    unit: str
    note: str = ""


class ControlPlaneResults(Struct, frozen=True):
    began: str
    commit: str
    processor: str
    figures: list[Measured]


def decisions() -> list[Measured]:
    """The scheduler's decisions alone, in this process: see bench.load.scheduler."""
    told = {"plain": "requests only", "service": "pods of a service, spread by the system's defaults", "zones": "spread over zones, hard"}
    return [
        Measured(f"scheduler's decisions on 1,000 simulated nodes, {kind}", scheduler.pods_per_second(kind, 1000, 2000), "a second", how)
        for kind, how in told.items()
    ]


async def measure(cluster: Cluster, started_s: float, objects: int, pods: int) -> list[Measured]:
    """Everything that is measured on a running cluster."""
    figures = [Measured("start: from nothing to three Ready nodes", started_s, "s", "certificates, images and networks included")]
    figures += memory(cluster, "idle")
    async with Client(kubeconfig.load(files_of(cluster.folder).admin), user_agent="bench") as client:
        await client.create(resource("namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        await _account(client)
        figures += await pod_starts(client, pods)
        figures += await many_objects(client, objects)
    figures += memory(cluster, f"with {objects:,} pods")
    return figures


async def _account(client: Client) -> None:
    """Pods are refused until their namespace has its service account."""
    async for event in client.watch(resource("serviceaccounts"), NAMESPACE, initial_events=True):
        if event.type == "ADDED":
            return


async def pod_starts(client: Client, count: int) -> list[Measured]:
    """From the request that makes a pod to the event that says it is Ready, one after the other and all at once."""
    alone = []
    for number in range(count):
        began_s = time.perf_counter()
        await _start(client, f"alone-{number}")
        alone.append(time.perf_counter() - began_s)
    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(_start(client, f"together-{number}"), name=f"bench/{number}")
    together_s = time.perf_counter() - began_s
    await client.delete_collection(PODS, NAMESPACE)
    return [
        Measured("a pod from create to Ready, median", statistics.median(alone), "s", f"{count} one after the other"),
        Measured("a pod from create to Ready, slowest", max(alone), "s"),
        Measured(f"{count} pods at once, until the last is Ready", together_s, "s"),
    ]


async def _start(client: Client, name: str) -> None:
    container = {"name": "c", "image": "keelson/toolbox:1", "command": ["sleep", "3600"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    made = await client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}, NAMESPACE)
    version = made["metadata"]["resourceVersion"]
    async for event in client.watch(PODS, NAMESPACE, resource_version=version, field_selector=f"metadata.name={name}"):
        if is_true(event.object, "Ready"):
            return


async def many_objects(client: Client, count: int) -> list[Measured]:
    numbers = iter(range(count))

    async def write() -> None:
        for number in numbers:
            await client.create(PODS, _idle(number), NAMESPACE)

    create_s = await _all_at_once(write, WRITERS)
    began_s = time.perf_counter()
    listed = await client.list(PODS, NAMESPACE)
    list_s = time.perf_counter() - began_s
    assert len(listed["items"]) >= count, "every pod that was made is listed"
    began_s = time.perf_counter()
    await client.list_all(PODS, NAMESPACE)
    pages_s = time.perf_counter() - began_s
    reads = iter(range(2000))

    async def read() -> None:
        for number in reads:
            await client.get(PODS, f"idle-{number % count}", NAMESPACE)

    get_s = await _all_at_once(read, WRITERS)
    return [
        Measured("pods made", count / create_s, "a second", f"{WRITERS} in flight, {count:,} in all, none of them run"),
        Measured(f"list of {count:,} pods", list_s, "s", "one answer"),
        Measured(f"list of {count:,} pods in pages of 500", pages_s, "s"),
        Measured("one pod read", 2000 / get_s, "a second", f"{WRITERS} in flight"),
    ]


async def _all_at_once(work: Callable[[], Awaitable[None]], workers: int) -> float:
    async def run() -> None:
        await work()

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(workers):
            group.create_task(run(), name=f"bench/worker {number}")
    return time.perf_counter() - began_s


def _idle(number: int) -> Object:
    container = {"name": "c", "image": "keelson/toolbox:1", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"idle-{number}", "labels": {"app": f"app-{number % 100}"}},
        "spec": {"schedulerName": "nobody", "containers": [container]},
    }


def memory(cluster: Cluster, when: str) -> list[Measured]:
    """Proportional set size: shared pages counted once."""
    by_kind: dict[str, int] = {}
    for program in cluster.programs():
        identity = processes.running(cluster.folder, program.name)
        if identity is None:
            continue
        rollup = Path(f"/proc/{identity.pid}/smaps_rollup").read_text()
        kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        kind = "store" if program.name.startswith("m") and program.name[1:].isdigit() else program.name.split("-")[0]
        by_kind[kind] = by_kind.get(kind, 0) + kib
    parts = ", ".join(f"{kind} {kib / 1024:.0f}" for kind, kib in sorted(by_kind.items(), key=lambda item: -item[1]))
    return [Measured(f"memory of all {len(cluster.programs())} processes, {when}", sum(by_kind.values()) / 1024, "MiB", parts)]


def run(objects: int, pods: int) -> ControlPlaneResults:
    """Start a cluster, measure it, stop it. Raises Refused, NotHealthy."""
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="keelson-bench-") as temporary:
        folder = Path(temporary) / "data"
        ports = [",".join(map(str, free_ports(3))) for _ in range(2)]
        wanted = up.Wanted(3, *ports, port=free_block(PORTS))
        child = None
        try:
            began_s = time.perf_counter()
            cluster, child = up.up(folder, wanted, WAIT_S, print)
            figures = asyncio.run(measure(cluster, time.perf_counter() - began_s, objects, pods))
        finally:
            if made := clusters.load(folder):
                down.stop(made)
            if child is not None:
                child.wait()
    return ControlPlaneResults(began, commit(), processor(), figures + decisions())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--look", action="store_true", help="a tenth of the objects, and no file")
    options = parser.parse_args()
    results = run(1_000, 5) if options.look else run(10_000, 20)
    for figure in results.figures:
        print(f"{figure.what:<60}{figure.value:>12,.2f} {figure.unit:<10}{figure.note}")
    if not options.look:
        FILE.write_text(json.dumps(msgspec.to_builtins(results), indent=1) + "\n")


if __name__ == "__main__":
    main()
