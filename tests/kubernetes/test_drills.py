"""Two drills of a whole cluster in their short form: no caller of the service notices, no object is lost. Times are not looked at."""

import asyncio
from pathlib import Path

import pytest

from keelson.drills.whole import drill
from keelson.drills.whole.drill import SHORT, Outcome
from keelson.drills.whole.faults import FAULTS
from keelson.drills.whole.stage import staged
from keelson.launcher import network

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]


def test_no_caller_notices_the_loss_of_a_process_of_the_control_plane(tmp_path: Path) -> None:
    if not network.may_be_made():
        pytest.skip("nodes are network namespaces, which need root")

    async def run() -> list[Outcome]:
        async with staged(tmp_path / "data", print) as stage:
            return [await drill.run(stage, FAULTS[name], SHORT) for name in ("api-server-kill", "store-leader-kill-under-rollout")]

    outcomes = asyncio.run(run())
    broken = [verdict for outcome in outcomes for verdict in outcome.verdicts if not verdict.kept]
    assert broken == [], [(outcome.drill, outcome.marks, outcome.failures) for outcome in outcomes]
    assert all(outcome.at_s for outcome in outcomes)
