"""What a lease promises: it lives at least its TTL from the last renewal that was acknowledged, and not for ever after it.

Times are true (virtual) seconds. Members count on clocks that may run fast or slow by `skew`, which is all that a lease may be off by.
"""

from msgspec import Struct

from keelson.drills.checkers.violation import Violation


class LeaseRecord(Struct):
    """`safe_until_s`: its owner may rely on it up to then: the call time of the last acknowledged grant or renewal, plus the TTL."""

    lease_id: int
    ttl_s: int
    safe_until_s: float
    revoke_asked: bool = False
    gone_s: float | None = None


class LeaseChecker:
    def __init__(self, skew: float) -> None:
        self._skew = skew
        self.leases: dict[int, LeaseRecord] = {}
        self._early: dict[int, float] = {}
        """Leases that ended before the answer to their grant arrived."""

    def on_granted(self, lease_id: int, ttl_s: int, called_s: float) -> None:
        """A grant was acknowledged."""
        self.leases[lease_id] = LeaseRecord(lease_id, ttl_s, called_s + self._least(ttl_s))
        if lease_id in self._early:
            self._check_end(self.leases[lease_id], self._early[lease_id])

    def on_renewed(self, lease_id: int, ttl_s: int, called_s: float) -> None:
        """A renewal called at `called_s` was acknowledged."""
        record = self.leases[lease_id]
        record.safe_until_s = max(record.safe_until_s, called_s + self._least(ttl_s))
        if record.gone_s is not None:
            self._check_end(record, record.gone_s)

    def on_revoke_asked(self, lease_id: int) -> None:
        """A client asked for its end; from now on it may go at any time."""
        self.leases[lease_id].revoke_asked = True

    def on_gone(self, lease_id: int, now_s: float) -> None:
        """Some member, the first, applied the lease's end."""
        record = self.leases.get(lease_id)
        if record is None:
            self._early.setdefault(lease_id, now_s)
        elif record.gone_s is None:
            record.gone_s = now_s
            self._check_end(record, now_s)

    def at_end(self, alive: dict[int, int], healed_s: float, now_s: float) -> None:
        """`alive`: id to TTL of the leases still there, long after everything was healed."""
        for lease_id, ttl_s in alive.items():
            record = self.leases.get(lease_id)
            last_s = max(healed_s, record.safe_until_s - self._least(ttl_s) if record else 0.0)
            if now_s > last_s + ttl_s * (1 + self._skew) + GRACE_S:
                raise Violation("lease ends", f"lease {lease_id} of {ttl_s} s still lives at {now_s:.3f}; last heard of before {last_s:.3f}")

    def _least(self, ttl_s: int) -> float:
        # A clock that runs at 1 + skew counts ttl_s in this many true seconds.
        return ttl_s / (1 + self._skew)

    @staticmethod
    def _check_end(record: LeaseRecord, gone_s: float) -> None:
        if gone_s < record.safe_until_s and not record.revoke_asked:
            raise Violation(
                "lease lives",
                f"lease {record.lease_id} of {record.ttl_s} s ended at {gone_s:.3f}; acknowledged until {record.safe_until_s:.3f}",
            )


GRACE_S = 12.0
"""From deadline to applied end: the scan (0.5 s), its retry (3 s), a change of leader (which extends all by an election timeout)."""
