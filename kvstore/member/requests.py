"""What a member is asked that is not a request of `kvstore.model`: reads about leases and members, which wait for a read index like any other."""

from typing import Any

from kvstore.accounts import Who
from kvstore.model import Record


class Guarded(Record, frozen=True):
    """A read, and who asks for it: looked at when it is read (`gate.Gate`)."""

    request: Any
    who: Who


class RenewLease(Record, frozen=True, gc=False):
    """Give the lease its whole TTL again; the answer is the TTL in seconds, 0 if there is no such lease."""

    id: int


class LeaseTime(Record, frozen=True, gc=False):
    """How long the lease still has; the answer is a `LeaseTimeToLive`."""

    id: int
    keys: bool


class AskLease(Record, frozen=True, gc=False):
    """A client's question about a lease, before it goes to the leader: may he ask it?"""

    question: RenewLease | LeaseTime


class LeaseWithKeys(Record, frozen=True, gc=False):
    """The leader told the times; the attached keys come from our own state."""

    id: int
    ttl_s: int
    granted_ttl_s: int


class HashAt(Record, frozen=True, gc=False):
    """HashKV at a revision (0: the current one); checked against the state, computed elsewhere."""

    revision: int


class ListLeases(Record, frozen=True, gc=False):
    """All leases as this member's state knows them."""


class ListMembers(Record, frozen=True, gc=False):
    """All members as this member's state knows them."""


class Barrier(Record, frozen=True, gc=False):
    """Nothing to read: the answer None says that a quorum answered and this member's state is up to date."""
