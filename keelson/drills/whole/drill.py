"""One drill of a whole cluster: callers call the service, the fault strikes, the cluster repairs itself; then what happened is judged.

A stage serves several drills one after the other: each begins with a healthy cluster and leaves one behind.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from keelson.cogs.tasks import TaskSet
from keelson.drills.fault import Verdict
from keelson.drills.running import machine
from keelson.drills.whole.caller import PATIENCE_S, Call, Caller
from keelson.drills.whole.faults import Fault
from keelson.drills.whole.stage import NAMESPACE, Stage
from keelson.drills.whole.twins import Twins

FORM = 2


class Settings(Struct, frozen=True):
    rate_per_s: float = 50.0
    calm_s: float = 3.0
    aftermath_s: float = 3.0
    patience_s: float = PATIENCE_S


SHORT = Settings(rate_per_s=20.0, calm_s=1.0, aftermath_s=1.0, patience_s=60.0)
"""For a machine that has much else to do: what is refused or reset shows, what is slow does not."""


class Failures(Struct, frozen=True):
    """Calls that failed in one way after one mark, the last before they ended: what was down then."""

    after: str
    error: str
    count: int
    first_s: float
    last_s: float


class Outcome(Struct):
    """The form of a drill's JSON. Times are seconds from the fault's first blow; `calls` are parallel lists."""

    drill: str
    what: str
    date: str
    machine: dict[str, str | int]
    settings: Settings
    marks: list[tuple[float, str]]
    measures: dict[str, float]
    at_s: list[float]
    took_ms: list[float]
    failed: list[int]
    """Which of the calls, by number."""
    failures: list[Failures]
    lost: list[str]
    """Objects that were there before and are not there any more."""
    verdicts: list[Verdict]
    form: int = FORM

    @property
    def kept(self) -> bool:
        return all(verdict.kept for verdict in self.verdicts)


async def run(stage: Stage, fault: Fault, settings: Settings) -> Outcome:
    """Raises Refused if the cluster does not repair itself in time."""
    loop = asyncio.get_running_loop()
    marks: list[tuple[float, str]] = []
    outer = stage.tell

    def tell(text: str) -> None:
        marks.append((loop.time(), text))
        outer(text)

    await stage.healthy()
    objects = await stage.objects()
    caller = Caller(await stage.address(), 80, "/", settings.rate_per_s, settings.patience_s)
    under_way = TaskSet("drill")
    stage.tell = tell
    calling = under_way.start("callers", caller.run())
    twins = Twins(stage.cluster.folder / "nodes", NAMESPACE)
    under_way.start("twins", twins.run())
    try:
        await asyncio.sleep(settings.calm_s)
        measures = await fault.act(stage)
        await asyncio.sleep(settings.aftermath_s)
    finally:
        stage.tell = outer
        calling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await calling
        await under_way.close()
    after = await stage.objects()
    lost = sorted(name for uid, name in objects.items() if uid not in after)
    return outcome(fault, settings, caller.calls, marks, measures, lost, sorted(twins.seen.values()))


def outcome(
    fault: Fault,
    settings: Settings,
    calls: Sequence[Call],
    marks: Sequence[tuple[float, str]],
    measures: dict[str, float],
    lost: list[str],
    twins: list[str],
) -> Outcome:
    blow_s = marks[0][0] if marks else calls[0].at_s
    ordered = sorted(calls, key=lambda call: call.at_s)
    failed = [number for number, call in enumerate(ordered) if call.error]
    return Outcome(
        fault.name,
        fault.what,
        datetime.now(UTC).isoformat(timespec="seconds"),
        machine(),
        settings,
        [(round(at_s - blow_s, 3), text) for at_s, text in marks],
        {name: round(value, 3) for name, value in measures.items()},
        [round(call.at_s - blow_s, 3) for call in ordered],
        [round(call.took_s * 1000, 2) for call in ordered],
        failed,
        _failures(ordered, marks, blow_s),
        lost,
        _verdicts(fault, ordered, blow_s, len(failed), lost, twins),
    )


def _failures(calls: Sequence[Call], marks: Sequence[tuple[float, str]], blow_s: float) -> list[Failures]:
    """In the order of the marks; a call belongs to what was done last before it ended."""
    found: dict[tuple[int, str], list[float]] = {}
    for call in calls:
        if call.error:
            done = sum(at_s <= call.at_s + call.took_s for at_s, _ in marks)
            found.setdefault((done, call.error), []).append(round(call.at_s - blow_s, 3))
    return [
        Failures(marks[done - 1][1] if done else "nothing yet", error, len(at_s), min(at_s), max(at_s))
        for (done, error), at_s in sorted(found.items())
    ]


def _verdicts(fault: Fault, calls: Sequence[Call], blow_s: float, failed: int, lost: list[str], twins: list[str]) -> list[Verdict]:
    before = [call for call in calls if call.at_s + call.took_s < blow_s]
    last = calls[-10:]
    made = [
        Verdict("no object is lost", not lost, ", ".join(lost[:5]) or "every object of before is there"),
        Verdict("no two pods of one name ran at once", not twins, ", ".join(twins) or "looked at on all nodes, all the time"),
        Verdict("the service answered before the fault", bool(before) and not any(call.error for call in before), f"{len(before)} calls"),
        Verdict("the service answers afterwards", bool(last) and not any(call.error for call in last), f"the last {len(last)} calls"),
    ]
    if not fault.may_fail:
        made.append(Verdict("no caller notices", failed == 0, f"{failed} of {len(calls)} calls failed"))
    return made
