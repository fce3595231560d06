"""Is a port free, and if not, who listens on it."""

import contextlib
import errno
import socket

from keelson.launcher.cluster import HOST
from keelson.launcher.processes import PROC

LISTEN = "0A"  # the state's number in /proc/net/tcp


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now. Raises PermissionError for one that this user may not have."""
    with socket.socket() as probe:
        # As servers do: connections of a server that just ended, still lingering in TIME_WAIT, are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        return True


def holder(port: int) -> str | None:
    """ "etcd (process 1234)", if this user may know."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or not sockets:
            continue
        with contextlib.suppress(OSError):
            if any(str(handle.readlink()) in sockets for handle in (entry / "fd").iterdir()):
                return f"{(entry / 'comm').read_text().strip()} (process {entry.name})"
    return None


def _listening(port: int) -> list[str]:
    """Inodes of the sockets that listen on `port`, on any address."""
    inodes = []
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.append(columns[9])
    return inodes
