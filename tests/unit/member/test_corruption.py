"""Who is corrupt, by the majority's word; and a leader that asks, names and closes the cluster."""

from typing import Any

from kvstore.errors import Corrupt, Stopped
from kvstore.ids import MemberId, Revision, Term
from kvstore.member.corruption import ASK_AGAIN_S, WHOLE_CLUSTER, Answer, CorruptionChecker, CorruptionChecks, Kind, doubt, judge
from kvstore.member.effects import CommitState, InspectState
from kvstore.member.messages import HashAnswer, HashQuestion
from kvstore.model import AlarmAction, AlarmChange, AlarmMember, AlarmType, Put
from kvstore.mvcc.inspection import Inspection, damaged, inspect
from kvstore.raft.messages import PreVoteReply, VoteReply
from tests.unit.member.test_member import Alone

ONE, TWO, THREE, FOUR, FIVE = map(MemberId, range(1, 6))


def holds(number: int, compacted: int = 5, damage: str = "") -> Answer:
    return Answer(number, compacted, damage)


def test_all_alike_is_fine() -> None:
    assert judge(ONE, holds(7), {TWO: holds(7), THREE: holds(7)}, 3) == {}


def test_the_minority_is_corrupt_even_if_it_leads() -> None:
    assert judge(ONE, holds(7), {TWO: holds(8), THREE: holds(7)}, 3).keys() == {TWO}
    assert judge(ONE, holds(7), {TWO: holds(8), THREE: holds(8)}, 3).keys() == {ONE}
    assert judge(ONE, holds(7), {TWO: holds(8), THREE: holds(7), FOUR: holds(7), FIVE: holds(9)}, 5).keys() == {TWO, FIVE}


def test_without_a_majority_of_all_members_nobody_can_be_named() -> None:
    assert judge(ONE, holds(7), {TWO: holds(8)}, 2).keys() == {WHOLE_CLUSTER}
    assert judge(ONE, holds(7), {TWO: holds(8)}, 3).keys() == {WHOLE_CLUSTER}, "the third may agree with either"
    assert judge(ONE, holds(7), {TWO: holds(8), THREE: holds(9)}, 3).keys() == {WHOLE_CLUSTER}


def test_another_compaction_is_no_difference() -> None:
    assert judge(ONE, holds(7), {TWO: holds(8, compacted=6), THREE: holds(7)}, 3) == {}


def test_a_member_that_finds_itself_damaged_is_corrupt_and_has_no_vote() -> None:
    told = judge(ONE, holds(7), {TWO: holds(8, damage="newest"), THREE: holds(7)}, 3)
    assert told == {TWO: "newest"}
    assert judge(ONE, holds(0, damage="history"), {}, 3) == {ONE: "history"}


def test_a_member_begins_if_the_majority_agrees_with_it() -> None:
    assert doubt(ONE, holds(7), {TWO: holds(8), THREE: holds(7)}, 3) == ""
    assert doubt(ONE, holds(7), {}, 3) == "", "nobody to compare with"
    assert doubt(ONE, holds(7), {TWO: holds(8)}, 3)
    assert doubt(ONE, holds(7), {TWO: holds(8), THREE: holds(8)}, 3)
    assert doubt(ONE, holds(7, damage="torn"), {TWO: holds(7)}, 3) == "torn"


def test_when_it_is_time() -> None:
    checker = CorruptionChecker(CorruptionChecks(10.0, 3.0), 0.0)
    assert checker.due(2.9, Revision(0), True) is None
    assert checker.due(3.0, Revision(0), True) is None, "nothing was compacted"
    assert checker.due(6.0, Revision(9), False) is None, "only the leader asks"
    round_ = checker.due(9.0, Revision(9), True)
    assert round_ is not None
    assert (round_.kind, round_.revision) == (Kind.COMPACTED, 9)
    assert checker.due(10.0, Revision(9), True) is None, "one at a time"
    round_.begin(Inspection(1, 9, 9, 7), 10.0)
    checker.answered(TWO, round_.number - 1, holds(1))
    assert not round_.is_over({TWO}, 11.0)
    checker.answered(TWO, round_.number, holds(7, compacted=9))
    assert round_.is_over({TWO}, 11.0)
    assert checker.finish({TWO}) is round_
    assert checker.due(15.0, Revision(9), True) is None, "this compaction was compared"
    periodic = checker.due(20.0, Revision(9), True)
    assert periodic is not None
    assert (periodic.kind, periodic.revision) == (Kind.PERIODIC, 0)


