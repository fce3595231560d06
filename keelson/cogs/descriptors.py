"""How many file descriptors this process may have."""

import resource

UNLIMITED = 1 << 20


def raise_limit() -> int:
    """Allow as many as the system lets us have, here and in what this process starts, as Go's programs do; returns how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft
