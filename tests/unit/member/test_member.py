"""A member of a one-member cluster on disks in memory, which the test lets work when it likes: nobody waits for ever, nothing is kept for ever."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kvstore.checks import TXN_DEPTH_MAX
from kvstore.errors import (
    LeaderTransferTimeout,
    LearnerNotReady,
    MemberExists,
    MemberNotFound,
    PeerUrlExists,
    Stopped,
    StoreError,
    TooManyLearners,
    TooManyRequests,
    Unhealthy,
)
from kvstore.ids import ClusterId, Index, MemberId, RequestId, Revision, Term
from kvstore.member import member as member_module
from kvstore.member.config import MemberConfig
from kvstore.member.effects import CommitState, DefragmentState, ExportState, HashState, Persist
from kvstore.member.member import HASHES_MAX, Member, encode_conf
from kvstore.member.messages import ChangeAnswer, ChangeQuestion
from kvstore.model import Member as MemberRecord
from kvstore.model import Put, Range, Txn
from kvstore.mvcc.scan import KEYS_PER_STEP
from kvstore.raft.config import Config
from kvstore.raft.messages import (
    AppendRequest,
    ConfState,
    Entry,
    ForwardProposals,
    ForwardReadIndex,
    Heartbeat,
    PreVoteReply,
    ReadIndexReply,
    VoteReply,
)
from kvstore.statemachine.commands import decode_command, encode_command
from kvstore.statemachine.machine import Machine
from kvstore.statemachine.members import Action
from kvstore.storage.memory_engine import MemoryEngine
from kvstore.storage.raftlog import RaftLog


class Alone:
    def __init__(self, voters: int = 1, first_request_id: int = 0, **settings: Any) -> None:
        self.state = MemoryEngine()
        self.log = RaftLog(MemoryEngine())
        conf = ConfState(tuple(MemberId(number) for number in range(1, voters + 1)))
        self.log.bootstrap(conf, b"identity")
        machine = Machine(self.state)
        machine.begin(self.state.begin_write())
        machine.conf = encode_conf(conf)
        config = MemberConfig(ClusterId(1), Config(MemberId(1)), "m1", (), "3.6.0", "3.6.0", **settings)
        self.member = Member(config, self.log, machine, draw=lambda low, high: low, first_request_id=first_request_id, now_s=0.0)
        self.now_s = 0.0
        self.answers: dict[str, Any] = {}
        self.commits = 0
        self.work: list[Any] = []
        """What the state's disk was given, and has not done."""

    def pump(self) -> None:
        """A turn; the log's disk is instant."""
        for _ in range(10):
            self.member.pump()
            effects = self.member.take_effects()
            self.answers.update(effects.replies)
            self.work += effects.state_work
            for work in effects.log_work:
                assert isinstance(work, Persist)
                self.log.append(work.entries, work.hard_state)
                self.member.persisted()

    def do_state_work(self) -> list[Any]:
        """The state's disk does what it has, in order; returns what that was."""
        done, self.work = self.work, []
        for work in done:
            if isinstance(work, CommitState):
                self.member.machine.transaction.commit()
                self.member.machine.begin(self.state.begin_write())
                self.member.state_committed()
            elif isinstance(work, HashState):
                self.member.state_hashed(work, 1)
            elif isinstance(work, ExportState):
                self.member.state_exported(work, "the export")
        return done

    def do_commits(self) -> None:
        """As far as the first piece of work that is none."""
        while self.work and isinstance(self.work[0], CommitState):
            following = self.work[1:]
            self.work = self.work[:1]
            self.do_state_work()
            self.work += following
            self.pump()

    def tick(self, times: int, each: Callable[[], None] = lambda: None) -> None:
        for _ in range(times):
            self.now_s += self.member.config.tick_s
            self.member.tick(self.now_s)
            each()
            self.pump()

    def lead(self) -> "Alone":
        self.tick(15)
        assert self.member.is_leader
        return self


def test_who_wants_the_committed_state_gets_it_under_a_steady_load() -> None:
    """Writes come while each commit is under way, so the state is never clean but in the moment when a commit is done."""
    alone = Alone().lead()
    alone.do_state_work()
    alone.member.hash_everything("hash")
    alone.member.export_state("export")
    for turn in range(6):
        alone.member.propose(Put(b"key", b"%d" % turn), f"put {turn}")
        alone.pump()
        alone.do_state_work()
    alone.pump()
    assert alone.answers.get("hash") == 1
    assert alone.answers.get("export") == "the export"
    assert [turn for turn in range(6) if f"put {turn}" not in alone.answers] == []


