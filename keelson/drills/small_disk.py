"""A disk that can be filled: a tmpfs of its own for one folder (root), or a limit on the size of a process's files (anybody).

The file system answers ENOSPC once it is full, the limit EFBIG to every write past it.
"""

import errno
import os
import resource
import shutil
import subprocess
from pathlib import Path

BLOCK = bytes(1 << 20)


class NoSmallDisk(Exception):
    """It cannot be mounted here; the text says why."""


class SmallDisk:
    """Mounted on `folder`, which must be empty."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        """Raises NoSmallDisk."""
        self.folder = folder
        self._ballast = folder / "ballast"
        folder.mkdir(parents=True, exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        made = subprocess.run(words, capture_output=True, text=True, check=False)
        if made.returncode:
            raise NoSmallDisk(f"needs to mount a small file system (root): {made.stderr.strip()}")

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all that is left of it but `leave_bytes`."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(BLOCK[:size]) == size:
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error
            file.truncate(max(0, file.tell() - leave_bytes))

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def may_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None


def limit_files(pid: int, size_bytes: int) -> None:
    """No write of the running process `pid` may go further into a file than this."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, hard))


def unlimit_files(pid: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
