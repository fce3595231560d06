"""Nodes and pods for the tests of the scheduler, in few words."""

from random import Random
from typing import Any

from agents.scheduler.cycle import Cycle, Decision
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.profiles import Profile, default_profile
from agents.scheduler.snapshot import Snapshot
from apiserver.machinery.objects import Object

ZONE = "topology.kubernetes.io/zone"


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", taints: Any = (), labels: Any = None, **more: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": [dict(zip(("key", "value", "effect"), each, strict=True)) for each in taints], **more},
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods}},
    }


def pod(name: str, *, cpu: str = "", memory: str = "", labels: Any = None, status: Any = None, **spec: Any) -> Object:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": labels or {}},
        "spec": {"containers": [{"name": "c", "image": "app:1", "resources": {"requests": requests}}], **spec},
        "status": status or {},
    }


def snapshot(*objects: Object) -> Snapshot:
    """Nodes, and pods with a node."""
    found = Snapshot()
    for obj in objects:
        if "containers" in obj["spec"]:
            found.set_pod(obj)
        else:
            found.set_node(obj)
    return found


def decide(found: Snapshot, wanted: Object, profile: Profile | None = None) -> Decision:
    return Cycle(Random(1).randrange).decide(profile or default_profile(), PodInfo(wanted), found)
