"""What can be seen of files and mounts from outside: whether a file is another one now, and what is mounted where."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

Signature = tuple[tuple[int, int, int, int] | None, ...]

MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(rb"\\([0-7]{3})")


def signature(paths: Sequence[str]) -> Signature:
    """Another one when a file's content is another: also when a link to it is turned, as Kubernetes does with mounted secrets."""
    found: list[tuple[int, int, int, int] | None] = []
    for path in paths:
        try:
            seen = Path(path).stat()
        except OSError:
            found.append(None)
        else:
            found.append((seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_size))
    return tuple(found)


def mounts(place: Path) -> list[str]:
    """Where something is mounted at or under `place`, the innermost first. In the kernel's list blanks and the like are octal numbers (proc(5))."""
    points = [os.fsdecode(_OCTAL.sub(lambda octal: bytes([int(octal[1], 8)]), line.split(b" ")[1])) for line in MOUNTS.read_bytes().splitlines()]
    return sorted((point for point in points if f"{point}/".startswith(f"{place}/")), key=len, reverse=True)
