"""How much a folder takes of its disk."""

import contextlib
import os
import stat
from pathlib import Path

ENTRIES_MAX = 2_000_000
"""What has more is counted to here: who could make so many can be told from who stays within a limit."""


def used_bytes(folder: Path) -> int:
    """Blocks of all that is in it and on the same disk; a file with several names counts once. 0 for what is not there. What changes meanwhile is
    counted as it was seen."""
    try:
        found = folder.lstat()
    except OSError:
        return 0
    device, total, seen = found.st_dev, found.st_blocks * 512, set[int]()
    folders, entries = [str(folder)], 0
    while folders and entries < ENTRIES_MAX:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as listing:
            for entry in listing:
                entries += 1
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_dev != device or (found.st_nlink > 1 and found.st_ino in seen):
                        continue
                    if stat.S_ISDIR(found.st_mode):
                        folders.append(entry.path)
                    elif found.st_nlink > 1:
                        seen.add(found.st_ino)
                    total += found.st_blocks * 512
    return total
