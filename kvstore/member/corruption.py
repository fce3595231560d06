"""Do members hold the same? When to ask, whom to believe (etcd's server/etcdserver/corrupt.go). Pure: time, inspections and answers come in.

A check is a round: inspect our own committed state, ask every member for the hash at the same revision, compare those that are compacted to the same
revision. A member whose tables contradict each other says so itself. Of those that differ the minority is corrupt; without a majority of all
members for one hash nobody can be named, and the alarm is raised for member 0, which is the whole cluster (etcd's rule since 3.5.5).
Answers that do not come, or not for the same compaction, are left out until the next time.
"""

import enum
from typing import Any

from msgspec import Struct

from kvstore.ids import MemberId, Revision
from kvstore.mvcc.inspection import Inspection

ANSWER_TIMEOUT_S = 120.0
"""How long members may take to read everything they have."""
INITIAL_TIMEOUT_S = 5.0
"""How long a start waits for its peers' answers."""
ASK_AGAIN_S = 2.0

WHOLE_CLUSTER = MemberId(0)


class Kind(enum.Enum):
    PERIODIC = "periodic"
    COMPACTED = "after compaction"
    INITIAL = "initial"


class CorruptionChecks(Struct, frozen=True):
    """Intervals in seconds, 0 is off: of the check of everything, and of the look whether there is a compaction whose result was not compared."""

    every_s: float = 0.0
    compacted_every_s: float = 0.0


class Answer(Struct, frozen=True):
    hash: int
    compacted: int
    damage: str


class Round:
    """One check under way."""

    def __init__(self, number: int, kind: Kind, revision: Revision, token: Any = None) -> None:
        self.number = number
        self.kind = kind
        self.revision = revision
        """0 until our own inspection says which it was, if that of now is asked for."""
        self.token = token
        self.own: Answer | None = None
        self.answers: dict[MemberId, Answer] = {}
        self.deadline_s = float("inf")
        self.ask_again_s = 0.0

    def begin(self, own: Inspection, now_s: float) -> None:
        """Our own state was inspected: from now on the others are asked."""
        self.revision = Revision(own.revision)
        self.own = Answer(own.hash, own.compacted, own.damage)
        self.deadline_s = now_s + (INITIAL_TIMEOUT_S if self.kind is Kind.INITIAL else ANSWER_TIMEOUT_S)
        self.ask_again_s = now_s

    def is_over(self, others: set[MemberId], now_s: float) -> bool:
        return self.own is not None and (now_s >= self.deadline_s or others <= self.answers.keys() or bool(self.own.damage))

    def to_ask(self, others: set[MemberId], now_s: float) -> list[MemberId]:
        """Who has not answered and is to be asked (again) now."""
        if self.own is None or now_s < self.ask_again_s:
            return []
        self.ask_again_s = now_s + ASK_AGAIN_S
        return sorted(others - self.answers.keys())


def judge(me: MemberId, own: Answer, answers: dict[MemberId, Answer], members: int) -> dict[MemberId, str]:
    """Who is corrupt, and why; WHOLE_CLUSTER if somebody is and nobody can say who. `members`: how many there are, learners included."""
    told = {me: own, **answers}
    corrupt = {member: answer.damage for member, answer in told.items() if answer.damage}
    groups: dict[int, list[MemberId]] = {}
    for member, answer in told.items():
        if not answer.damage and answer.compacted == own.compacted:
            groups.setdefault(answer.hash, []).append(member)
    if len(groups) > 1 and not own.damage:
        quorum = members // 2 + 1
        majority = next((checksum for checksum, group in groups.items() if len(group) >= quorum), None)
        if majority is None:
            corrupt[WHOLE_CLUSTER] = "members differ, and no majority of them agrees: " + _hashes(groups)
        else:
            for checksum, group in groups.items():
                for member in group if checksum != majority else []:
                    corrupt[member] = f"its hash {checksum:08x} is not the {majority:08x} of {len(groups[majority])} of {members} members"
    return corrupt


def doubt(me: MemberId, own: Answer, answers: dict[MemberId, Answer], members: int) -> str:
    """Why this member must not begin to serve; "" if nothing speaks against it. Unlike etcd, a member that a majority agrees with may begin beside
    one that differs: it is the other that is wrong."""
    corrupt = judge(me, own, answers, members)
    return corrupt.get(me) or corrupt.get(WHOLE_CLUSTER) or ""


def _hashes(groups: dict[int, list[MemberId]]) -> str:
    return ", ".join(f"{checksum:08x} at {'+'.join(f'{member:x}' for member in sorted(group))}" for checksum, group in sorted(groups.items()))


class CorruptionChecker:
    """When the leader checks, and the round that is under way."""

    def __init__(self, checks: CorruptionChecks, now_s: float) -> None:
        self._checks = checks
        self._next_periodic_s = now_s + checks.every_s
        self._next_compacted_s = now_s + checks.compacted_every_s
        self._compared = Revision(0)
        """Up to this compaction members were compared."""
        self._last_number = 0
        self.round: Round | None = None

    def due(self, now_s: float, compacted: Revision, leading: bool) -> Round | None:
        """A round to begin, if it is time for one and none is under way."""
        checks = self._checks
        if checks.every_s and now_s >= self._next_periodic_s:
            self._next_periodic_s = now_s + checks.every_s
            if leading and self.round is None:
                return self.start(Kind.PERIODIC, Revision(0))
        if checks.compacted_every_s and now_s >= self._next_compacted_s:
            self._next_compacted_s = now_s + checks.compacted_every_s
            if leading and self.round is None and compacted > self._compared:
                return self.start(Kind.COMPACTED, compacted)
        return None

    def start(self, kind: Kind, revision: Revision, token: Any = None) -> Round:
        self._last_number += 1
        self.round = Round(self._last_number, kind, revision, token)
        return self.round

    def answered(self, member: MemberId, number: int, answer: Answer) -> None:
        if self.round is not None and number == self.round.number:
            self.round.answers[member] = answer

    def finish(self, others: set[MemberId]) -> Round | None:
        """The round is over. A compaction counts as compared when everybody had it and answered."""
        finished, self.round = self.round, None
        if finished is not None and finished.kind is Kind.COMPACTED and finished.own is not None:
            compacted = finished.own.compacted
            if all(member in finished.answers and finished.answers[member].compacted == compacted for member in others):
                self._compared = max(self._compared, finished.revision)
        return finished
