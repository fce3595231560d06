"""Pods a second of the scheduler's pure cycle on simulated nodes, in this process: no API server, no bindings.

    python -m bench.load.scheduler [--nodes 1000] [--pods 3000]

One line a kind of pod: plain (requests only), of a service (spread by the system's defaults), spread over zones (hard), apart from each other
(anti-affinity by host).
"""

import argparse
import sys
import time
from random import Random
from typing import Any

from agents.scheduler.cycle import Cycle, Placed
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.profiles import default_profile
from agents.scheduler.snapshot import Snapshot

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
SELECTOR = {"matchLabels": {"app": "web"}}
SPECS: dict[str, dict[str, Any]] = {
    "plain": {},
    "service": {},
    "zones": {
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": SELECTOR}],
    },
    "apart": {
        "affinity": {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": HOST, "labelSelector": SELECTOR}]},
        },
    },
}


def cluster(nodes: int) -> Snapshot:
    """Nodes of 16 CPUs and 64 GiB in three zones."""
    found = Snapshot()
    for number in range(nodes):
        labels = {HOST: f"node-{number}", ZONE: f"zone-{number % 3}"}
        allocatable = {"cpu": "16", "memory": "64Gi", "pods": "110"}
        found.set_node({"metadata": {"name": f"node-{number}", "labels": labels}, "status": {"allocatable": allocatable}})
    return found


def pod(number: int, kind: str) -> dict[str, Any]:
    container = {"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}
    metadata = {"name": f"p{number}", "namespace": "default", "uid": str(number), "labels": {"app": "web"}}
    return {"metadata": metadata, "spec": {"containers": [container], **SPECS[kind]}}


def pods_per_second(kind: str, nodes: int, pods: int) -> float:
    found = cluster(nodes)
    if kind == "service":
        found.set_object("services", {"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"app": "web"}}})
    cycle, profile = Cycle(Random(1).randrange), default_profile()
    waiting = [PodInfo(pod(number, kind)) for number in range(pods)]
    began = time.perf_counter()
    for each in waiting:
        decision = cycle.decide(profile, each, found)
        assert isinstance(decision, Placed), decision
        found.assume(each, decision.node)
    return pods / (time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=3000)
    arguments = parser.parse_args()
    for kind in SPECS:
        # Apart from each other: no more than there are nodes.
        count = min(arguments.pods, arguments.nodes * 9 // 10) if kind == "apart" else arguments.pods
        print(f"{kind:8} {arguments.nodes} nodes, {count} pods: {pods_per_second(kind, arguments.nodes, count):8.0f} pods/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
