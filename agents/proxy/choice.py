"""Which endpoint a client gets: in turn, or the one it had (session affinity); one that did not answer is put last for a while."""

import random
from collections.abc import Callable, Sequence

from agents.proxy.rules import Rule, Target

SUSPECT_S = 10.0
"""For so long an endpoint that did not answer is tried after all others."""
AFFINE_MAX = 65536
"""Clients remembered for session affinity, per service; those that came longest ago are forgotten first."""


class Choice:
    """Which target a client gets: in turn, or the one it had."""

    def __init__(self, now_s: Callable[[], float], chance: random.Random) -> None:
        self._now_s = now_s
        self._turn = chance.randrange(1 << 16)
        self._had: dict[str, tuple[Target, float]] = {}
        self._suspect: dict[Target, float] = {}

    def order(self, rule: Rule, targets: Sequence[Target], source: str) -> list[Target]:
        """All targets, the one to try first at the front."""
        now_s = self._now_s()
        self._turn += 1
        start = self._turn % len(targets) if targets else 0
        ordered = [*targets[start:], *targets[:start], *(rule.others if targets else ())]
        ordered.sort(key=lambda target: self._suspect.get(target, 0.0) > now_s)  # stable: the turn is kept
        had = self._had.get(source) if rule.affinity_s else None
        if had is not None and had[1] > now_s and had[0] in ordered:
            ordered.remove(had[0])
            ordered.insert(0, had[0])
        return ordered

    def answered(self, rule: Rule, target: Target, source: str) -> None:
        self._suspect.pop(target, None)
        if rule.affinity_s:
            self._had.pop(source, None)  # to the end of the order of insertion
            self._had[source] = (target, self._now_s() + rule.affinity_s)
            if len(self._had) > AFFINE_MAX:
                del self._had[next(iter(self._had))]

    def is_silent(self, target: Target) -> bool:
        return self._suspect.get(target, 0.0) > self._now_s()

    def silent(self, target: Target) -> None:
        now_s = self._now_s()
        self._suspect = {each: until_s for each, until_s in self._suspect.items() if until_s > now_s}
        self._suspect[target] = now_s + SUSPECT_S
