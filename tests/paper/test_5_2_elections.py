"""Section 5.1, Raft basics, and 5.2, leader election."""

import pytest

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.core import Proposed
from kvstore.raft.messages import AppendReply, AppendRequest, Heartbeat, VoteReply, VoteRequest
from kvstore.raft.ready import Role
from tests.paper.lone import FIRST, Lone, of, one

ROLES = [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER]
SECOND, THIRD = MemberId(2), MemberId(3)


@pytest.mark.parametrize("role", ROLES)
def test_5_1_a_larger_term_is_taken_over_and_makes_a_follower_of_everybody(role: Role) -> None:
    """If one server's current term is smaller than the other's, then it updates its current term to the larger value. If a candidate or leader
    discovers that its term is out of date, it immediately reverts to follower state."""
    server = Lone()
    server.become(role)
    server.hear(AppendRequest(THIRD, FIRST, Term(7), Index(0), Term(0), Index(0)))
    assert (server.raft.term, server.raft.role, server.raft.leader) == (7, Role.FOLLOWER, THIRD)
    assert server.storage.hard_state().term == 7


@pytest.mark.parametrize("role", ROLES)
def test_5_1_a_request_with_a_stale_term_is_rejected(role: Role) -> None:
    server = Lone(terms=[1, 4], term=4)
    server.become(role)
    before = (server.raft.term, server.raft.role, server.terms)
    stale = AppendRequest(THIRD, FIRST, Term(2), Index(0), Term(0), Index(0), ())
    assert not one(AppendReply, server.hear(stale)).success
    answers = server.hear(VoteRequest(THIRD, FIRST, Term(2), Index(9), Term(2)))
    assert not [reply for reply in of(VoteReply, answers) if reply.granted]
    assert (server.raft.term, server.raft.role, server.terms) == before


def test_5_2_when_servers_start_up_they_begin_as_followers() -> None:
    server = Lone(terms=[1, 1], term=3)
    assert (server.raft.role, server.raft.term, server.raft.leader) == (Role.FOLLOWER, 3, 0)


def test_5_2_a_server_remains_follower_as_long_as_it_hears_a_leader() -> None:
    server = Lone()
    for _ in range(50):
        server.hear(Heartbeat(SECOND, FIRST, Term(1), Index(0)))
        server.tick(server.raft.config.election_ticks - 1)
    assert (server.raft.role, server.raft.term) == (Role.FOLLOWER, 1)


def test_5_2_a_leader_sends_periodic_heartbeats_to_all_followers() -> None:
    leader = Lone(5)
    leader.win()
    leader.acknowledge(2, 3, 4, 5)
    for _ in range(3):
        beats = of(Heartbeat, leader.tick(leader.raft.config.heartbeat_ticks))
        assert [beat.receiver for beat in beats] == [2, 3, 4, 5]
        leader.acknowledge(2, 3, 4, 5)


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_5_2_to_begin_an_election_increments_the_term_votes_for_itself_and_asks_everybody(role: Role) -> None:
    """A candidate does so too, when its election has come to nothing (split vote)."""
    server = Lone(5, terms=[1, 1], term=1)
    server.become(role)
    term = server.raft.term
    asked = of(VoteRequest, server.campaign())
    assert server.raft.role is Role.CANDIDATE
    assert (server.raft.term, server.raft.vote) == (term + 1, server.id)
    assert [(request.receiver, request.term, request.last_log_index, request.last_log_term) for request in asked] == [
        (receiver, term + 1, 2, 1) for receiver in (2, 3, 4, 5)
    ]
    assert (server.storage.hard_state().term, server.storage.hard_state().vote) == (term + 1, server.id)


