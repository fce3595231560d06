"""How many connections this process may have."""

from keelson.cogs import descriptors

RESERVED = 1024
"""Descriptors that clients must leave for files, peers, threads and the rest."""
CONNECTIONS_MAX = 20_000


def raise_limit() -> int:
    """How many connections clients may have, with all the descriptors that the system lets us have."""
    allowed = descriptors.raise_limit()
    return min(CONNECTIONS_MAX, max(allowed - RESERVED, allowed // 2))
