"""Section 5.3, log replication, and 5.5, crashes of followers and candidates."""

import pytest

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.messages import AppendReply, AppendRequest, HeartbeatReply
from kvstore.raft.ready import Role
from tests.paper.lone import FIRST, Lone, load, log_of, of, one
from tests.unit.raft.cluster import Cluster

SECOND = MemberId(2)


def append(term: int, prev: int, prev_term: int, commit: int = 0, terms: tuple[int, ...] = ()) -> AppendRequest:
    """From 2, with entries of `terms` behind `prev`."""
    entries = log_of([0] * prev + list(terms))[prev:]
    return AppendRequest(SECOND, FIRST, Term(term), Index(prev), Term(prev_term), Index(commit), tuple(entries))


def test_5_3_the_leader_appends_the_command_and_sends_it_to_all_in_parallel() -> None:
    leader = Lone(terms=[1, 1], term=1)
    leader.win()
    leader.acknowledge(2, 3)
    leader.disk_stopped = True
    leader.raft.propose([b"command"])
    requests = of(AppendRequest, leader.work())
    assert [request.receiver for request in requests] == [2, 3], "before its own disk has it"
    for request in requests:
        assert [(entry.term, entry.index, entry.data) for entry in request.entries] == [(2, 4, b"command")]
        assert (request.prev_log_index, request.prev_log_term) == (3, 2)


@pytest.mark.parametrize(
    ("size", "acknowledge", "committed"),
    [(1, (), True), (3, (), False), (3, (2,), True), (5, (4,), False), (5, (3, 5), True), (5, (2, 3, 4, 5), True)],
)
def test_5_3_an_entry_is_committed_once_a_majority_has_it(size: int, acknowledge: tuple[int, ...], committed: bool) -> None:
    leader = Lone(size)
    leader.win()
    leader.acknowledge(*range(2, size + 1))
    leader.raft.propose([b"a"])
    leader.work()
    leader.acknowledge(*acknowledge)
    assert (leader.raft.commit_index == 2) is committed
    assert ([entry.data for entry in leader.applied] == [b"", b"a"]) is committed


def test_5_3_a_learner_is_no_part_of_the_majority() -> None:
    """Section 6: new servers join as non-voting members."""
    leader = Lone(3, learners=2)
    leader.win()
    leader.acknowledge(4, 5)
    assert leader.raft.commit_index == 0
    leader.acknowledge(3)
    assert leader.raft.commit_index == 1


@pytest.mark.parametrize("terms", [[1], [2], [1, 2], [1, 1, 2]])
def test_5_3_committing_an_entry_commits_all_before_it_those_of_previous_leaders_too(terms: list[int]) -> None:
    leader = Lone(terms=terms, term=2)
    leader.win()
    leader.acknowledge(2)
    assert [entry.term for entry in leader.applied] == [*terms, 3]


@pytest.mark.parametrize("commit", [0, 1, 2, 3])
def test_5_3_a_follower_applies_what_it_learns_is_committed_in_log_order(commit: int) -> None:
    server = Lone()
    server.hear(append(1, 0, 0, commit, (1, 1, 1)))
    assert [entry.index for entry in server.applied] == list(range(1, commit + 1))


def test_5_3_the_commit_index_is_never_beyond_the_last_new_entry() -> None:
    """Figure 2, AppendEntries 5: what is behind it may not be the leader's."""
    server = Lone(terms=[1, 1, 1], term=1)
    server.hear(append(2, 1, 1, commit=3))
    assert server.raft.commit_index == 1


@pytest.mark.parametrize(("prev", "prev_term", "success"), [(0, 0, True), (1, 1, True), (2, 2, True), (1, 2, False), (2, 1, False), (3, 2, False)])
def test_5_3_a_follower_refuses_entries_whose_predecessor_it_does_not_have(prev: int, prev_term: int, success: bool) -> None:
    server = Lone(terms=[1, 2], term=2)
    reply = one(AppendReply, server.hear(append(2, prev, prev_term)))
    assert (reply.success, reply.match_index) == (success, prev)


