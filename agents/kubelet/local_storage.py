"""Pods that use more of the node's disk than they said they would, and are evicted for it (kubelet's localStorageEviction).

What counts is what a pod leaves on the node: what its containers wrote to their roots, their logs, and its emptyDirs on disk. The rule is pure.
"""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from agents.kubelet import disk, logs, pods
from agents.kubelet.volumes import Volumes
from apiserver.machinery.objects import Object, uid_of
from apiserver.machinery.quantity import parse

RESOURCE = "ephemeral-storage"


class Used(Struct, frozen=True):
    """Bytes, by name. `containers`: root and logs. `volumes`: emptyDirs; those in memory are counted, but not as part of the disk."""

    containers: Mapping[str, int] = {}
    volumes: Mapping[str, int] = {}


def is_limited(pod: Object) -> bool:
    """Whether there is anything to look after: measuring takes time."""
    return any(_size_limit(each) for each in pod["spec"].get("volumes") or ()) or any(
        RESOURCE in pods.quantities(each, "limits") for each in pods.every_container(pod)
    )


def why_evicted(pod: Object, used: Used) -> str | None:
    """The text that tells what was too much; None where all is within its limits."""
    for volume in pod["spec"].get("volumes") or ():
        limit = _size_limit(volume)
        if limit and used.volumes.get(volume["name"], 0) > parse(limit).value:
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    whole = pods.peak(pod, "limits", RESOURCE)
    if whole and together(pod, used) > whole.value:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {whole}. "
    for container in pods.every_container(pod):
        own = pods.quantities(container, "limits").get(RESOURCE)
        if own and used.containers.get(container["name"], 0) > own.value:
            return f'Container {container["name"]} exceeded its local ephemeral storage limit "{own}". '
    return None


def together(pod: Object, used: Used) -> int:
    """All of it, in bytes, but for volumes in memory."""
    return sum(used.containers.values()) + sum(size for name, size in used.volumes.items() if name not in in_memory(pod))


def in_memory(pod: Object) -> set[str]:
    return {each["name"] for each in pod["spec"].get("volumes") or () if (each.get("emptyDir") or {}).get("medium") == "Memory"}


def measured(pod: Object, volumes: Volumes, log_folder: Path, roots: Mapping[str, int]) -> Used:
    """`roots`: what containers wrote to their own roots. Reads folders."""
    containers = dict(roots)
    for each in pods.every_container(pod):
        own = log_folder / logs.pod_folder_name(pod) / each["name"]
        containers[each["name"]] = containers.get(each["name"], 0) + disk.used_bytes(own)
    empty = [each["name"] for each in pod["spec"].get("volumes") or () if "emptyDir" in each]
    return Used(containers, {name: disk.used_bytes(volumes.empty_folder(uid_of(pod), name)) for name in empty})


def _size_limit(volume: Object) -> str:
    return str((volume.get("emptyDir") or {}).get("sizeLimit") or "")
