"""The core in a cluster of bare nodes: what each role owes, one rule a test."""

from msgspec import structs

from kvstore.ids import MemberId
from kvstore.raft.core import Proposed
from kvstore.raft.membership import Change, ChangeKind
from kvstore.raft.messages import AppendReply, AppendRequest, Entry, Heartbeat, SnapshotMeta
from kvstore.raft.ready import Role
from tests.unit.raft.cluster import Cluster


def data(node) -> list[bytes]:
    return [entry.data for entry in node.applied if entry.data and entry.kind == 0]


def test_a_cluster_elects_one_leader_and_replicates():
    cluster = Cluster(3)
    cluster.tick(40)
    leaders = [node for node in cluster.nodes.values() if node.raft.role is Role.LEADER]
    assert len(leaders) == 1
    assert leaders[0].raft.propose([b"a", b"b"]) is Proposed.ACCEPTED
    cluster.settle()
    assert all(data(node) == [b"a", b"b"] for node in cluster.nodes.values())


def test_a_single_member_leads_and_commits_alone():
    cluster = Cluster(1)
    cluster.tick(30)
    cluster[1].raft.propose([b"a"])
    cluster[1].raft.read_index(7)
    cluster.settle()
    assert data(cluster[1]) == [b"a"]
    assert [read.context for read in cluster[1].reads] == [7]


def test_a_follower_forwards_proposals_and_reads():
    cluster = Cluster(3)
    cluster.elect(1)
    assert cluster[2].raft.propose([b"x"]) is Proposed.FORWARDED
    cluster[3].raft.read_index(5)
    cluster.settle()
    assert data(cluster[3]) == [b"x"]
    assert [read.context for read in cluster[3].reads] == [5]


def test_nothing_is_committed_or_read_without_a_quorum():
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.cut_off(1)
    leader.raft.propose([b"lost"])
    leader.raft.read_index(1)
    cluster.settle()
    assert data(leader) == []
    assert leader.reads == []
    cluster.tick(30)
    assert leader.raft.role is not Role.LEADER, "check-quorum: a leader that hears nobody steps down"
    assert leader.failed_reads == [1]


def test_a_deposed_leaders_uncommitted_entries_are_replaced():
    cluster = Cluster(3)
    cluster.elect(1).raft.propose([b"kept"])
    cluster.settle()
    cluster.cut_off(1)
    cluster[1].raft.propose([b"lost 1", b"lost 2"])
    cluster.settle()
    cluster.elect(2).raft.propose([b"new"])
    cluster.settle()
    cluster.heal()
    cluster.tick(30)
    assert all(data(node) == [b"kept", b"new"] for node in cluster.nodes.values())


def test_the_leader_counts_itself_only_when_its_disk_has_the_entry():
    cluster = Cluster(3)
    leader = cluster.elect(1)
    leader.disk_stopped = True
    cluster[3].disk_stopped = True
    leader.raft.propose([b"a"])
    cluster.settle()
    assert leader.raft.commit_index < leader.raft.last_index, "one disk of three is no majority"


def test_a_partitioned_member_does_not_disturb_when_it_comes_back():
    cluster = Cluster(3)
    cluster.elect(1)
    term = cluster[1].raft.term
    cluster.cut_off(3)
    cluster.tick(100)
    assert cluster[3].raft.term == term, "pre-vote: no term is spent on campaigns that cannot be won"
    cluster.heal()
    cluster.tick(30)
    assert cluster[1].raft.role is Role.LEADER
    assert cluster[1].raft.term == term


def test_leadership_is_transferred_at_once():
    cluster = Cluster(3)
    cluster.elect(1)
    assert cluster[1].raft.transfer_leadership(MemberId(2))
    assert cluster[1].raft.propose([b"x"]) is Proposed.TRANSFERRING
    cluster.settle()
    assert cluster[2].raft.role is Role.LEADER
    assert cluster[1].raft.leader == 2


def test_a_late_duplicate_of_an_append_takes_nothing_back():
    cluster = Cluster(3)
    leader = cluster.elect(1)
    leader.raft.propose([b"a"])
    cluster.settle()
    old = AppendRequest(MemberId(1), MemberId(2), leader.raft.term, leader.raft.last_index - 1, leader.raft.term, leader.raft.commit_index, ())
    cluster[2].raft.log.commit = 0  # even a follower that does not know of the commit must keep what it acknowledged
    leader.raft.propose([b"b"])
    cluster.settle()
    last = cluster[2].raft.last_index
    cluster[2].raft.step(old)
    cluster.settle()
    assert cluster[2].raft.last_index == last


