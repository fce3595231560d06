"""What a node is and has: read from the machine, told in the words of a Node object. The building of objects is pure."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from agents.kit.times import to_text
from agents.kubelet.runtime.base import Image
from agents.kubelet.thresholds import Thresholds
from apiserver.machinery.objects import Object

KUBELET_VERSION = "v1.37.0"
MAX_PODS = 110
IMAGES_MAX = 50
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


class Machine(Struct):
    cpus: int
    memory_bytes: int
    disk_bytes: int
    disk_available_bytes: int
    memory_available_bytes: int
    info: dict[str, str]


def meminfo() -> dict[str, int]:
    """What the kernel tells of memory, in bytes (proc(5))."""
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines() if "kB" in line}


def memory_bytes() -> tuple[int, int]:
    """Of the machine: what is there, what is left."""
    found = meminfo()
    return found["MemTotal"], found["MemAvailable"]


def disk_bytes(folder: Path) -> tuple[int, int]:
    """Of the file system: what is there, what is left."""
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def read(folder: Path, runtime: str) -> Machine:
    memory, memory_left = memory_bytes()
    disk, disk_left = disk_bytes(folder)
    info = {
        "machineID": _text("/etc/machine-id"),
        "systemUUID": _text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
        "bootID": _text("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": _os_name(),
        "containerRuntimeVersion": runtime,
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": ARCHITECTURE,
    }
    cpus = len(os.sched_getaffinity(0))
    return Machine(cpus, memory, disk, disk_left, memory_left, info)


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _os_name() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def capacity(machine: Machine, max_pods: int) -> dict[str, str]:
    return {
        "cpu": str(machine.cpus),
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "ephemeral-storage": f"{machine.disk_bytes // 1024}Ki",
        "pods": str(max_pods),
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    }


class Identity(Struct, frozen=True):
    """What the command line says about this node."""

    name: str
    ip: str
    port: int
    labels: Mapping[str, str] = {}
    taints: tuple[Object, ...] = ()
    unschedulable: bool = False
    provider_id: str = ""
    max_pods: int = MAX_PODS
    pod_range: str = ""
    eviction: Thresholds = Thresholds()


def allocatable(identity: Identity, machine: Machine) -> dict[str, str]:
    """What pods may ask for: all but what is kept back for the node not to come under pressure."""
    found = capacity(machine, identity.max_pods)
    found["memory"] = f"{max(machine.memory_bytes - identity.eviction.memory.bytes_of(machine.memory_bytes), 0) // 1024}Ki"
    found["ephemeral-storage"] = str(max(machine.disk_bytes - identity.eviction.disk.bytes_of(machine.disk_bytes), 0))
    return found


def labels(identity: Identity) -> dict[str, str]:
    own = {
        "kubernetes.io/hostname": identity.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": ARCHITECTURE,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": ARCHITECTURE,
    }
    return {**own, **identity.labels}


def pod_range(identity: Identity) -> Object:
    return {"podCIDR": identity.pod_range, "podCIDRs": [identity.pod_range]}


def new_node(identity: Identity) -> Object:
    spec: Object = {}
    if identity.taints:
        spec["taints"] = list(identity.taints)
    if identity.provider_id:
        spec["providerID"] = identity.provider_id
    if identity.pod_range:
        spec |= pod_range(identity)
    if identity.unschedulable:
        spec["unschedulable"] = True
    annotations = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    metadata = {"name": identity.name, "labels": labels(identity), "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}


def status(identity: Identity, machine: Machine, images: list[Image], not_ready: str, old: Mapping[str, Object], now_s: float) -> Object:
    """`old`: the conditions as they are; `not_ready`: empty, or why no pod can run here."""
    under_pressure = identity.eviction.memory.is_passed(machine.memory_bytes, machine.memory_available_bytes)
    full = identity.eviction.disk.is_passed(machine.disk_bytes, machine.disk_available_bytes)
    wanted = (
        ("MemoryPressure", under_pressure, "KubeletHasInsufficientMemory" if under_pressure else "KubeletHasSufficientMemory"),
        ("DiskPressure", full, "KubeletHasDiskPressure" if full else "KubeletHasNoDiskPressure"),
        ("PIDPressure", False, "KubeletHasSufficientPID"),
        ("Ready", not not_ready, "KubeletNotReady" if not_ready else "KubeletReady"),
    )
    texts = {
        "KubeletHasInsufficientMemory": "kubelet has insufficient memory available",
        "KubeletHasSufficientMemory": "kubelet has sufficient memory available",
        "KubeletHasDiskPressure": "kubelet has disk pressure",
        "KubeletHasNoDiskPressure": "kubelet has no disk pressure",
        "KubeletHasSufficientPID": "kubelet has sufficient PID available",
        "KubeletReady": "kubelet is posting ready status",
        "KubeletNotReady": not_ready,
    }
    now = to_text(now_s)
    conditions = []
    for kind, holds, reason in wanted:
        value = "True" if holds else "False"
        before = old.get(kind) or {}
        since = before.get("lastTransitionTime") if before.get("status") == value else None
        conditions.append(
            {
                "type": kind,
                "status": value,
                "lastHeartbeatTime": now,
                "lastTransitionTime": since or now,
                "reason": reason,
                "message": texts[reason],
            }
        )
    biggest = sorted(images, key=lambda image: -image.size_bytes)[:IMAGES_MAX]
    return {
        "capacity": capacity(machine, identity.max_pods),
        "allocatable": allocatable(identity, machine),
        "conditions": conditions,
        "addresses": [{"type": "InternalIP", "address": identity.ip}, {"type": "Hostname", "address": identity.name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": identity.port}},
        "nodeInfo": machine.info,
        "images": [{"names": [*image.digests, *image.tags], "sizeBytes": image.size_bytes} for image in biggest],
    }
