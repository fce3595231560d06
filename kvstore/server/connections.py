"""The connections of this process, found among its descriptors: h2corn keeps its own to itself, and has no call that ends one."""

import os
import resource
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")
RESERVED = 1024
"""Descriptors that clients must leave for files, peers, threads and the rest."""
CONNECTIONS_MAX = 20_000


def to_ports(ports: Collection[int], client: tuple[str, int] | None = None) -> Iterator[socket.socket]:
    """Copies of the accepted connections to these ports of ours, or of the one that comes from `client`; to be closed by the caller."""
    for entry in DESCRIPTORS.iterdir():
        wire = _copy(int(entry.name))
        if wire is None:
            continue
        try:
            is_it = (
                wire.family in (socket.AF_INET, socket.AF_INET6)
                and wire.getsockname()[1] in ports
                and wire.getpeername()[:2] == (client or wire.getpeername()[:2])
            )
        except OSError:  # a listener, or gone meanwhile
            is_it = False
        if is_it:
            yield wire
        else:
            wire.close()


def _copy(descriptor: int) -> socket.socket | None:
    """It holds the connection: the number cannot become another's while we look. None if it is no socket."""
    try:
        copy = os.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir(DESCRIPTORS))  # noqa: PTH208 - only their number is wanted, and there may be thousands


def raise_limit() -> int:
    """Allow as many descriptors as the system lets us have, as Go's programs do; returns how many connections clients may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return min(CONNECTIONS_MAX, max(soft - RESERVED, soft // 2))
