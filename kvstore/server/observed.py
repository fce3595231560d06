"""What the shell measures for the metrics: filled where it happens, read by the collectors. Durations in seconds, sizes in bytes.

The pure rooms have no clock: what they do is timed from outside (`Applying`, `Compacting`), what they count themselves are plain numbers of theirs.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from keelson.cogs.logs import duration, fields
from keelson.cogs.metrics import Histogram, exponential
from kvstore.errors import StoreError
from kvstore.ids import Index, MemberId, Term
from kvstore.model import AlarmChange, Compact, LeaseGrant, PublishMember
from kvstore.statemachine.commands import Command, Envelope
from kvstore.statemachine.machine import Machine

log = logging.getLogger("kvstore.server")

DISK = exponential(0.001, 2, 14)
APPLY = exponential(0.0001, 2, 20)
HASH = exponential(0.01, 2, 15)
EXPORT = exponential(0.01, 2, 17)
DEFRAGMENT = exponential(0.1, 2, 13)
WHOLE_STATE = exponential(0.1, 2, 10)
ROUND_TRIP = exponential(0.0001, 2, 16)
LEASE_TTL = exponential(1, 2, 24)
COMPACTION_PAUSE_MS = exponential(1, 2, 13)
COMPACTION_TOTAL_MS = exponential(100, 2, 14)
LOOP_LAG = exponential(0.0005, 2, 14)

_OPERATIONS: dict[type[Any], str] = {Compact: "Compaction", AlarmChange: "Alarm", PublishMember: "ClusterMemberAttrSet"}
"""etcd's names of operations where they differ from ours."""


def operation_of(kind: type[Any]) -> str:
    return _OPERATIONS.get(kind, kind.__name__)


class Observed:
    def __init__(self) -> None:
        self.log_synced = Histogram(DISK)
        self.log_written_bytes = 0
        self.state_committed = Histogram(DISK)
        self.state_exported = Histogram(EXPORT)
        self.state_installed = Histogram(WHOLE_STATE)
        self.defragmented = Histogram(DEFRAGMENT)
        self.defragmenting = False
        self.hashed = Histogram(HASH)
        self.hashed_revision = Histogram(HASH)
        self.applied: dict[tuple[type[Any], bool], Histogram] = {}
        """By kind of command, and whether it was granted."""
        self.slow_applies = 0
        self.lease_ttl = Histogram(LEASE_TTL)
        self.compaction_pause_ms = Histogram(COMPACTION_PAUSE_MS)
        self.compaction_total_ms = Histogram(COMPACTION_TOTAL_MS)
        self.compacted_at_s = 0.0
        """When the last compaction was done, as Unix time; 0: never."""
        self.heartbeats_late = 0
        self.loop_lag = Histogram(LOOP_LAG)
        """How much later than planned each tick came: what everything else on the event loop waits, too."""
        self.snapshots_sent: dict[MemberId, int] = {}
        self.snapshots_failed: dict[MemberId, int] = {}
        self.snapshot_send: dict[MemberId, Histogram] = {}
        self.snapshots_received: dict[MemberId, int] = {}
        self.snapshots_refused: dict[MemberId, int] = {}
        self.snapshot_receive: dict[MemberId, Histogram] = {}

    def snapshot_sent(self, to: MemberId, took_s: float | None) -> None:
        """None: it failed."""
        _note_snapshot(to, took_s, self.snapshots_sent, self.snapshots_failed, self.snapshot_send)

    def snapshot_received(self, sender: MemberId, took_s: float | None) -> None:
        """None: it was refused."""
        _note_snapshot(sender, took_s, self.snapshots_received, self.snapshots_refused, self.snapshot_receive)


def _note_snapshot(
    peer: MemberId, took_s: float | None, done: dict[MemberId, int], failed: dict[MemberId, int], durations: dict[MemberId, Histogram]
) -> None:
    counts = failed if took_s is None else done
    counts[peer] = counts.get(peer, 0) + 1
    if took_s is not None:
        durations.setdefault(peer, Histogram(WHOLE_STATE)).observe(took_s)


_LOOKED_AT = frozenset({LeaseGrant, AlarmChange})

WarnSlow = Callable[[Command, Any, float], None]


class Applying:
    """`Machine.apply` with a clock: 0.3 us more an entry. Who applies slowly is told to `warn` with command, outcome and seconds."""

    def __init__(self, observed: Observed, slow_s: float, warn: WarnSlow, alarm_changed: Callable[[AlarmChange], None]) -> None:
        self._alarm_changed = alarm_changed
        self._observed = observed
        self._slow_s = slow_s
        self._warn = warn

    def __call__(self, machine: Machine, index: Index, term: Term, envelope: Envelope) -> Any:
        command = envelope.command
        began = time.perf_counter()
        outcome = machine.apply(index, term, command, envelope.user, envelope.auth_revision)
        took_s = time.perf_counter() - began
        kind = (type(command), not isinstance(outcome, StoreError))
        histogram = self._observed.applied.get(kind)
        if histogram is None:
            histogram = self._observed.applied[kind] = Histogram(APPLY)
        histogram.observe(took_s)
        if kind[0] in _LOOKED_AT and kind[1]:
            if kind[0] is LeaseGrant:
                self._observed.lease_ttl.observe(outcome.ttl_s)
            elif outcome.alarms:
                self._alarm_changed(command)  # type: ignore[arg-type]
        if took_s > self._slow_s:
            self._observed.slow_applies += 1
            self._warn(command, outcome, took_s)
        return outcome


class Compacting:
    """`Machine.compaction_step` with a clock."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._began_s: float | None = None

    def __call__(self, machine: Machine, versions_max: int) -> bool:
        began_s = time.perf_counter()
        if self._began_s is None:
            self._began_s = began_s
        more = machine.compaction_step(versions_max)
        now_s = time.perf_counter()
        self._observed.compaction_pause_ms.observe((now_s - began_s) * 1000)
        if not more:
            self._observed.compaction_total_ms.observe((now_s - self._began_s) * 1000)
            self._observed.compacted_at_s = time.time()
            told = fields(compact_revision=machine.compacted_revision, took=duration(now_s - self._began_s))
            log.info("finished scheduled compaction", extra=told)
            self._began_s = None
        return more
