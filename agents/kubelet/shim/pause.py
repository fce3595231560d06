"""The first process of a process namespace that all containers of a pod share: it adopts their orphans, and keeps the mount of its /proc.

The containers see it and may do to it what their rights allow. So it has nothing: an empty root of its own, a user that nobody is, no capabilities.
"""

import os
import signal
from typing import Any

from agents.kubelet.shim import kernel, process, spawning

NOBODY = 65535
NOTHING: dict[str, Any] = {"capabilities": [], "no_new_privs": True, "seccomp": ""}


def start(folder: str, own_namespace: int) -> int:
    """Its process. Raises Failed. `folder`: any; something is mounted there that nobody else sees."""

    def child(told: int) -> None:
        try:
            _leave(folder)
        except BaseException as error:
            os.write(told, spawning.FAILED + f"pause: {error}".encode()[:4000])
            os._exit(128)
        kernel.close_all_but([])
        while True:
            signal.pause()

    pid, _ = spawning.spawn(child, new_namespace=own_namespace)
    return pid


def _leave(folder: str) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    os.setsid()
    kernel.leave_keyring()
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_SLAVE)
    kernel.mount("tmpfs", folder, "tmpfs", kernel.MS_NODEV | kernel.MS_NOSUID | kernel.MS_NOEXEC, "size=4k,mode=755")
    os.mkdir(f"{folder}/proc")
    kernel.mount("proc", f"{folder}/proc", "proc", kernel.MS_NODEV | kernel.MS_NOSUID | kernel.MS_NOEXEC)
    os.chdir(folder)
    process.seal()
    kernel.pivot_root(".", ".")
    kernel.unmount(".", kernel.MNT_DETACH)
    os.chdir("/")
    process.become(NOTHING, NOBODY, NOBODY, [])
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