@pytest.mark.parametrize(
    ("size", "granted", "refused", "role"),
    [
        (1, 0, 0, Role.LEADER),
        (3, 2, 0, Role.LEADER),
        (3, 1, 0, Role.LEADER),
        (3, 0, 0, Role.CANDIDATE),
        (3, 0, 1, Role.CANDIDATE),
        (5, 2, 0, Role.LEADER),
        (5, 2, 2, Role.LEADER),
        (5, 1, 1, Role.CANDIDATE),
        (5, 1, 3, Role.FOLLOWER),
        (5, 0, 4, Role.FOLLOWER),
        (5, 0, 0, Role.CANDIDATE),
    ],
)
def test_5_2_a_candidate_wins_with_votes_from_a_majority_of_the_full_cluster(size: int, granted: int, refused: int, role: Role) -> None:
    server = Lone(size)
    server.campaign()
    votes = [True] * granted + [False] * refused
    server.hear(*[VoteReply(MemberId(sender), FIRST, Term(1), vote) for sender, vote in enumerate(votes, 2)])
    assert (server.raft.role, server.raft.term) == (role, 1)


def test_5_2_the_same_vote_twice_is_one_vote() -> None:
    server = Lone(5)
    server.campaign()
    server.hear(*[VoteReply(SECOND, FIRST, Term(1), True)] * 3)
    assert server.raft.role is Role.CANDIDATE


@pytest.mark.parametrize(("vote", "asks", "granted"), [(0, 2, True), (0, 3, True), (2, 2, True), (3, 3, True), (2, 3, False), (3, 2, False)])
def test_5_2_each_server_votes_for_at_most_one_candidate_a_term_first_come_first_served(vote: int, asks: int, granted: bool) -> None:
    server = Lone(term=1, vote=vote)
    reply = one(VoteReply, server.hear(VoteRequest(MemberId(asks), FIRST, Term(1), Index(0), Term(0))))
    assert reply.granted is granted
    assert server.storage.hard_state().vote == (asks if granted else vote)


def test_5_2_a_vote_is_remembered_over_a_crash() -> None:
    """Figure 2: votedFor is updated on stable storage before responding."""
    server = Lone()
    server.disk_stopped = True
    assert not of(VoteReply, server.hear(VoteRequest(SECOND, FIRST, Term(1), Index(0), Term(0)))), "not before the disk has it"
    server.crash()
    server.disk_stopped = False
    assert one(VoteReply, server.hear(VoteRequest(SECOND, FIRST, Term(1), Index(0), Term(0)))).granted
    server.crash()
    assert not one(VoteReply, server.hear(VoteRequest(THIRD, FIRST, Term(1), Index(9), Term(1)))).granted


@pytest.mark.parametrize(("term", "role"), [(0, Role.CANDIDATE), (1, Role.FOLLOWER), (2, Role.FOLLOWER)])
def test_5_2_a_candidate_recognizes_a_leader_whose_term_is_at_least_as_large(term: int, role: Role) -> None:
    server = Lone()
    server.campaign()
    server.hear(AppendRequest(SECOND, FIRST, Term(term), Index(0), Term(0), Index(0)))
    assert (server.raft.role, server.raft.term) == (role, max(term, 1))


def test_5_2_after_winning_heartbeats_prevent_new_elections_at_once() -> None:
    server = Lone(5)
    assert [beat.receiver for beat in of(Heartbeat, server.win())] == [2, 3, 4, 5]


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_5_2_election_timeouts_are_chosen_randomly_from_a_fixed_interval(role: Role) -> None:
    server = Lone()
    seen = set()
    for _ in range(300):
        server.become(role)
        seen.add(server.raft.election_timeout)
    low = server.raft.config.election_ticks
    assert seen == set(range(low, 2 * low))


def test_5_2_split_votes_are_rare() -> None:
    """Each server draws its own timeout, so that in most cases only a single one times out first."""
    rivals = 0
    for seed in range(300):
        timeouts = sorted(Lone(seed=seed * 3 + number).raft.election_timeout for number in range(3))
        rivals += timeouts[0] == timeouts[1]
    # Ten values for three servers: the first two meet in about 15 of 100 cases.
    assert rivals < 75


def test_5_1_a_follower_does_not_take_what_only_a_leader_may() -> None:
    server = Lone()
    assert server.raft.propose([b"a"]) is Proposed.NO_LEADER
    server.become(Role.FOLLOWER)
    assert server.raft.propose_as_leader([b"a"]) is Proposed.NO_LEADER
    assert server.terms == []
