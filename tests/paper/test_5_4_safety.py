"""Section 5.4, safety; 6, membership; 7, compaction; 8, clients."""

import pytest

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.core import Proposed
from kvstore.raft.membership import Change, ChangeKind
from kvstore.raft.messages import AppendReply, AppendRequest, Heartbeat, HeartbeatReply, InstallSnapshot, SnapshotMeta, VoteReply, VoteRequest
from kvstore.raft.ready import Role
from tests.paper.lone import FIRST, Lone, of, one

SECOND, THIRD = MemberId(2), MemberId(3)


@pytest.mark.parametrize(
    ("terms", "last_index", "last_term", "granted"),
    [
        ([1], 1, 1, True),
        ([1], 2, 1, True),
        ([1, 1], 1, 1, False),
        ([1], 1, 2, True),
        ([1], 2, 2, True),
        ([1, 1], 1, 2, True),
        ([2], 1, 1, False),
        ([2], 2, 1, False),
        ([2, 2], 1, 1, False),
        ([1, 1], 3, 1, True),
    ],
)
def test_5_4_1_the_vote_is_denied_if_the_voters_log_is_more_up_to_date(terms: list[int], last_index: int, last_term: int, granted: bool) -> None:
    """Later last term first; with equal terms, the longer log."""
    server = Lone(terms=terms, term=2)
    reply = one(VoteReply, server.hear(VoteRequest(SECOND, FIRST, Term(3), Index(last_index), Term(last_term))))
    assert reply.granted is granted


@pytest.mark.parametrize(("match", "commit"), [(1, 0), (2, 0), (3, 3)])
def test_5_4_2_only_entries_of_the_current_term_are_committed_by_counting(match: int, commit: int) -> None:
    """Log [1, 2 | 3]: however many hold the entries of terms 1 and 2, they are committed only together with one of term 3 (figure 8)."""
    leader = Lone(terms=[1, 2], term=2)
    leader.win()
    leader.hear(*[AppendReply(voter, FIRST, Term(3), True, Index(match)) for voter in (SECOND, THIRD)])
    assert leader.raft.commit_index == commit


def test_6_a_server_disregards_vote_requests_when_it_believes_a_leader_exists() -> None:
    """... within the minimum election timeout of hearing from it: removed servers cannot disrupt the cluster. The term is not touched either."""
    server = Lone()
    server.become(Role.FOLLOWER)
    term = server.raft.term
    request = VoteRequest(THIRD, FIRST, Term(term + 1), Index(9), Term(term))
    server.tick(server.raft.config.election_ticks - 1)
    assert not of(VoteReply, server.hear(request))
    assert server.raft.term == term
    server.raft.election_elapsed = server.raft.config.election_ticks
    assert one(VoteReply, server.hear(request)).granted


def test_6_a_removed_leader_steps_down_once_its_removal_is_committed() -> None:
    """Until then it manages a cluster without itself: it replicates the entry, and here is not in the new majority."""
    leader = Lone(3)
    leader.win()
    leader.acknowledge(2, 3)
    leader.raft.propose_change(Change(ChangeKind.REMOVE, FIRST))
    leader.work()
    assert leader.raft.role is Role.LEADER
    leader.acknowledge(2)
    assert leader.raft.role is Role.FOLLOWER
    leader.tick(100)
    assert leader.raft.role is Role.FOLLOWER, "who is no member does not campaign"


def test_6_a_new_server_catches_up_before_it_votes() -> None:
    leader = Lone(3)
    leader.win()
    leader.acknowledge(2, 3)
    leader.raft.propose_change(Change(ChangeKind.ADD_LEARNER, MemberId(4)))
    leader.work()
    leader.acknowledge(2)
    leader.raft.propose([b"a"])
    assert [request.receiver for request in of(AppendRequest, leader.work())] == [2, 4] or leader.raft.progress[MemberId(4)].paused
    leader.acknowledge(4)
    assert leader.raft.commit_index == 2, "its answer does not commit"


