"""Free loopback ports, each held by a lock file as long as this process lives, so that drills and tests side by side never share one.

They come from below the kernel's ephemeral range: a port that a server gives up for a restart cannot be taken meanwhile by somebody's
outgoing connection. The ports that `make up` takes by default are left to it.
"""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

LOWEST, HIGHEST = 15_000, 31_999
TAKEN_BY_UP = frozenset({22_379, 22_380})

_held: dict[int, int] = {}


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on and that no other drill or test will choose."""
    folder = Path(tempfile.gettempdir()) / f"keelson-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in random.sample(range(LOWEST, HIGHEST + 1), 500):
        if port in _held or port in TAKEN_BY_UP:
            continue
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _held[port] = lock
        return port
    raise RuntimeError(f"no free port between {LOWEST} and {HIGHEST}")


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]
