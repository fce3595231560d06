"""When a call may be tried again: etcd's client rule (clientv3/retry.go).

A read may be repeated whenever a server was unavailable. A write may be repeated only when it cannot have reached a server: an error after it
was sent says nothing about whether it happened, and doing it twice is not what the caller asked for.
"""

from kvstore.client.errors import NotConnected, is_unavailable
from kvstore.errors import StoreError

BACKOFF_S = 0.025
"""Wait before the second round over all endpoints; doubled each round."""

BACKOFF_S_MAX = 1.0


def may_repeat(error: StoreError, *, is_read: bool) -> bool:
    return isinstance(error, NotConnected) or (is_read and is_unavailable(error))


def backoff_s(attempt: int, endpoints: int) -> float:
    """Seconds to wait before attempt number `attempt` (from 1); none while there are endpoints not yet asked."""
    rounds = attempt // endpoints
    return 0.0 if rounds == 0 else min(BACKOFF_S * 2 ** (rounds - 1), BACKOFF_S_MAX)
