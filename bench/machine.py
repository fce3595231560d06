"""What a figure was measured on: without it the figure means nothing."""

import contextlib
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

SYNCS = 200


class Machine(Struct, frozen=True):
    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    file_system: str
    sync_ms: float
    """Median of appending 4 KiB to a file and fdatasync, on the file system that holds the members' data."""
    load_before: float
    """Load average of the last minute when the measurement began: far above zero, somebody else was at work."""
    commit: str


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def file_system(folder: Path) -> str:
    """Type of the file system that holds `folder`."""
    place, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, its_kind, *_ = line.split()
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(place):
            place, kind = mount, its_kind
    return kind


def sync_ms(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def commit() -> str:
    """The commit that is measured, with a mark if the tree differs from it."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def describe(folder: Path) -> Machine:
    """This machine, with members' data in `folder`."""
    return Machine(
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        file_system=file_system(folder),
        sync_ms=sync_ms(folder),
        load_before=os.getloadavg()[0],
        commit=commit(),
    )


def cpu_s(process: int) -> float:
    """Processor time that a process has used, all its threads together."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_threads(process: int) -> dict[int, float]:
    """The same by thread, of those that are there now."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            # Nanoseconds on a processor come first; unlike the ticks in "stat" they miss nothing of a thread that works for a moment at a time.
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


def cpu_of(processes: Sequence[int]) -> list[float]:
    """The same of several, in their order."""
    return [cpu_s(process) for process in processes]


def resident_bytes(process: int, *, anonymous_only: bool = False) -> int:
    """Memory that a process holds. Pages of mapped files that happen to be in the page cache count, too, unless `anonymous_only`."""
    name = "RssAnon:" if anonymous_only else "VmRSS:"
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def disk_bytes(folder: Path) -> int:
    """What the files under `folder` take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