def _snapshot(index: int, term: int, leader_term: int = 3) -> InstallSnapshot:
    meta = SnapshotMeta(Index(index), Term(term), Lone().raft.conf)
    return InstallSnapshot(SECOND, FIRST, Term(leader_term), meta, 0, 5, b"state", True)


def test_7_a_snapshot_replaces_a_log_that_does_not_reach_it() -> None:
    server = Lone(terms=[1, 1], term=1)
    replies = server.hear(_snapshot(5, 2))
    assert one(AppendReply, replies).match_index == 5
    assert server.chunks == [b"state"]
    assert (server.raft.last_index, server.raft.commit_index) == (5, 5)


def test_7_a_snapshot_of_a_prefix_keeps_the_entries_that_follow_it() -> None:
    """Figure 13, 6: if an existing entry has the same index and term as the snapshot's last one, what follows it is retained."""
    server = Lone(terms=[1, 1, 2], term=2)
    assert one(AppendReply, server.hear(_snapshot(2, 1))).match_index == 2
    assert server.terms == [1, 1, 2]
    assert server.chunks == []


def test_7_a_snapshot_of_another_past_discards_the_log() -> None:
    server = Lone(terms=[1, 1, 1, 1], term=1)
    server.hear(_snapshot(3, 2))
    assert (server.raft.last_index, server.raft.log.last_term) == (3, 2)
    assert server.raft.log.term_at(4) is None


def test_8_a_leader_commits_a_blank_entry_at_the_start_of_its_term() -> None:
    leader = Lone(terms=[1], term=1)
    requests = of(AppendRequest, leader.win())
    assert [entry.data for entry in requests[0].entries] == [b""]
    leader.acknowledge(2)
    assert leader.raft.commit_index == 2


def test_8_a_read_waits_until_the_leader_has_committed_in_its_term() -> None:
    leader = Lone(terms=[1], term=1)
    leader.win()
    leader.raft.read_index(1)
    leader.work()
    leader.hear(*[HeartbeatReply(voter, FIRST, Term(2), leader.raft.rounds.last_number) for voter in (SECOND, THIRD)])
    assert leader.reads == []
    leader.acknowledge(2, 3)
    number = leader.raft.rounds.last_number
    leader.hear(HeartbeatReply(SECOND, FIRST, Term(2), number))
    assert [(read.context, read.index) for read in leader.reads] == [(1, 2)]


def test_8_a_read_waits_for_heartbeats_with_a_majority_sent_after_it_came() -> None:
    leader = Lone(5)
    leader.win()
    leader.acknowledge(2, 3, 4, 5)
    before = leader.raft.rounds.last_number
    leader.raft.read_index(1)
    beats = of(Heartbeat, leader.work())
    assert {beat.read_round for beat in beats} == {before + 1}
    leader.hear(*[HeartbeatReply(MemberId(voter), FIRST, Term(1), before) for voter in (2, 3, 4, 5)])
    assert leader.reads == [], "answers to earlier heartbeats say nothing"
    leader.hear(HeartbeatReply(SECOND, FIRST, Term(1), before + 1))
    assert leader.reads == [], "two of five are no majority"
    leader.hear(HeartbeatReply(THIRD, FIRST, Term(1), before + 1))
    assert [read.context for read in leader.reads] == [1]


def test_8_a_leader_without_a_quorum_does_not_serve_for_ever() -> None:
    """Section 6.2 of the dissertation: it steps down when an election timeout passes without a round of heartbeats."""
    leader = Lone(3)
    leader.win()
    leader.acknowledge(2, 3)
    leader.raft.read_index(1)
    leader.tick(2 * leader.raft.config.election_ticks)
    assert leader.raft.role is not Role.LEADER
    assert (leader.reads, leader.failed_reads) == ([], [1])
    assert leader.raft.propose([b"a"]) is Proposed.NO_LEADER
