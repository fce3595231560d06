"""What the shim has to do with cgroups: put a process in, and ask after its end whether the kernel killed for memory."""

import contextlib
import os
import signal


def join(folders: list[str]) -> None:
    """Put the calling process in: one folder per hierarchy. Where one refuses the process, limits do not hold, the container runs."""
    for folder in folders:
        with contextlib.suppress(OSError), open(f"{folder}/cgroup.procs", "w") as file:
            file.write("0")


def oom_kills(folders: list[str]) -> int:
    """How often the kernel has killed in this cgroup because its memory limit was reached (v2: memory.events, v1: memory.oom_control)."""
    for folder in folders:
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, ValueError), open(f"{folder}/{name}") as file:
                for line in file:
                    key, _, value = line.partition(" ")
                    if key == "oom_kill":
                        return int(value)
    return 0


def kill_all(folders: list[str]) -> None:
    """Whatever the container left behind (only where its processes have no process namespace of their own, which dies as a whole)."""
    for folder in folders[:1]:
        with contextlib.suppress(OSError, ValueError), open(f"{folder}/cgroup.procs") as file:
            for line in file:
                with contextlib.suppress(ProcessLookupError):  # it ended while we read
                    os.kill(int(line), signal.SIGKILL)