def test_writes_go_on_while_hashes_are_computed_and_only_so_many_wait() -> None:
    """A commit behind them in the disk's thread would keep the machine from everybody: with thirty of them clients were told of time-outs."""
    alone = Alone().lead()
    alone.do_state_work()
    for asked in range(HASHES_MAX + 1):
        alone.member.hash_kv(Revision(0), f"hash {asked}")
    alone.pump()
    alone.do_commits()
    alone.pump()
    assert isinstance(alone.answers[f"hash {HASHES_MAX}"], TooManyRequests)
    alone.member.propose(Put(b"key", b"value"), "put")
    alone.tick(2 * alone.member.config.commit_ticks)
    assert "put" in alone.answers
    alone.member.read(Range(b"key"), "read")
    alone.pump()
    assert "read" in alone.answers
    assert [type(work) for work in alone.work] == [HashState] * HASHES_MAX
    alone.do_state_work()
    alone.pump()
    assert [type(work) for work in alone.work] == [CommitState], "now it may"
    alone.member.hash_everything("one more")
    alone.do_state_work()
    alone.pump()
    assert [type(work) for work in alone.do_state_work()] == [HashState]


def test_what_is_applied_while_the_state_is_copied_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays in memory until it is committed, and the commit waits for the copy, which may take minutes of a slow disk."""
    monkeypatch.setattr(member_module, "UNCOMMITTED_BYTES_MAX", 10_000)
    alone = Alone().lead()
    alone.do_state_work()
    alone.member.export_state("export")
    alone.pump()
    alone.do_commits()
    alone.pump()
    assert [type(work) for work in alone.work] == [ExportState]
    for turn in range(20):
        alone.member.propose(Put(b"key", b"v" * 1000), f"put {turn}")
        alone.pump()
    told = [turn for turn in range(20) if f"put {turn}" in alone.answers]
    assert told == list(range(len(told)))
    assert 5 < len(told) < 15
    assert not alone.member.has_work, "nothing can be done until the copy is"
    alone.do_state_work()
    alone.pump()
    alone.do_commits()
    alone.pump()
    assert not [turn for turn in range(20) if isinstance(alone.answers.get(f"put {turn}", StoreError()), StoreError)]


def test_who_asks_for_a_defragmentation_while_another_waits_for_one_shares_it() -> None:
    alone = Alone().lead()
    member = alone.member
    member.propose(Put(b"key", b"value"), "put")
    alone.pump()
    for asked in range(30):
        member.defragment(f"defragment {asked}")
    alone.do_state_work()
    alone.pump()
    alone.do_commits()
    alone.pump()
    [work] = alone.work
    assert isinstance(work, DefragmentState)
    member.defragment("too late for it")
    alone.pump()
    alone.work.clear()
    member.state_defragmented(work, member.machine, None)
    alone.pump()
    assert all(alone.answers[f"defragment {asked}"] is None for asked in range(30))
    assert "too late for it" not in alone.answers
    assert [type(work) for work in alone.work] == [DefragmentState]


def test_a_forwarded_proposal_that_members_could_not_apply_is_not_taken() -> None:
    """Committed, it would end every member, at every start again. One too deep to read once ended the leader there and then."""

    def nested(depth: int) -> bytes:
        inner, once = msgspec.msgpack.encode(Txn()), msgspec.msgpack.encode(Txn(success=(Txn(),)))
        before, behind = once.split(inner)
        return encode_command(RequestId(7), Txn()).replace(inner, before * (depth - 1) + inner + behind * (depth - 1))

    alone = Alone().lead()
    last = alone.member.raft.last_index
    for bad in (b"no command", nested(TXN_DEPTH_MAX + 1), nested(700), nested(100_000)):
        alone.member.step(ForwardProposals(MemberId(2), MemberId(1), alone.member.raft.term, (encode_command(RequestId(6), Put(b"key")), bad)))
        alone.pump()
        assert alone.member.raft.last_index == last
    for good in (nested(1), nested(TXN_DEPTH_MAX)):
        alone.member.step(ForwardProposals(MemberId(2), MemberId(1), alone.member.raft.term, (good,)))
        alone.pump()
    assert alone.member.raft.last_index == last + 2
    alone.do_state_work()
    alone.pump()
    assert alone.member.machine.applied_index == last + 2


def test_a_proposal_that_was_given_up_is_not_sent_when_a_leader_is_found_at_last() -> None:
    """Nor is it kept: without a leader, proposals of hours would pile up, and be written long after their clients were told."""
    alone = Alone(voters=3)
    alone.tick(1, lambda: alone.member.propose(Put(b"key", b"old"), "old"))
    seconds = alone.member.config.request_timeout_s
    alone.tick(int(seconds / alone.member.config.tick_s) - 5)
    alone.member.propose(Put(b"key", b"young"), "young")
    alone.tick(10)
    assert isinstance(alone.answers["old"], StoreError)
    assert "young" not in alone.answers
    assert len(alone.member.proposals.unsent) == 1


def test_whoever_waits_is_told_when_the_member_stops() -> None:
    alone = Alone().lead()
    member = alone.member
    member.propose(Put(b"key", b"value"), "put")
    alone.pump()
    assert alone.work, "the state is being committed, or will be"
    waiting = {"defragment": member.defragment, "export": member.export_state, "hash": member.hash_everything}
    for token, ask in waiting.items():
        ask(token)
    member.propose(Put(b"key", b"value"), "late put")
    member.stop()
    alone.answers.update(member.take_effects().replies)
    assert {token for token, answer in alone.answers.items() if isinstance(answer, Stopped)} == {*waiting, "put", "late put"}


def test_whoever_waits_for_work_that_the_disk_is_at_is_told_too() -> None:
    alone = Alone().lead()
    alone.do_state_work()
    alone.member.export_state("export")
    alone.member.hash_everything("hash")
    alone.pump()
    if [type(work) for work in alone.work] == [CommitState]:
        alone.do_state_work()
        alone.pump()
    assert [type(work) for work in alone.work] == [ExportState, HashState]
    alone.member.stop()
    assert {token: type(answer) for token, answer in alone.member.take_effects().replies} == {"export": Stopped, "hash": Stopped}


def test_an_answer_from_before_a_restart_confirms_no_read_after_it() -> None:
    """Leader and term are the same, and so was the number of the round once: our own third mistake, rare enough to need hundreds of worlds."""
    leader, own, term = MemberId(2), MemberId(1), Term(1)

    def started(first_request_id: int) -> Alone:
        follower = Alone(voters=3, first_request_id=first_request_id)
        follower.member.step(AppendRequest(leader, own, term, Index(0), Term(0), Index(1), (Entry(term, Index(1), b""),)))
        follower.pump()
        return follower

    def ask(follower: Alone) -> int:
        follower.member.read(Range(b"key"), "read")
        follower.member.pump()
        [question] = [message for message in follower.member.take_effects().messages if isinstance(message, ForwardReadIndex)]
        return question.context

    before = ask(started(1 << 40))
    after = started(1 << 50)
    question = ask(after)
    after.member.step(ReadIndexReply(leader, own, term, before, Index(1)))
    after.pump()
    assert "read" not in after.answers
    after.member.step(ReadIndexReply(leader, own, term, question, Index(1)))
    after.pump()
    assert after.answers["read"].count == 0


def test_proposals_that_arrive_while_leadership_is_handed_over_go_to_the_next_leader() -> None:
    """A member that is restarted hands over first, and other members' clients must not lose what was on its way to it."""
    own, second, term = MemberId(1), MemberId(2), Term(1)
    leader = Alone(voters=3)
    leader.tick(15)
    leader.member.step(PreVoteReply(second, own, term, True))
    leader.pump()
    leader.member.step(VoteReply(second, own, term, True))
    leader.pump()
    leader.member.move_leader(second, "order")
    leader.pump()
    put = encode_command(RequestId(5), Put(b"key", b"value"))
    last = leader.member.raft.last_index
    leader.member.step(ForwardProposals(second, own, term, (put,)))
    leader.pump()
    assert leader.member.raft.last_index == last
    leader.member.step(Heartbeat(second, own, Term(2), Index(0)))
    leader.member.pump()
    told = [each for each in leader.member.take_effects().messages if isinstance(each, ForwardProposals) and put in each.datas]
    assert told == [ForwardProposals(own, second, Term(2), (put,))]


