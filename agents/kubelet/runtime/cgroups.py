"""Limits on processes where the kernel offers them: cgroup v1, v2, a mix of both, or none at all (then nothing is limited, and nothing measured).

One folder per container and controller: `<hierarchy>/<root>/<pod>/<container>`. On v1 each controller has its hierarchy; on v2 all share one.
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path

from agents.kubelet.runtime.base import Resources, Usage

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")
PERIOD_US = 100_000
MIN_QUOTA_US, MIN_SHARES = 1000, 2


def root_of(node_name: str, folder: Path, given: str = "") -> str:
    """Nodes that share a machine must not share limits: a node's part is named after the node and its folder, unless it is `given`. `none`: none."""
    if given == "none":
        return ""
    return given or f"keelson/{node_name}-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]}"


class Cgroups:
    """`root` is this node's part: nodes that share a machine have different ones. An empty `root` means: none."""

    def __init__(self, root: str, mounts: str = "/proc/self/mounts") -> None:
        self.root = root.strip("/")
        self.v1: dict[str, Path] = {}
        self.v2: Path | None = None
        if self.root:
            self._find(Path(mounts).read_text())

    def _find(self, mounts: str) -> None:
        for line in mounts.splitlines():
            _, target, kind, options, *_ = line.split(" ")
            if kind == "cgroup":
                self.v1.update({name: Path(target) for name in CONTROLLERS if name in options.split(",") and os.access(target, os.W_OK)})
            elif kind == "cgroup2" and os.access(target, os.W_OK):
                offered = (Path(target) / "cgroup.controllers").read_text().split()
                if {"memory", "cpu", "pids"} & set(offered):
                    self.v2 = Path(target)

    @property
    def available(self) -> bool:
        return bool(self.v1 or self.v2)

    def create(self, path: str, limits: Resources) -> list[str]:
        """The folders a process of it must join. A limit that the kernel refuses is an OSError."""
        if self.v2 is not None:
            return [self._create_v2(self.v2, path, limits)]
        folders = {}
        for name, mounted in self.v1.items():
            folder = mounted / self.root / path
            folder.mkdir(parents=True, exist_ok=True)
            folders[name] = folder
        _write_v1(folders, limits)
        return list(dict.fromkeys(str(folder) for folder in folders.values()))

    def _create_v2(self, mounted: Path, path: str, limits: Resources) -> str:
        folder = mounted
        for part in (*self.root.split("/"), *path.split("/")):
            with contextlib.suppress(OSError):  # a controller that is not there, or a root with processes of its own
                for name in ("cpu", "memory", "pids"):
                    (folder / "cgroup.subtree_control").write_text(f"+{name}")
            folder = folder / part
            folder.mkdir(exist_ok=True)
        if limits.memory_limit_bytes:
            _put(folder / "memory.max", limits.memory_limit_bytes)
            with contextlib.suppress(OSError):
                (folder / "memory.oom.group").write_text("1")
        if limits.cpu_limit_milli:
            _put(folder / "cpu.max", f"{_quota(limits)} {PERIOD_US}")
        if limits.cpu_shares:
            # The formula of the kubelet: 2..262144 shares to 1..10000 weight.
            _put(folder / "cpu.weight", 1 + ((max(limits.cpu_shares, MIN_SHARES) - 2) * 9999) // 262142)
        if limits.pids_limit:
            _put(folder / "pids.max", limits.pids_limit)
        return str(folder)

    def folders(self, path: str) -> list[Path]:
        if self.v2 is not None:
            return [self.v2 / self.root / path]
        return list(dict.fromkeys(mounted / self.root / path for mounted in self.v1.values()))

    def remove(self, path: str) -> None:
        """With what is below it. Processes that are still there keep it."""
        for folder in self.folders(path):
            _remove(folder)

    def usage(self, path: str) -> Usage:
        at_ns = time.time_ns()
        if self.v2 is not None:
            folder = self.v2 / self.root / path
            used = _number(folder / "memory.current")
            cpu = _stat(folder / "cpu.stat").get("usage_usec")
            idle = _stat(folder / "memory.stat").get("inactive_file", 0)
            return Usage(at_ns, None if cpu is None else cpu * 1000, used, None if used is None else max(used - idle, 0))
        memory = self.v1.get("memory")
        used = _number(memory / self.root / path / "memory.usage_in_bytes") if memory else None
        idle = _stat(memory / self.root / path / "memory.stat").get("total_inactive_file", 0) if memory else 0
        counted = self.v1.get("cpuacct")
        cpu = _number(counted / self.root / path / "cpuacct.usage") if counted else None
        return Usage(at_ns, cpu, used, None if used is None else max(used - idle, 0))


def _write_v1(folders: dict[str, Path], limits: Resources) -> None:
    memory, cpu, pids = folders.get("memory"), folders.get("cpu"), folders.get("pids")
    if memory and limits.memory_limit_bytes:
        _put(memory / "memory.limit_in_bytes", limits.memory_limit_bytes)
        with contextlib.suppress(OSError):  # counts swap, too, where the kernel does
            _put(memory / "memory.memsw.limit_in_bytes", limits.memory_limit_bytes)
    if cpu and limits.cpu_shares:
        _put(cpu / "cpu.shares", max(limits.cpu_shares, MIN_SHARES))
    if cpu and limits.cpu_limit_milli:
        _put(cpu / "cpu.cfs_period_us", PERIOD_US)
        _put(cpu / "cpu.cfs_quota_us", _quota(limits))
    if pids and limits.pids_limit:
        _put(pids / "pids.max", limits.pids_limit)


def _quota(limits: Resources) -> int:
    return max(limits.cpu_limit_milli * PERIOD_US // 1000, MIN_QUOTA_US)


def _put(path: Path, value: int | str) -> None:
    """Where the controller has no such knob (v1 without bandwidth control), the limit does not hold."""
    with contextlib.suppress(FileNotFoundError):
        path.write_text(str(value))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _stat(path: Path) -> dict[str, int]:
    try:
        pairs = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            if each.is_dir():
                _remove(each)
        folder.rmdir()
