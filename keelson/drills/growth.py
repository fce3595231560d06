"""Does something grow without bound? Memory and files of each member over a long run."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct

from keelson.drills.fault import Verdict

JUDGED_AFTER_S = 900.0
"""A shorter run says too little about growth: caches fill, allocators take what they keep."""
SHARE_MAX, SLACK_BYTES = 1.25, 24 << 20
"""The last third of a run may be so much larger than the one before it."""


class Size(Struct, frozen=True):
    """Of one member at one time, from the beginning of the run. `in_use_bytes`: what of the state's file is not free."""

    at_s: float
    member: str
    memory_bytes: int
    files_bytes: int
    in_use_bytes: int


def memory_bytes(pid: int) -> int:
    """What the process has in memory (VmRSS of proc(5)); 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def files_bytes(folder: Path) -> int:
    """What its files take of the disk."""
    total = 0
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            total += 512 * status.st_blocks
    return total


def slope_per_hour(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that fits best; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_at = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    return 3600 * sum((at - mean_at) * (value - mean) for at, value in points) / spread if spread else 0.0


def judge(sizes: Sequence[Size], length_s: float) -> list[Verdict]:
    """One verdict for memory and one for files, over all members."""
    verdicts = []
    for promise, of in (("memory stays bounded", _memory), ("files stay bounded", _files)):
        details, kept = [], True
        for member in sorted({size.member for size in sizes}):
            own = [(size.at_s, float(of(size))) for size in sizes if size.member == member and of(size)]
            middle = [value for at_s, value in own if length_s / 3 <= at_s < 2 * length_s / 3]
            last = [value for at_s, value in own if at_s >= 2 * length_s / 3]
            if not middle or not last:
                continue
            trend = slope_per_hour([point for point in own if point[0] >= length_s / 3])
            details.append(f"{member} {median(middle) / 1e6:.0f} MB, then {median(last) / 1e6:.0f} MB ({trend / 1e6:+.0f} MB/h)")
            kept = kept and median(last) <= SHARE_MAX * median(middle) + SLACK_BYTES
        judged = length_s >= JUDGED_AFTER_S
        text = ", ".join(details) + ("" if judged else "; too short a run to judge by")
        verdicts.append(Verdict(promise, kept or not judged, text))
    return verdicts


def _memory(size: Size) -> int:
    return size.memory_bytes


def _files(size: Size) -> int:
    return size.files_bytes
