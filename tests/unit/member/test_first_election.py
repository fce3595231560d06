"""What a start does not wait for, and what it still waits for."""

from kvstore.ids import NOBODY, MemberId
from kvstore.member.first_election import FirstElection
from kvstore.raft.messages import Heartbeat
from kvstore.raft.ready import Role
from tests.unit.member.test_member import Alone
from tests.unit.raft.cluster import Cluster, Node

FIRST, SECOND, THIRD = MemberId(1), MemberId(2), MemberId(3)


def ticks_until_campaign(node: Node) -> int:
    ticks = 0
    while node.raft.role is Role.FOLLOWER:
        node.raft.tick()
        ticks += 1
    return ticks


def test_the_only_voter_leads_and_is_ready_before_any_time_passes() -> None:
    alone = Alone(first_election_early=True)
    alone.pump()
    assert alone.member.is_leader
    assert alone.member.is_ready


def test_the_first_of_the_founders_campaigns_when_it_can_talk_to_a_majority_both_ways() -> None:
    cluster = Cluster(3)
    election = FirstElection(cluster[1].raft, wanted=True)
    election.reached(SECOND)
    election.heard(THIRD)
    assert cluster[1].raft.role is Role.FOLLOWER
    election.heard(SECOND)
    assert cluster[1].raft.role is Role.PRE_CANDIDATE
    cluster.settle()
    assert [cluster[number].raft.leader for number in (1, 2, 3)] == [FIRST] * 3


def test_a_peer_that_was_lost_again_is_nobody_to_talk_to() -> None:
    cluster = Cluster(3)
    election = FirstElection(cluster[1].raft, wanted=True)
    election.reached(SECOND)
    election.lost(SECOND)
    election.heard(SECOND)
    assert cluster[1].raft.role is Role.FOLLOWER


def test_the_other_founders_and_who_starts_again_wait_for_a_leader_but_not_for_long() -> None:
    cluster = Cluster(3)
    second = cluster[2]
    election = FirstElection(second.raft, wanted=True)
    election.reached(FIRST)
    election.heard(FIRST)
    assert second.raft.election_elapsed == 0
    election.reached(THIRD)
    timeout = second.raft.election_timeout
    assert ticks_until_campaign(second) == timeout - (second.raft.config.election_ticks - 2)


def test_who_starts_again_in_a_cluster_that_had_leaders_does_not_campaign_at_once() -> None:
    cluster = Cluster(3)
    cluster[2].raft.campaign()
    cluster.settle()
    cluster[1].crash()
    assert cluster[1].raft.term == 1
    election = FirstElection(cluster[1].raft, wanted=True)
    for peer in (SECOND, THIRD):
        election.reached(peer)
        election.heard(peer)
    assert cluster[1].raft.role is Role.FOLLOWER
    assert cluster[1].raft.election_elapsed == cluster[1].raft.config.election_ticks - 2


def test_who_hears_a_leader_has_nothing_to_hurry_for() -> None:
    cluster = Cluster(3)
    election = FirstElection(cluster[1].raft, wanted=True)
    cluster[2].raft.campaign()
    cluster.settle()
    assert cluster[1].raft.leader == SECOND
    for peer in (SECOND, THIRD):
        election.reached(peer)
        election.heard(peer)
    assert cluster[1].raft.role is Role.FOLLOWER
    assert (cluster[1].raft.leader, cluster[1].raft.election_elapsed) == (SECOND, 0)


def test_without_the_flag_the_first_election_waits_its_whole_time() -> None:
    cluster = Cluster(3)
    election = FirstElection(cluster[1].raft, wanted=False)
    for peer in (SECOND, THIRD):
        election.reached(peer)
        election.heard(peer)
    timeout = cluster[1].raft.election_timeout
    assert timeout >= cluster[1].raft.config.election_ticks
    assert ticks_until_campaign(cluster[1]) == timeout
    alone = Alone()
    alone.pump()
    assert alone.member.leader == NOBODY


def test_a_leader_greets_who_is_connected_again_and_goes_on_from_where_its_log_ends() -> None:
    cluster = Cluster(3)
    cluster[1].raft.campaign()
    cluster.settle()
    cluster.delivers = lambda message: THIRD not in (message.sender, message.receiver)
    cluster[1].raft.propose([b"missed"])
    cluster.settle()
    cluster[1].raft.report_unreachable(THIRD)
    cluster.settle()
    cluster.delivers = lambda message: True
    cluster.settle()
    assert cluster[3].raft.last_index < cluster[1].raft.last_index
    cluster[1].raft.report_connected(THIRD)
    assert [type(message) for message in cluster[1].raft.messages] == [Heartbeat]
    cluster.settle()
    assert cluster[3].raft.last_index == cluster[1].raft.last_index
    assert cluster[3].applied[-1].data == b"missed"