@pytest.mark.parametrize(
    ("prev", "prev_term", "terms", "log"),
    [
        (2, 2, (3,), [1, 2, 3]),
        (1, 1, (3, 4), [1, 3, 4]),
        (0, 0, (1,), [1, 2]),
        (0, 0, (3,), [3]),
    ],
)
def test_5_3_a_conflicting_entry_and_all_that_follow_it_are_deleted(prev: int, prev_term: int, terms: tuple[int, ...], log: list[int]) -> None:
    """... but only on a conflict: an entry that is there already stays, and what follows it."""
    server = Lone(terms=[1, 2], term=2)
    server.hear(append(4, prev, prev_term, 0, terms))
    assert server.terms == log
    assert [entry.term for entry in server.storage.entries(1, server.raft.last_index, 1 << 20)] == log, "on disk, too"


FIGURE_7 = {
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("case", FIGURE_7)
def test_5_3_the_leader_makes_the_followers_logs_its_own_figure_7(case: str) -> None:
    cluster = Cluster(3)
    leaders_log = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
    load(cluster[1], leaders_log, 7)
    load(cluster[2], FIGURE_7[case], 7)
    load(cluster[3], [], 7)
    leader = cluster.elect(1)
    cluster.tick(3)
    logs = [[entry.term for entry in cluster[number].storage.entries(1, 11, 1 << 20)] for number in (1, 2, 3)]
    assert logs == [[*leaders_log, leader.raft.term]] * 3
    assert cluster[2].raft.commit_index == 11


@pytest.mark.parametrize("case", FIGURE_7)
def test_5_3_a_refusal_goes_back_over_a_whole_term_at_a_time(case: str) -> None:
    """With one rejected AppendEntries for each conflicting term, rather than one for each entry."""
    cluster = Cluster(3)
    load(cluster[1], [1, 1, 1, 4, 4, 5, 5, 6, 6, 6], 7)
    load(cluster[2], FIGURE_7[case], 7)
    refusals = []
    cluster.delivers = lambda message: not (isinstance(message, AppendReply) and not message.success and refusals.append(message))
    cluster.elect(1)
    cluster.tick(3)
    assert cluster[2].raft.commit_index == 11
    assert len([refusal for refusal in refusals if refusal.sender == 2]) <= 2


def test_5_3_a_leader_never_overwrites_or_deletes_in_its_own_log() -> None:
    """Leader append-only (figure 3), whatever the answers say."""
    leader = Lone(terms=[1, 1, 2], term=2)
    leader.win()
    for hint in (3, 1, 0):
        leader.hear(AppendReply(SECOND, FIRST, Term(3), False, Index(leader.raft.progress[SECOND].next - 1), Index(hint), Term(1)))
        assert leader.terms == [1, 1, 2, 3]


def test_5_3_the_leader_retries_indefinitely() -> None:
    """If followers crash or run slowly, or if network packets are lost, even after the client was answered."""
    leader = Lone(3)
    leader.win()
    leader.acknowledge(2, 3)
    leader.raft.propose([b"lost"])
    leader.work()
    leader.acknowledge(3)
    assert leader.raft.commit_index == 2
    for _ in range(20):
        leader.tick(1)
        sent = leader.hear(HeartbeatReply(SECOND, FIRST, Term(1)), HeartbeatReply(MemberId(3), FIRST, Term(1)))
        for request in of(AppendRequest, sent):
            # 2 lost the append: it refuses what builds on it, and is then sent it again.
            if request.receiver == 2 and request.prev_log_index > 1:
                sent += leader.hear(AppendReply(SECOND, FIRST, Term(1), False, request.prev_log_index, Index(1), Term(1)))
        assert [request for request in of(AppendRequest, sent) if request.receiver == 2]


def test_5_5_a_request_that_comes_twice_does_no_harm() -> None:
    server = Lone()
    first, second = append(1, 0, 0, 0, (1, 1)), append(1, 2, 1, 2, (1,))
    for request in (first, second, first, second, first):
        assert one(AppendReply, server.hear(request)).success
        assert server.raft.role is Role.FOLLOWER
    assert server.terms == [1, 1, 1]
    assert [entry.index for entry in server.applied] == [1, 2]


def test_5_3_an_acknowledgement_waits_for_the_disk() -> None:
    """Figure 2: the log is persistent state, updated before responding."""
    server = Lone()
    server.disk_stopped = True
    assert not of(AppendReply, server.hear(append(1, 0, 0, 1, (1,))))
    assert not server.applied
    server.crash()
    assert server.terms == []
