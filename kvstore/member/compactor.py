"""Automatic compaction by etcd's rules (server/etcdserver/api/v3compactor): when, and to which revision. Time and revision come in.

A compactor samples on every member, so that a new leader goes on where the old one was; only the leader's says what to compact. The owner
asks `due` with every tick, proposes what it says, and tells the outcome with `finished`. What is never finished is asked again at
the next interval after `give_up_s`.
"""

from collections import deque
from typing import Protocol

from msgspec import Struct

from kvstore.ids import Revision

REVISION_INTERVAL_S = 300.0
"""How often mode "revision" looks (etcd's revInterval)."""

PERIOD_INTERVAL_MAX_S = 3600.0
"""A longer period than this compacts every hour all the same."""

SAMPLES_AN_INTERVAL = 10
"""etcd's retryDivisor."""


class AutoCompaction(Struct, frozen=True):
    """`period_s` is not 0: keep what changed within it; else keep the last `revisions`."""

    period_s: float = 0.0
    revisions: int = 0


class Compactor(Protocol):
    mode: str

    def due(self, now_s: float, revision: Revision, leading: bool) -> Revision | None:
        """The revision to compact to now, if any."""
        ...

    def finished(self, now_s: float, revision: Revision, succeeded: bool) -> None:
        """What `due` asked for was done (or had been done before), or refused."""
        ...


class PeriodicCompactor:
    """Samples the revision ten times an interval, the interval being the period or an hour; after a whole period at first, and then with every
    interval, compacts to the oldest sample, which is from a period ago or, later, a tenth of an interval longer."""

    mode = "periodic"

    def __init__(self, period_s: float, now_s: float, give_up_s: float) -> None:
        period_ns = round(period_s * 1e9)
        interval_ns = min(period_ns, round(PERIOD_INTERVAL_MAX_S * 1e9))
        sample_ns = max(1, interval_ns // SAMPLES_AN_INTERVAL)
        self._interval_s = interval_ns / 1e9
        self._sample_s = sample_ns / 1e9
        self._wait_s = period_s
        """How long after the last success the next compaction comes: the whole period at first."""
        self._samples: deque[Revision] = deque(maxlen=period_ns // sample_ns + 1)
        self._next_at_s = now_s
        self._last_success_s = now_s
        self._last_revision = Revision(0)
        self._give_up_s = give_up_s
        self._asked_until_s = float("-inf")

    def due(self, now_s: float, revision: Revision, leading: bool) -> Revision | None:
        if now_s < self._next_at_s:
            return None
        wanted = self._wanted(now_s) if leading and self._samples else None
        self._samples.append(revision)
        self._next_at_s = now_s + self._sample_s
        return wanted

    def _wanted(self, now_s: float) -> Revision | None:
        oldest = self._samples[0]
        if now_s < self._asked_until_s or oldest == self._last_revision or not _reached(now_s - self._last_success_s, self._wait_s):
            return None
        self._wait_s = self._interval_s
        self._asked_until_s = now_s + self._give_up_s
        return oldest

    def finished(self, now_s: float, revision: Revision, succeeded: bool) -> None:
        self._asked_until_s = float("-inf")
        if succeeded:
            self._last_revision = revision
            self._last_success_s = now_s


class RevisionCompactor:
    """Every five minutes, compacts to the present revision less the number to keep."""

    mode = "revision"

    def __init__(self, revisions: int, now_s: float, give_up_s: float) -> None:
        self._keep = revisions
        self._next_at_s = now_s + REVISION_INTERVAL_S
        self._last_revision = Revision(0)
        self._give_up_s = give_up_s
        self._asked_until_s = float("-inf")

    def due(self, now_s: float, revision: Revision, leading: bool) -> Revision | None:
        if now_s < self._next_at_s:
            return None
        self._next_at_s = now_s + REVISION_INTERVAL_S
        wanted = Revision(revision - self._keep)
        if not leading or wanted <= 0 or wanted == self._last_revision or now_s < self._asked_until_s:
            return None
        self._asked_until_s = now_s + self._give_up_s
        return wanted

    def finished(self, now_s: float, revision: Revision, succeeded: bool) -> None:
        self._asked_until_s = float("-inf")
        if succeeded:
            self._last_revision = revision


def make_compactor(wanted: AutoCompaction, now_s: float, give_up_s: float) -> Compactor | None:
    """None: off."""
    if wanted.period_s > 0:
        return PeriodicCompactor(wanted.period_s, now_s, give_up_s)
    if wanted.revisions > 0:
        return RevisionCompactor(wanted.revisions, now_s, give_up_s)
    return None


def _reached(elapsed_s: float, wait_s: float) -> bool:
    """Sums of tick times are a little off."""
    return elapsed_s >= wait_s - 1e-6
