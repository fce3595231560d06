"""The member's side of corruption checks: inspections that are due or asked for, questions and answers between members, and the alarm.

When to check and whom to believe is in `corruption.py`.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from kvstore.errors import DiskTrouble
from kvstore.ids import MemberId, Revision
from kvstore.member.corruption import Answer, CorruptionChecker, CorruptionChecks, Kind, Round, doubt, judge
from kvstore.member.effects import InspectState, Token
from kvstore.member.messages import HashAnswer, HashQuestion
from kvstore.model import AlarmMember, AlarmType
from kvstore.mvcc.inspection import Inspection

if TYPE_CHECKING:
    from kvstore.member.member import Member

DAMAGE_TEXT_MAX = 500


class _HashAsked(Struct, frozen=True):
    """An inspection on behalf of another member."""

    sender: MemberId
    number: int


class CorruptionRounds:
    def __init__(self, member: "Member", checks: CorruptionChecks, now_s: float) -> None:
        self._member = member
        self._checker = CorruptionChecker(checks, now_s)

    def check_initially(self, token: Token) -> None:
        """Compare our state with the other members', before serving anybody. The answer says why we must not serve, "" that nothing was found."""
        round_ = self._checker.start(Kind.INITIAL, Revision(0), token)
        self._member.want(InspectState(Revision(0), False, round_))

    def _others(self) -> set[MemberId]:
        conf = self._member.raft.conf
        return {*conf.voters, *conf.learners} - {self._member.id}

    def is_corrupt(self) -> bool:
        return bool(self._member.machine.alarms) and AlarmMember(self._member.id, AlarmType.CORRUPT) in self._member.machine.alarms

    def tick(self) -> None:
        """The leader's round of the check that is due: begin it, ask, and judge when it is over."""
        checker = self._checker
        due = checker.due(self._member.now_s, self._member.machine.compacted_revision, self._member.is_leader)
        if due is not None:
            self._member.note(f"starting {due.kind.value} corruption check", revision=due.revision or self._member.machine.revision)
            self._member.want(InspectState(due.revision, due.kind is Kind.PERIODIC, due))
        if self._member.is_leader and self.is_corrupt():
            self._leave_leadership()
        round_ = checker.round
        if round_ is None:
            return
        if round_.kind is not Kind.INITIAL and not self._member.is_leader:
            checker.round = None
            return
        others = self._others()
        if round_.is_over(others, self._member.now_s):
            self._judge(round_, others)
            return
        for member in round_.to_ask(others, self._member.now_s):
            question = HashQuestion(self._member.id, member, self._member.raft.term, round_.number, round_.revision, round_.kind is Kind.PERIODIC)
            self._member.send(question)

    def _judge(self, round_: Round, others: set[MemberId]) -> None:
        self._checker.finish(others)
        assert round_.own is not None, "over only after our own inspection"
        answers = {member: answer for member, answer in round_.answers.items() if member in others}
        if round_.kind is Kind.INITIAL:
            self._member.reply(round_.token, doubt(self._member.id, round_.own, answers, len(others) + 1))
            return
        corrupt = judge(self._member.id, round_.own, answers, len(others) + 1)
        for member, why in corrupt.items():
            self._member.note("found a corrupt member", is_warning=True, member_id=f"{member:x}", revision=round_.revision, why=why)
            if AlarmMember(member, AlarmType.CORRUPT) not in self._member.machine.alarms:
                self._member.raise_alarm(member, AlarmType.CORRUPT)
        self._member.note(f"finished {round_.kind.value} corruption check", revision=round_.revision, number_of_peers_checked=len(answers))

    def on_question(self, question: HashQuestion) -> None:
        """Inspect, unless we are not there yet, or at it already: then the asker asks again."""
        asked = _HashAsked(question.sender, question.number)
        at_it = any(isinstance(work, InspectState) and work.token == asked for work in self._member.state_works())
        if not at_it and question.revision <= self._member.machine.revision:
            self._member.want(InspectState(Revision(question.revision), question.thorough, asked))

    def _leave_leadership(self) -> None:
        """A leader sends its state to others: a corrupt one must not."""
        alarms, me = self._member.machine.alarms, self._member.id
        healthy = [voter for voter in self._member.raft.conf.voters if voter != me and AlarmMember(voter, AlarmType.CORRUPT) not in alarms]
        if healthy:
            self._member.raft.transfer_leadership(healthy[0])

    def on_answer(self, answer: HashAnswer) -> None:
        self._checker.answered(answer.sender, answer.number, Answer(answer.hash, answer.compacted, answer.damage))

    def inspected(self, token: Token, result: Inspection | Exception) -> None:
        """An `InspectState` is done; `token` says for whom it was."""
        round_ = self._checker.round
        if isinstance(token, _HashAsked):
            if not isinstance(result, Exception):
                term, damage = self._member.raft.term, result.damage[:DAMAGE_TEXT_MAX]
                self._member.send(HashAnswer(self._member.id, token.sender, term, token.number, result.hash, result.compacted, damage))
        elif round_ is not None and round_ is token:
            if isinstance(result, Exception):
                self._checker.round = None
                self._member.reply(round_.token, DiskTrouble(str(result)))
            else:
                round_.begin(result, self._member.now_s)

    def drain(self) -> list[Token]:
        """Who still waits; forgotten here."""
        round_, self._checker.round = self._checker.round, None
        return [] if round_ is None or round_.token is None else [round_.token]