def test_a_later_order_to_move_leadership_answers_who_gave_the_earlier_one() -> None:
    alone = Alone(voters=3)
    raft = alone.member.raft
    alone.tick(15)
    alone.member.step(PreVoteReply(MemberId(2), MemberId(1), Term(1), True))
    alone.pump()
    alone.member.step(VoteReply(MemberId(2), MemberId(1), Term(1), True))
    alone.pump()
    assert alone.member.is_leader
    assert raft.progress.keys() == {1, 2, 3}
    alone.member.move_leader(MemberId(2), "first")
    alone.member.move_leader(MemberId(3), "second")
    alone.pump()
    assert isinstance(alone.answers["first"], LeaderTransferTimeout)
    assert "second" not in alone.answers


def test_a_member_is_ready_with_whichever_of_its_announcements_comes_back() -> None:
    """A cluster that takes longer for an entry than we wait before announcing ourselves again would else never let us begin."""
    alone = Alone()
    member = alone.member
    while not member._publish_id:
        alone.now_s += member.config.tick_s
        member.tick(alone.now_s)
        member.pump()
        for work in member.take_effects().log_work:
            assert isinstance(work, Persist)
            alone.log.append(work.entries, work.hard_state)
            member.persisted()
    first = member._publish_id
    assert not member.is_ready
    member._publish_in_ticks = 0
    member.tick(alone.now_s)
    assert decode_command(member.proposals.unsent[-1]).request_id == first
    alone.pump()
    assert member.is_ready


