"""What is timed from outside: applying, compaction, ticks."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.errors import LeaseExists
from kvstore.ids import Index, MemberId, RequestId, Term
from kvstore.model import AlarmAction, AlarmChange, AlarmResult, AlarmType, LeaseGrant, LeaseGrantResult, Put, PutResult
from kvstore.server.loop import Runner
from kvstore.server.observed import Applying, Compacting, Observed
from kvstore.statemachine.commands import Envelope


class FakeMachine:
    compacted_revision = 7

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)

    def apply(self, index: int, term: int, command: Any, *more: Any) -> Any:
        return self.outcomes.pop(0)

    def compaction_step(self, versions_max: int) -> bool:
        return bool(self.outcomes.pop(0))


def test_applying_is_counted_by_kind_and_success() -> None:
    observed, warned, alarms = Observed(), [], []
    applying = Applying(observed, 100.0, lambda *told: warned.append(told), alarms.append)
    raised = AlarmChange(AlarmAction.ACTIVATE, 5, AlarmType.NOSPACE)
    commands = [Put(b"a", b"1"), LeaseGrant(1, 60), LeaseGrant(1, 60), raised, raised]
    machine = FakeMachine(
        PutResult(2), LeaseGrantResult(2, 1, 60), LeaseExists(), AlarmResult(2, [cast(Any, "raised")]), AlarmResult(2, []), PutResult(3)
    )
    for command in commands:
        applying(cast(Any, machine), Index(1), Term(1), Envelope(1, RequestId(1), command))
    counts = {(kind.__name__, granted): sum(histogram.counts) for (kind, granted), histogram in observed.applied.items()}
    assert counts == {("Put", True): 1, ("LeaseGrant", True): 1, ("LeaseGrant", False): 1, ("AlarmChange", True): 2}
    assert observed.lease_ttl.total == 60, "of those that were granted"
    assert alarms == [raised], "raised again is no change"
    assert not warned
    Applying(observed, 0.0, lambda *told: warned.append(told), alarms.append)(
        cast(Any, machine), Index(1), Term(1), Envelope(1, RequestId(1), commands[0])
    )
    assert observed.slow_applies == len(warned) == 1
    assert warned[0][0] is commands[0]


def test_a_compaction_lasts_from_its_first_step_to_its_last() -> None:
    observed = Observed()
    compacting = Compacting(observed)
    machine = cast(Any, FakeMachine(True, True, False, False))
    assert [compacting(machine, 10) for _ in range(4)] == [True, True, False, False]
    assert sum(observed.compaction_pause_ms.counts) == 4
    assert sum(observed.compaction_total_ms.counts) == 2
    assert abs(observed.compacted_at_s - time.time()) < 60


@pytest.mark.parametrize(("leads", "late_s", "counted"), [(True, 1.0, 2), (True, 0.0, 0), (False, 1.0, 0)])
def test_a_leader_that_stood_still_sent_its_heartbeats_late(leads: bool, late_s: float, counted: int) -> None:
    async def scenario() -> int:
        nothing = cast(Any, None)
        runner = Runner(asyncio.get_running_loop(), nothing, nothing, nothing, Observed(), [].append, list)
        progress = {MemberId(1): None, MemberId(2): None, MemberId(3): None}
        runner.member = cast(Any, SimpleNamespace(id=MemberId(1), is_leader=leads, raft=SimpleNamespace(progress=progress)))
        runner._ticked_s -= late_s
        runner._observe_tick(0.1)
        runner.end_threads()
        assert sum(runner.observed.loop_lag.counts) == 1
        return runner.observed.heartbeats_late

    assert asyncio.run(scenario()) == counted