def test_membership_changes_one_at_a_time():
    cluster = Cluster(3)
    leader = cluster.elect(1)
    assert leader.raft.propose_change(Change(ChangeKind.ADD_LEARNER, MemberId(4))) is Proposed.ACCEPTED
    assert leader.raft.propose_change(Change(ChangeKind.REMOVE, MemberId(3))) is Proposed.REFUSED
    cluster.settle()
    assert leader.raft.conf.learners == (4,)
    assert leader.raft.propose_change(Change(ChangeKind.REMOVE, MemberId(3))) is Proposed.ACCEPTED
    cluster.settle()
    assert leader.raft.conf.voters == (1, 2)


def test_a_removed_leader_steps_down_and_the_rest_goes_on():
    cluster = Cluster(3)
    leader = cluster.elect(1)
    leader.raft.propose_change(Change(ChangeKind.REMOVE, MemberId(1)))
    cluster.settle()
    assert leader.raft.role is Role.FOLLOWER
    cluster.tick(60)
    assert any(cluster[number].raft.role is Role.LEADER for number in (2, 3))
    assert leader.raft.role is Role.FOLLOWER


class _Source:
    def __init__(self, meta: SnapshotMeta, content: bytes) -> None:
        self.meta, self.content, self.total_bytes = meta, content, len(content)

    def read(self, offset: int, size: int) -> bytes:
        return self.content[offset : offset + min(size, 10)]


def test_a_follower_behind_the_log_gets_a_snapshot_in_chunks():
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.cut_off(3)
    for number in range(20):
        leader.raft.propose([b"%d" % number])
    cluster.settle()
    meta = SnapshotMeta(leader.raft.commit_index, leader.raft.term, leader.raft.conf)
    leader.storage.cut(meta)
    leader.raft.log._tail.clear()
    leader.raft.log.offset = meta.index + 1
    cluster.heal()
    wanted = []
    for _ in range(30):
        cluster.tick()
        wanted += leader.wanted
        if leader.raft.progress[3].sending.value == "snapshot":
            break
    leader.raft.snapshot_ready(MemberId(3), _Source(meta, b"a state of thirty-five bytes or so"))
    cluster.tick(3)
    assert b"".join(cluster[3].chunks) == b"a state of thirty-five bytes or so"
    assert cluster[3].raft.commit_index >= meta.index
    leader.raft.propose([b"after"])
    cluster.settle()
    assert data(cluster[3])[-1] == b"after"


def test_a_refusal_from_the_past_changes_nothing():
    cluster = Cluster(3)
    leader = cluster.elect(1)
    leader.raft.propose([b"a"])
    cluster.settle()
    before = leader.raft.progress[2].next
    leader.raft.step(AppendReply(MemberId(2), MemberId(1), leader.raft.term, False, 1, 0, 0))
    assert leader.raft.progress[2].next == before


def test_a_crash_before_the_sync_forgets_and_the_cluster_does_not():
    cluster = Cluster(3)
    leader = cluster.elect(1)
    leader.raft.propose([b"a"])
    cluster.settle()
    cluster[2].crash()
    cluster.tick(5)
    assert data(cluster[2]) == [b"a"]
    assert isinstance(cluster[2].applied[0], Entry)


def test_reads_that_waited_for_a_round_are_answered_when_everybody_else_has_left():
    cluster = Cluster(2)
    leader = cluster.elect(1)
    leader.raft.propose_change(Change(ChangeKind.REMOVE, MemberId(2)))
    # Heartbeats of read rounds are lost, so rounds pile up until some reads wait without one.
    cluster.delivers = lambda message: not isinstance(message, Heartbeat)
    for context in range(1, 20):
        leader.raft.read_index(context)
        cluster.network += leader.work()
    assert leader.raft.rounds.waiting
    cluster.settle()
    assert leader.raft.conf.voters == (1,)
    assert [read.context for read in leader.reads] == list(range(1, 20))


def test_more_that_is_committed_than_one_ready_holds_is_given_out_without_further_input() -> None:
    """A core that has nothing more to say is not looked through again until the next input: it must not think so too early."""
    cluster = Cluster(1)
    leader = cluster.elect(1)
    leader.raft.config = structs.replace(leader.raft.config, committed_bytes_max=1)
    leader.raft.propose([b"a", b"b", b"c"])
    ready = leader.raft.ready()
    assert ready is not None and ready.mark is not None
    leader.storage.append(ready.entries, ready.hard_state)
    leader.raft.persisted(ready.mark)
    given_out = []
    while (ready := leader.raft.ready()) is not None:
        given_out += [entry.data for entry in ready.committed]
    assert given_out == [b"a", b"b", b"c"]
    assert leader.raft.ready() is None
