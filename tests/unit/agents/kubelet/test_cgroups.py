"""Limits in the words of cgroup v1 and v2, on folders that look like them."""

from pathlib import Path

from agents.kubelet.runtime.base import Resources
from agents.kubelet.runtime.cgroups import Cgroups, root_of

LIMITS = Resources(cpu_shares=512, cpu_limit_milli=250, memory_limit_bytes=1 << 20, pids_limit=10)


class Knobs:
    """A file system in which the files that a kernel would offer are there once a folder is made."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder, self.names = folder, names

    def make(self, path: str) -> None:
        (self.folder / path).mkdir(parents=True)
        for name in self.names:
            (self.folder / path / name).touch()


def test_version_1_has_a_hierarchy_for_each_controller(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    lines = []
    for name, knobs in (
        ("memory", ("memory.limit_in_bytes",)),
        ("cpu", ("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us")),
        ("pids", ("pids.max",)),
    ):
        (tmp_path / name).mkdir()
        Knobs(tmp_path / name, *knobs).make("keelson/n/pod1/c1")
        lines.append(f"cgroup {tmp_path / name} cgroup rw,relatime,{name} 0 0")
    mounts.write_text("\n".join(lines))
    cgroups = Cgroups("keelson/n", str(mounts))
    assert len(cgroups.create("pod1/c1", LIMITS)) == 3

    def read(path: str) -> str:
        return (tmp_path / path).read_text()

    assert read("memory/keelson/n/pod1/c1/memory.limit_in_bytes") == str(1 << 20)
    assert read("cpu/keelson/n/pod1/c1/cpu.cfs_quota_us") == "25000" and read("cpu/keelson/n/pod1/c1/cpu.shares") == "512"
    assert read("pids/keelson/n/pod1/c1/pids.max") == "10"


def test_version_2_shares_one(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup2 {tmp_path} cgroup2 rw 0 0")
    Knobs(tmp_path, "memory.max", "cpu.max", "cpu.weight", "pids.max").make("n/c1")
    cgroups = Cgroups("n", str(mounts))
    assert cgroups.create("c1", LIMITS) == [str(tmp_path / "n" / "c1")]
    assert [(tmp_path / "n/c1" / name).read_text() for name in ("memory.max", "cpu.max", "cpu.weight")] == [str(1 << 20), "25000 100000", "20"]
    (tmp_path / "n/c1/memory.current").write_text("100")
    (tmp_path / "n/c1/memory.stat").write_text("anon 1\ninactive_file 30\n")
    (tmp_path / "n/c1/cpu.stat").write_text("usage_usec 7\n")
    usage = cgroups.usage("c1")
    assert (usage.cpu_ns, usage.memory_bytes, usage.working_set_bytes) == (7000, 100, 70)


def test_without_any_nothing_is_limited_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text("proc /proc proc rw 0 0")
    cgroups = Cgroups("n", str(tmp_path / "mounts"))
    assert not cgroups.available and cgroups.create("c1", LIMITS) == []
    assert not Cgroups(root_of("n", tmp_path, "none")).available


def test_what_was_made_is_removed_with_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(f"cgroup {tmp_path} cgroup rw,pids 0 0")
    cgroups = Cgroups("keelson/n", str(tmp_path / "mounts"))
    cgroups.create("pod1/c1", Resources())
    cgroups.create("pod1/c2", Resources())
    cgroups.remove("")
    assert not (tmp_path / "keelson" / "n").exists()
