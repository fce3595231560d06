"""The leader: what it must not send too often, and clocks that must not disturb each other."""

import pytest

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.core import Proposed
from kvstore.raft.messages import AppendReply, AppendRequest, ForwardProposals
from kvstore.raft.progress import Sending
from kvstore.raft.ready import Role
from tests.unit.raft.cluster import Cluster


def appends_to(cluster: Cluster, receiver: int) -> list[AppendRequest]:
    """Collects, from now on, what is sent to `receiver`."""
    seen: list[AppendRequest] = []

    def delivers(message: object) -> bool:
        if isinstance(message, AppendRequest) and message.receiver == receiver:
            seen.append(message)
        return True

    cluster.delivers = delivers
    return seen


def test_nothing_proposed_is_nothing_appended() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    last = leader.raft.last_index
    assert leader.raft.propose([]) is Proposed.ACCEPTED
    leader.raft.step(ForwardProposals(MemberId(2), MemberId(1), leader.raft.term, ()))
    cluster.settle()
    assert leader.raft.last_index == last


def test_that_only_the_commit_index_is_new_is_told_and_not_answered() -> None:
    """The answer said nothing, and cost a lone client's put a turn of every event loop."""
    cluster = Cluster(3)
    leader = cluster.elect(1)
    sent = appends_to(cluster, 3)
    leader.raft.propose([b"x"])
    cluster.settle()
    assert [(len(append.entries), append.answer_wanted) for append in sent] == [(1, True), (0, False)]
    assert cluster[3].raft.commit_index == leader.raft.commit_index


def test_a_lost_answer_is_asked_for_although_there_is_nothing_new_to_tell() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.delivers = lambda message: not (isinstance(message, AppendReply) and message.sender == 3)
    leader.raft.propose([b"x"])
    cluster.settle()
    assert leader.raft.progress[MemberId(3)].match < leader.raft.last_index
    sent = appends_to(cluster, 3)
    for _ in range(leader.raft.config.heartbeat_ticks):
        leader.raft.tick()
    cluster.settle()
    assert any(append.answer_wanted for append in sent)
    assert leader.raft.progress[MemberId(3)].match == leader.raft.last_index


def _read_often(cluster: Cluster, times: int) -> None:
    for context in range(1, times + 1):
        cluster[1].raft.read_index(context)
        cluster.settle()
    assert len(cluster[1].reads) == times, "every read had a round of its own, or this test shows nothing"


def test_rounds_of_reads_do_not_send_a_probed_follower_the_same_entries_again_and_again() -> None:
    """Every answer to a heartbeat once let another probe out: 200 rounds of reads sent a follower with a slow disk the same megabyte 200 times."""
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster[3].disk_stopped = True
    leader.raft.report_unreachable(MemberId(3))
    sent = appends_to(cluster, 3)
    leader.raft.propose([b"x" * 1000])
    cluster.settle()
    _read_often(cluster, 50)
    assert len(sent) <= 2, "the probe, and one again for the tick's heartbeat"


def test_rounds_of_reads_do_not_ask_a_slow_follower_again_and_again_what_it_has() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster[3].disk_stopped = True
    sent = appends_to(cluster, 3)
    leader.raft.propose([b"x" * 1000])
    cluster.settle()
    _read_often(cluster, 50)
    assert len(sent) <= 3, "the entry, the commit index, and one question for the tick's heartbeat"


@pytest.mark.parametrize("unreachable", [False, True])
def test_a_lost_append_is_made_good_with_the_next_heartbeat_although_reads_go_on(unreachable: bool) -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    if unreachable:
        leader.raft.report_unreachable(MemberId(3))
    cluster.delivers = lambda message: not (isinstance(message, AppendRequest) and message.receiver == 3)
    leader.raft.propose([b"x"])
    cluster.settle()
    _read_often(cluster, 5)
    cluster.heal()
    cluster.tick(2)
    assert cluster[3].raft.last_index == leader.raft.last_index


def test_a_leader_cut_off_steps_down_however_often_it_is_asked_to_hand_over() -> None:
    """Each order once began the period of check-quorum anew: whoever asked often enough kept a leader without followers in office."""
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.cut_off(1)
    for _ in range(10):
        leader.raft.transfer_leadership(MemberId(2))
        for _ in range(5):
            leader.raft.tick()
        cluster.settle()
    assert leader.raft.role is not Role.LEADER


def test_a_transfer_that_is_not_taken_up_is_over_an_election_timeout_after_it_began() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    ticks = leader.raft.config.election_ticks
    cluster.delivers = lambda message: message.receiver != 2
    for _ in range(ticks - 3):
        leader.raft.tick()  # so that the period of check-quorum ends soon after the order
    cluster.settle()
    leader.raft.propose([b"not at 2"])
    assert leader.raft.transfer_leadership(MemberId(2))
    for _ in range(ticks - 1):
        leader.raft.tick()
        cluster.settle()
        assert leader.raft.propose([b"meanwhile"]) is Proposed.TRANSFERRING
    leader.raft.tick()
    assert leader.raft.propose([b"afterwards"]) is Proposed.ACCEPTED
    assert leader.raft.role is Role.LEADER


def test_an_answer_beyond_our_log_is_none_to_us() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    before = leader.raft.progress[MemberId(2)].match
    leader.raft.step(AppendReply(MemberId(2), MemberId(1), Term(leader.raft.term), True, Index(leader.raft.last_index + 1)))
    assert leader.raft.progress[MemberId(2)].match == before


def test_a_log_that_is_cut_while_it_is_read_makes_a_follower_need_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.cut_off(3)
    leader.raft.propose([b"x"])
    cluster.settle()
    cluster.heal()
    leader.raft.report_unreachable(MemberId(3))
    monkeypatch.setattr(leader.raft.log, "entries", lambda *_: ())
    cluster.settle()
    assert leader.raft.progress[MemberId(3)].sending is Sending.SNAPSHOT
