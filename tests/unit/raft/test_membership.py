"""Which configuration follows from which change; what a member without a configuration must not make up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.membership import Change, ChangeKind, changed, decode_change, encode_change
from kvstore.raft.messages import AppendReply, AppendRequest, ConfState, Entry, EntryKind
from kvstore.raft.progress import Sending
from tests.unit.raft.cluster import Cluster, Node
from tests.unit.raft.test_quorum import majorities

members = st.integers(1, 6).map(MemberId)
changes = st.builds(Change, st.sampled_from(ChangeKind), members, st.binary(max_size=5))


@st.composite
def configurations(draw: st.DrawFn) -> ConfState:
    voters = draw(st.sets(members, min_size=1))
    return ConfState(tuple(sorted(voters)), tuple(sorted(draw(st.sets(members)) - voters)))


@given(configurations(), changes)
def test_majorities_before_and_after_a_change_overlap(conf: ConfState, change: Change) -> None:
    after = changed(conf, change)
    for old in majorities(set(conf.voters)):
        assert all(old & new for new in majorities(set(after.voters)))


@given(configurations(), changes)
def test_somebody_votes_and_nobody_is_both_voter_and_learner(conf: ConfState, change: Change) -> None:
    after = changed(conf, change)
    assert after.voters
    assert not set(after.voters) & set(after.learners)
    untouched = {change.member_id}
    assert set(after.voters) - untouched == set(conf.voters) - untouched
    assert set(after.learners) - untouched == set(conf.learners) - untouched


@given(configurations(), changes)
def test_a_change_made_twice_is_made_once(conf: ConfState, change: Change) -> None:
    assert changed(changed(conf, change), change) == changed(conf, change)


@given(changes)
def test_a_change_survives_the_log(change: Change) -> None:
    assert decode_change(encode_change(change)) == change


CONF = ConfState((MemberId(1), MemberId(2)), (MemberId(3),))


@pytest.mark.parametrize(
    ("kind", "subject", "voters", "learners"),
    [
        (ChangeKind.ADD_VOTER, 4, (1, 2, 4), (3,)),
        (ChangeKind.ADD_VOTER, 3, (1, 2, 3), ()),
        (ChangeKind.ADD_LEARNER, 4, (1, 2), (3, 4)),
        (ChangeKind.ADD_LEARNER, 2, (1, 2), (3,)),
        (ChangeKind.PROMOTE, 3, (1, 2, 3), ()),
        (ChangeKind.PROMOTE, 4, (1, 2), (3,)),
        (ChangeKind.REMOVE, 2, (1,), (3,)),
        (ChangeKind.REMOVE, 3, (1, 2), ()),
        (ChangeKind.REMOVE, 9, (1, 2), (3,)),
        (ChangeKind.UPDATE, 2, (1, 2), (3,)),
    ],
)
def test_what_follows(kind: ChangeKind, subject: int, voters: tuple[int, ...], learners: tuple[int, ...]) -> None:
    after = changed(CONF, Change(kind, MemberId(subject)))
    assert (after.voters, after.learners) == (voters, learners)


def test_the_last_voter_stays() -> None:
    alone = ConfState((MemberId(1),), (MemberId(2),))
    assert changed(alone, Change(ChangeKind.REMOVE, MemberId(1))) == alone


def test_who_does_not_know_the_configuration_makes_none_up() -> None:
    """A joiner that replayed its own promotion on an empty configuration believed itself the only voter, led, and committed alone."""
    joiner = Node(4, ConfState(), 1)
    log = [
        Entry(Term(1), Index(1), encode_change(Change(ChangeKind.ADD_LEARNER, MemberId(4))), EntryKind.MEMBERSHIP),
        Entry(Term(1), Index(2), encode_change(Change(ChangeKind.PROMOTE, MemberId(4))), EntryKind.MEMBERSHIP),
    ]
    joiner.raft.step(AppendRequest(MemberId(1), MemberId(4), Term(1), Index(0), Term(0), Index(2), tuple(log)))
    [refusal] = joiner.work()
    assert isinstance(refusal, AppendReply) and not refusal.success and refusal.match_index == 0, "from the very beginning: only a snapshot will do"
    assert joiner.applied == []
    with pytest.raises(AssertionError, match="snapshot first"):
        joiner.raft.apply_change(Change(ChangeKind.PROMOTE, MemberId(4)))


def test_who_joins_is_sent_a_snapshot_although_the_log_begins_at_the_beginning() -> None:
    cluster = Cluster(1)
    leader = cluster.elect(1)
    joiner = cluster.nodes[MemberId(2)] = Node(2, ConfState(), 1)
    leader.raft.propose_change(Change(ChangeKind.ADD_VOTER, MemberId(2)))
    cluster.settle()
    assert [wanted.receiver for wanted in leader.wanted] == [2]
    assert joiner.raft.last_index == 0
    assert leader.raft.progress[MemberId(2)].sending is Sending.SNAPSHOT


def test_a_change_is_told_only_when_the_leaders_own_disk_knows_that_it_is_committed() -> None:
    """Of two members the removed one went away for good when it heard of it, and the other one forgot in a crash that it was alone."""
    cluster = Cluster(2)
    leader = cluster.elect(1)
    leader.raft.propose_change(Change(ChangeKind.REMOVE, MemberId(2)))
    told = []
    for message in leader.work():
        cluster[2].raft.step(message)
    answers = cluster[2].work()
    leader.disk_stopped = True
    for answer in answers:
        leader.raft.step(answer)
    told = [message for message in leader.work() if isinstance(message, AppendRequest) and message.leader_commit >= leader.raft.change_index]
    assert leader.raft.commit_index >= leader.raft.change_index
    assert told == []
