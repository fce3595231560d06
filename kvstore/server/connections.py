"""How many connections this process may have."""

import resource

RESERVED = 1024
"""Descriptors that clients must leave for files, peers, threads and the rest."""
CONNECTIONS_MAX = 20_000


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
