"""DefaultPreemption: if no node will do, pods of lower priority may have to go. The rules are in agents/scheduler/preemption.py."""

from collections.abc import Callable, Mapping
from typing import Any

from agents.scheduler.diagnosis import fit_error
from agents.scheduler.framework import ClusterEvent, Code, Plugin, Status, always
from agents.scheduler.preemption import NOT_HELPFUL, Outcome, Preempt, best, find_victims, may_preempt

CANDIDATES_PERCENTAGE_MIN = 10
CANDIDATES_MIN = 100
"""So many nodes are tried at least (DefaultPreemptionArgs)."""


class DefaultPreemption(Plugin):
    name = "DefaultPreemption"
    events = ((ClusterEvent("pods", "delete"), always),)

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        args = args or {}
        self.percentage = int(args.get("minCandidateNodesPercentage", CANDIDATES_PERCENTAGE_MIN))
        self.absolute = int(args.get("minCandidateNodesAbsolute", CANDIDATES_MIN))

    def post_filter(self, asked: Preempt, chance: Callable[[int], int]) -> Outcome:
        why_not = may_preempt(asked)
        if why_not:
            return Outcome(message=why_not)
        total = len(asked.snapshot.order)
        candidates_max = min(max(total * self.percentage // 100, self.absolute), total)
        found, said = find_victims(asked, candidates_max, chance(total))
        if not found:
            message = fit_error(total, said, Status(Code.UNRESOLVABLE, (NOT_HELPFUL,)))
            return Outcome(message=message, clear_nomination=True)
        return Outcome(victims=best(found))
