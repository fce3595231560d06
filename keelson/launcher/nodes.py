"""What nodes leave behind when their agents end: pods run on without them, by design. `clear` ends those, too, when the whole cluster goes down.

Everything of a node is found by the node's folder, not by anybody's records: the shims of its pods, which name it on their command line, processes in
the node's network namespace, all descendants of both, and mounts inside of it. Who only reads a file of it is nobody's.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from agents.kubelet.runtime import shims
from agents.kubelet.runtime.cgroups import Cgroups, root_of
from keelson.cogs.files import mounts
from keelson.launcher import network as networks
from keelson.launcher import processes
from keelson.launcher.control_plane import ControlPlane
from keelson.launcher.processes import PROC, Identity

GRACE_S = 10.0
MNT_DETACH = 2


def clear(folder: Path, plan: ControlPlane) -> None:
    """End every pod's processes, undo every mount, take the machines' network away. Harmless if there is nothing, and to a cluster that has our
    number by now."""
    place = folder / "nodes"
    mark = networks.mark_of(folder)
    found = _processes(place, plan, range(1, plan.nodes + 1) if networks.owner(plan.network) in (mark, None) else ())
    for identity in found:
        processes.send(identity, signal.SIGKILL)
    processes.wait_gone(found, GRACE_S)
    for mount in mounts(place):
        # Lazily: a process that is on its way out may still hold it.
        ctypes.CDLL(None).umount2(os.fsencode(mount), MNT_DETACH)
    for name in plan.node_names:
        cgroups = Cgroups(root_of(name, place / name))
        cgroups.remove("")
        for folder in cgroups.folders(""):
            with contextlib.suppress(OSError):  # what all clusters have in common goes with the last of them
                folder.parent.rmdir()
    networks.remove(mark, plan.network)


def kill_all(folder: Path, plan: ControlPlane, node: int) -> None:
    """Every process of one node, at once. Its agents are started again by their supervisor."""
    for identity in _processes(folder / "nodes" / f"node{node}", plan, [node]):
        processes.send(identity, signal.SIGKILL)


def _processes(place: Path, plan: ControlPlane, numbers: Iterable[int]) -> list[Identity]:
    shim, folder = os.fsencode(shims.MODULE), os.fsencode(f"{place}/")
    namespaces = set()
    for number in numbers:
        with contextlib.suppress(OSError):
            namespaces.add((networks.NAMESPACES / plan.network.namespace(number)).stat().st_ino)
    parents: dict[int, int] = {}
    roots: set[int] = set()
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        with contextlib.suppress(OSError):  # it ended meanwhile
            parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes()
            if (shim in words and folder in words) or (entry / "ns/net").stat().st_ino in namespaces:
                roots.add(pid)
    asking = os.getpid()
    while asking:  # we, and whoever has started us, perhaps from within a node
        roots.discard(asking)
        asking = parents.get(asking, 0)
    found = [pid for pid in parents if _descends(pid, roots, parents)]
    return [identity for pid in found if (identity := processes.identify(pid)) is not None]


def _descends(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid in roots:
            return True
        pid = parents.get(pid, 0)
    return False
