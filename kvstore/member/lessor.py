"""The leader's view of lease time: deadlines, renewals, and which leases to revoke now.

Only the leader counts time, and only on its own clock; that a lease ended is a fact of the log (a LeaseRevoke entry). A new leader gives
every lease its whole TTL again plus an election timeout, so a change of leader makes a lease live longer and never shorter.

The heap holds one entry a lease, with a time at or before its deadline: renewing moves only the deadline, and an entry that comes up
early goes back in with the true one. So ten thousand keep-alives cost ten thousand dict writes and no heap work.
"""

import heapq
from collections.abc import Mapping

SCAN_INTERVAL_S = 0.5
REVOKES_PER_SCAN_MAX = 500
REVOKE_RETRY_S = 3.0
STALE_ENTRIES_MAX = 1000
"""Heap entries beyond one a lease before the heap is made anew: those of leases that were revoked long before their time."""


class Lessor:
    def __init__(self) -> None:
        self._deadline_s: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        self._next_scan_s = 0.0
        self.renewals = self.expirations = 0
        """Counted for the metrics; an expiration each time that a revocation is asked for, as etcd counts them."""
        self.active = False
        """True while this member is leader."""

    def promote(self, leases: Mapping[int, int], now_s: float, extension_s: float) -> None:
        """Become the one who counts: `leases` maps id to granted TTL."""
        self.active = True
        self._deadline_s = {lease_id: now_s + ttl_s + extension_s for lease_id, ttl_s in leases.items()}
        self._rebuild()

    def demote(self) -> None:
        self.active = False
        self._deadline_s.clear()
        self._heap.clear()

    def granted(self, lease_id: int, ttl_s: float, now_s: float) -> None:
        self._deadline_s[lease_id] = now_s + ttl_s
        if len(self._heap) > 2 * len(self._deadline_s) + STALE_ENTRIES_MAX:
            self._rebuild()
        else:
            heapq.heappush(self._heap, (now_s + ttl_s, lease_id))

    def _rebuild(self) -> None:
        self._heap = [(deadline_s, lease_id) for lease_id, deadline_s in self._deadline_s.items()]
        heapq.heapify(self._heap)

    def revoked(self, lease_id: int) -> None:
        # Its heap entry goes when it comes up.
        self._deadline_s.pop(lease_id, None)

    def renew(self, lease_id: int, ttl_s: float, now_s: float) -> bool:
        """Give the lease its whole TTL again; False if it has expired or is unknown."""
        deadline_s = self._deadline_s.get(lease_id)
        if deadline_s is None or deadline_s <= now_s:
            return False
        self._deadline_s[lease_id] = now_s + ttl_s
        self.renewals += 1
        return True

    def remaining_s(self, lease_id: int, now_s: float) -> float | None:
        """Seconds left (not below 0); None if unknown here."""
        deadline_s = self._deadline_s.get(lease_id)
        return None if deadline_s is None else max(0.0, deadline_s - now_s)

    def expired(self, now_s: float) -> list[int]:
        """Leases to revoke now, at most REVOKES_PER_SCAN_MAX, at most every SCAN_INTERVAL_S; each comes again after REVOKE_RETRY_S."""
        if now_s < self._next_scan_s:
            return []
        self._next_scan_s = now_s + SCAN_INTERVAL_S
        due: list[int] = []
        heap = self._heap
        while heap and heap[0][0] <= now_s and len(due) < REVOKES_PER_SCAN_MAX:
            _, lease_id = heapq.heappop(heap)
            deadline_s = self._deadline_s.get(lease_id)
            if deadline_s is None:
                continue
            if deadline_s > now_s:
                heapq.heappush(heap, (deadline_s, lease_id))
                continue
            due.append(lease_id)
            heapq.heappush(heap, (now_s + REVOKE_RETRY_S, lease_id))
        self.expirations += len(due)
        return due