class Leader(Alone):
    """The first of three, with two others that answer what the test says."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(voters=3, **settings)
        self.sent: list[Any] = []
        take = self.member.take_effects

        def taking() -> Any:
            effects = take()
            self.sent += effects.messages
            return effects

        self.member.take_effects = taking  # type: ignore[method-assign]
        self.tick(15)
        for vote in (PreVoteReply, VoteReply):
            self.member.step(vote(TWO, ONE, Term(1), True))
            self.pump()
        assert self.member.is_leader

    def inspect(self) -> None:
        for work in self.work:
            if isinstance(work, CommitState):
                self.do_state_work()
                self.pump()
                break
        for work in [work for work in self.work if isinstance(work, InspectState)]:
            self.work.remove(work)
            found = inspect(self.state.begin_read(), self.member.machine.tables, work.revision, thorough=work.thorough)
            self.member.state_inspected(work, found)

    def questions(self) -> list[HashQuestion]:
        asked = [message for message in self.sent if isinstance(message, HashQuestion)]
        self.sent.clear()
        return asked


def test_a_leader_asks_all_and_asks_again_who_is_silent() -> None:
    leader = Leader(corruption_checks=CorruptionChecks(every_s=2.0))
    leader.tick(6)
    leader.inspect()
    leader.pump()
    leader.tick(1)
    asked = leader.questions()
    assert [(question.receiver, question.revision) for question in asked] == [(TWO, 1), (THREE, 1)]
    leader.member.step(HashAnswer(TWO, ONE, Term(1), asked[0].number, 5, 0))
    round_ = leader.member._corruption._checker.round
    assert round_ is not None
    assert round_.to_ask({TWO, THREE}, leader.now_s + 1.0) == []
    assert round_.to_ask({TWO, THREE}, leader.now_s + ASK_AGAIN_S) == [THREE]


def test_a_member_inspects_for_another_once_it_is_there() -> None:
    alone = Alone().lead()
    alone.do_state_work()
    question = HashQuestion(TWO, ONE, Term(1), 5, 2, True)
    alone.member.step(question)
    alone.pump()
    assert not [work for work in alone.work if isinstance(work, InspectState)], "revision 2 is not there yet"
    alone.member.propose(Put(b"key"), "put")
    alone.pump()
    alone.member.step(question)
    alone.member.step(question)
    alone.pump()
    alone.do_commits()
    alone.pump()
    [work] = [work for work in alone.work if isinstance(work, InspectState)]
    alone.member.state_inspected(work, Inspection(9, 2, 0, 77))
    [answer] = [message for message in alone.member.take_effects().messages if isinstance(message, HashAnswer)]
    assert (answer.receiver, answer.number, answer.hash, answer.damage) == (TWO, 5, 77, "")


def test_a_corrupt_member_closes_the_cluster_until_the_alarm_is_lifted() -> None:
    alone = Alone(corruption_checks=CorruptionChecks(every_s=1.0)).lead()
    alone.do_commits()
    alone.tick(12)
    alone.do_commits()
    alone.pump()
    [work] = [work for work in alone.work if isinstance(work, InspectState)]
    alone.work.remove(work)
    alone.member.state_inspected(work, damaged("state.mdb: torn"))
    alone.tick(2)
    alone.do_commits()
    alone.pump()
    assert AlarmMember(ONE, AlarmType.CORRUPT) in alone.member.machine.alarms
    alone.member.propose(Put(b"key"), "put")
    alone.pump()
    assert isinstance(alone.answers["put"], Corrupt)
    alone.member.propose(AlarmChange(AlarmAction.DEACTIVATE, ONE, AlarmType.CORRUPT), "disarm")
    alone.member.propose(Put(b"key"), "put again")
    alone.pump()
    assert not isinstance(alone.answers["put again"], Exception)


def test_the_initial_check_is_answered_when_the_member_stops() -> None:
    alone = Alone().lead()
    alone.member.check_initially("check")
    alone.member.stop()
    assert isinstance(dict(alone.member.take_effects().replies)["check"], Stopped)


def test_the_initial_check_of_a_lone_member_finds_nothing() -> None:
    alone = Alone().lead()
    alone.do_commits()
    alone.member.check_initially("check")
    alone.pump()
    alone.do_commits()
    alone.pump()
    [work] = [work for work in alone.work if isinstance(work, InspectState)]
    alone.member.state_inspected(work, Inspection(1, 1, 0, 5))
    alone.tick(1)
    assert alone.answers["check"] == ""
