"""What a cluster leaves on its machine: asked before `down` (whose are these?) and after (is anything left?). Found without the launcher's help."""

import os
from pathlib import Path

from msgspec import Struct

from agents.kubelet.runtime.cgroups import root_of
from keelson.launcher import processes
from keelson.launcher.cluster import Cluster
from keelson.launcher.processes import Identity

PROC, CGROUPS, LINKS, NAMESPACES = Path("/proc"), Path("/sys/fs/cgroup"), Path("/sys/class/net"), Path("/run/netns")


class Marks(Struct, frozen=True):
    """By what things of one cluster are known. `inside`: the processes in the networks of its nodes and of all its pods."""

    folder: str
    bridge: str
    bridge_index: str
    cgroups: tuple[str, ...]
    inside: tuple[Identity, ...]


def marks_of(cluster: Cluster) -> Marks:
    """To be asked while it runs: afterwards nobody knows which network was a pod's."""
    plan = cluster.control_plane
    assert plan is not None, "a store alone leaves processes only"
    folder = str(cluster.folder)
    nodes = {_inode(NAMESPACES / plan.network.namespace(number)) for number in range(1, plan.nodes + 1)}
    pods = {_network(pid) for pid in _pids() if f"{folder}/nodes/" in _told(pid, "cmdline")}  # each pod's keeper is in the pod's network
    networks = (nodes | pods) - {_network("self"), 0}
    inside = [processes.identify(int(pid)) for pid in _pids() if _network(pid) in networks]
    roots = tuple(root_of(name, cluster.folder / "nodes" / name) for name in plan.node_names)
    return Marks(folder, plan.network.bridge, _index(plan.network.bridge), roots, tuple(each for each in inside if each is not None))


def left(marks: Marks) -> list[str]:
    """In words; empty if there is nothing. The folder itself stays, with the data."""
    found = [f"process {pid}: {_told(pid, 'cmdline')[:200]}" for pid in _pids() if _belongs(pid, marks.folder)]
    found += [f"process {each.pid} of a node: {_told(str(each.pid), 'cmdline')[:200]}" for each in marks.inside if processes.alive(each)]
    found += [f"mount {line.split()[4]}" for line in _told("self", "mountinfo").splitlines() if f"{marks.folder}/" in line]
    found += [f"cgroup {each / root}" for each in (CGROUPS, *_entries(CGROUPS)) for root in marks.cgroups if (each / root).is_dir()]
    found += [f"socket {line.split()[-1]}" for line in _told("self", "net/unix").splitlines() if f"{marks.folder}/" in line]
    if _index(marks.bridge) in ("", marks.bridge_index):  # else another cluster has taken the number that was given back
        found += [f"network namespace {each.name}" for each in _entries(NAMESPACES) if each.name.startswith(f"{marks.bridge}-")]
        found += [
            f"network interface {each.name}" for each in _entries(LINKS) if each.name == marks.bridge or each.name.startswith(f"{marks.bridge}n")
        ]
    return found


def _belongs(pid: str, folder: str) -> bool:
    if pid == str(os.getpid()):
        return False
    if f"{folder}/" in _root(pid):
        return True
    return any(word == folder or f"{folder}/" in word for word in _told(pid, "cmdline").split("\0"))


def _root(pid: str) -> str:
    """What is mounted at the process's root: a container's layers lie in its cluster's folder."""
    return next((line for line in _told(pid, "mountinfo").splitlines() if line.split()[4] == "/"), "")


def _pids() -> list[str]:
    return [each.name for each in PROC.iterdir() if each.name.isdigit()]


def _told(pid: str, name: str) -> str:
    """Nothing of a process that ended meanwhile."""
    try:
        return (PROC / pid / name).read_text(errors="replace")
    except OSError:
        return ""


def _network(pid: str) -> int:
    return _inode(PROC / pid / "ns/net")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _index(link: str) -> str:
    """Numbers of interfaces are not given twice."""
    try:
        return (LINKS / link / "ifindex").read_text().strip()
    except OSError:
        return ""


def _entries(folder: Path) -> list[Path]:
    return [*folder.iterdir()] if folder.is_dir() else []