def test_short_lists_are_read_many_in_a_turn_and_long_ones_in_turns() -> None:
    alone = Alone().lead()
    for first in range(0, 3 * KEYS_PER_STEP, 100):
        alone.member.propose(Txn((), tuple(Put(b"%06d" % number) for number in range(first, first + 100))), None)
    alone.pump()
    alone.do_commits()
    alone.member.read_serializable(Range(b"0", b"1"), "long")
    for number in range(20):
        alone.member.read_serializable(Range(b"000000", b"000005"), f"short {number}")
    alone.member.pump()
    answered = [token for token, _ in alone.member.take_effects().replies]
    assert answered == [f"short {number}" for number in range(len(answered))]
    assert len(answered) >= 10
    alone.pump()
    assert alone.answers["long"].count == 3 * KEYS_PER_STEP


def test_what_is_no_command_does_not_get_into_the_log() -> None:
    """Committed, it would stop every member, at every start anew."""
    alone = Alone(voters=1).lead()
    raft = alone.member.raft
    last = raft.last_index
    good = encode_command(RequestId(5), Put(b"key", b"value"))
    for bad in (b"", b"\xff", b"\x93\x63\x01\xc0", good[:-1], good + b"\x00"):
        alone.member.step(ForwardProposals(MemberId(2), MemberId(1), raft.term, (good, bad)))
    alone.pump()
    assert raft.last_index == last
    alone.member.step(ForwardProposals(MemberId(2), MemberId(1), raft.term, (good,)))
    alone.pump()
    assert raft.last_index == last + 1


def test_a_member_alone_grows_shrinks_and_remembers_whom_it_removed() -> None:
    alone = Alone().lead()
    member, second = alone.member, MemberId(2)
    own = MemberRecord(MemberId(1), "m1", ("http://m1:2380",), ())
    member.machine.put_member(own)

    def change(action: Action, subject: MemberId, *urls: str) -> Any:
        member.change_members(action, subject, urls, "change")
        alone.tick(2)
        alone.do_state_work()
        alone.tick(2)
        return alone.answers.pop("change")

    learning = change(Action.ADD_LEARNER, second, "http://m2:2380")
    assert [known.id for known in learning] == [1, second]
    assert isinstance(change(Action.ADD_LEARNER, second, "http://m3:2380"), MemberExists | TooManyLearners)
    assert isinstance(change(Action.ADD, MemberId(3), "http://m2:2380"), PeerUrlExists)
    assert isinstance(change(Action.PROMOTE, second), LearnerNotReady)
    assert isinstance(change(Action.UPDATE, MemberId(9), "http://m9:2380"), MemberNotFound)
    assert change(Action.UPDATE, second, "http://other:2380")[1].peer_urls == ("http://other:2380",)
    assert change(Action.REMOVE, second) == [own]
    for action in (Action.ADD, Action.ADD_LEARNER, Action.REMOVE, Action.UPDATE):
        assert isinstance(change(action, second, "http://m2:2380"), MemberNotFound), "its id is burnt"
    alone.do_state_work()
    assert Machine(alone.state).removed_members == {second}
    assert member.raft.conf == ConfState((MemberId(1),))


def test_a_change_asked_of_a_follower_travels_to_the_leader_and_is_asked_again_only_if_it_was_not_taken() -> None:
    asker = Alone(voters=3)
    member = asker.member
    member.step(Heartbeat(MemberId(2), MemberId(1), Term(1), Index(0)))
    member.change_members(Action.REMOVE, MemberId(3), (), "change")
    member.pump()
    [question] = [message for message in member.take_effects().messages if isinstance(message, ChangeQuestion)]
    assert (question.receiver, question.action, question.subject) == (2, Action.REMOVE, 3)
    member.step(ChangeAnswer(MemberId(2), MemberId(1), Term(1), question.request_id, ""))
    member.pump()
    assert not any(isinstance(message, ChangeQuestion) for message in member.take_effects().messages), "not before the next tick"
    member.tick(0.1)
    member.pump()
    [again] = [message for message in member.take_effects().messages if isinstance(message, ChangeQuestion)]
    assert again.request_id == question.request_id
    member.step(ChangeAnswer(MemberId(2), MemberId(1), Term(1), question.request_id, "Unhealthy"))
    [(_, refusal)] = [reply for reply in member.take_effects().replies if reply[0] == "change"]
    assert isinstance(refusal, Unhealthy)
