"""Members come and go while clients write and processes die: nothing acknowledged is lost, nobody who was removed comes back."""

import shutil
from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.cluster.growing import add, asked, listed, prepared, promote, remove
from tests.cluster.load import Load
from tests.cluster.promises import check_history, check_same_everywhere
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster, wait_until
from tests.support.tls import TlsFiles

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

AT_ONCE = ["--strict-reconfig-check=false"]
"""Changes need not wait until everybody has been connected for five seconds."""


def test_growing_to_five_and_back_while_members_are_killed(tmp_path: Path, files: TlsFiles) -> None:
    with Cluster(kinds.subject(), tmp_path, 1, files, AT_ONCE) as cluster, Load(cluster, clients=4) as load:
        for number in range(2, 6):
            load.wait_for_answers(50)
            learner = number == 4
            joined = add(cluster, f"m{number}", learner=learner)
            load.members = list(cluster)
            if learner:
                joined.kill()
                joined.restart()
                promote(cluster, joined)
            if number % 2:
                victim = cluster.leader()
                victim.kill()
                load.wait_for_answers(20)
                victim.restart()
        assert len(listed(cluster)) == 5
        load.wait_for_answers(100)
        while len(cluster.members) > 1:
            victim = cluster.leader() if len(cluster.members) % 2 else cluster.followers()[0]
            remove(cluster, victim)
            load.members = list(cluster)
            load.wait_for_answers(20)
            if len(cluster.members) == 3:
                cluster[0].kill()
                load.wait_for_answers(20)
                cluster[0].restart()
        # Alone now, and it must know that even if it is killed in this moment.
        cluster[0].kill()
        cluster[0].restart()
        load.wait_for_answers(50)
        assert len(listed(cluster)) == 1
        load.__exit__(None, None, None)
        cluster.wait_healthy()
        check_history(load, cluster)


def test_a_dead_member_is_replaced(tmp_path: Path) -> None:
    kind = kinds.subject()
    with Cluster(kind, tmp_path, 3, None, [*AT_ONCE, *kind.short_log(snapshot_count=100, catch_up_entries=20)]) as cluster:
        wire = Wire(cluster[0].endpoint)
        for number in range(200):
            wire.ask(pb.PutRequest(key=b"key/%d" % number, value=b"%d" % number))
        dead = cluster[2]
        dead.kill()
        shutil.rmtree(dead.data)
        remove(cluster, dead)
        add(cluster, "m4")
        assert wire.ask(pb.RangeRequest(key=b"key/", range_end=b"key0", count_only=True)).count == 200
        check_same_everywhere(cluster)
        cluster[0].kill()  # the new one counts: with it there is still a majority
        other = Wire(cluster[1].endpoint)
        wait_until(lambda: other.call("KV/Put", pb.PutRequest(key=b"after"), 1).message, 20, "a write with two of three", 0.1)
        other.close()
        wire.close()


def test_who_was_removed_does_not_come_back(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path, 3, None, AT_ONCE) as cluster:
        removed = cluster.followers()[0]
        known = listed(cluster)[removed.peer_url].ID
        remove(cluster, removed)
        assert removed.peer_url not in listed(cluster)
        wire = Wire(cluster[0].endpoint)
        assert wire.call("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=known)).text == "etcdserver: member not found"
        removed.start()
        assert removed.wait_exit() == 0, removed.log_tail()
        assert "data-dir used by this member must be removed" in removed.log()
        shutil.rmtree(removed.data)
        removed.start()  # as the founder that it was, with nothing: its id is burnt
        assert removed.wait_exit() == 0, removed.log_tail()
        assert "the member has been permanently removed from the cluster" in removed.log()
        wire.ask(pb.PutRequest(key=b"on", value=b"we go"))
        wire.close()


def test_who_joins_with_another_list_is_refused(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path, 1) as cluster:
        early = prepared(cluster, "m2")
        early.start()
        assert early.wait_exit() == 1
        assert "error validating peerURLs" in early.log()
        assert "member count is unequal" in early.log()
        asked(cluster, pb.MemberAddRequest(peerURLs=[early.peer_url]))
        elsewhere = prepared(cluster, "m3")
        elsewhere.start()
        assert elsewhere.wait_exit() == 1
        assert "PeerURLs: no match found for existing member" in elsewhere.log()
        alone = prepared(cluster, "m4")
        alone.initial_cluster = f"m4={alone.peer_url},m1=http://127.0.0.1:1"
        alone.start()
        assert alone.wait_exit() == 1
        assert "could not retrieve cluster information from the given URLs" in alone.log()
        early.start()  # and with the right one it is let in
        early.wait_ready()
        early.stop()


def test_a_founder_that_lost_its_disk_does_not_begin_anew(tmp_path: Path) -> None:
    """It would vote and acknowledge under its old name without what it had acknowledged before."""
    with Cluster(kinds.subject(), tmp_path, 3) as cluster:
        forgetful = cluster.followers()[0]
        forgetful.kill()
        shutil.rmtree(forgetful.data)
        forgetful.start()
        assert forgetful.wait_exit() == 1
        assert "has already been bootstrapped" in forgetful.log()


def test_a_member_moves_to_another_address(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path, 3, None, AT_ONCE) as cluster:
        moving = cluster.followers()[0]
        known = listed(cluster)[moving.peer_url].ID
        moving.kill()
        moving.peer_port = prepared(cluster, "unused").peer_port
        asked(cluster, pb.MemberUpdateRequest(ID=known, peerURLs=[moving.peer_url]))
        moving.initial_cluster = f"{moving.name}={moving.peer_url}"
        moving.restart()
        wire = Wire(moving.endpoint)
        wire.ask(pb.PutRequest(key=b"moved"))
        wire.close()
        assert known == listed(cluster)[moving.peer_url].ID
        check_same_everywhere(cluster)


def test_changes_that_could_cost_the_quorum_are_refused(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path, 1) as cluster:
        wire = Wire(cluster[0].endpoint)
        second, third = prepared(cluster, "m2"), prepared(cluster, "m3")
        last = wire.call("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=int(cluster[0].member_id())))
        assert (last.code, last.text) == (2, "etcdserver: re-configuration failed due to not enough started members")
        wire.ask(pb.MemberAddRequest(peerURLs=[second.peer_url]))
        more = wire.call("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=[third.peer_url]))
        assert (more.code, more.text) == (2, "etcdserver: re-configuration failed due to not enough started members")
        cluster.members.append(second)
        second.start()
        second.wait_ready()
        young = wire.call("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=[third.peer_url]))
        assert (young.code, young.text) == (14, "etcdserver: unhealthy cluster"), "connected for less than five seconds"
        asked(cluster, pb.MemberAddRequest(peerURLs=[third.peer_url], isLearner=True))
        too_many = wire.call("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True))
        assert (too_many.code, too_many.text) == (9, "etcdserver: too many learner members in cluster")
        not_ready = wire.call("Cluster/MemberPromote", pb.MemberPromoteRequest(ID=listed(cluster)[third.peer_url].ID))
        assert (not_ready.code, not_ready.text) == (9, "etcdserver: can only promote a learner member which is in sync with leader")
        wire.close()


def test_a_new_cluster_is_forced_out_of_one_members_data(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path, 3, None, AT_ONCE) as cluster:
        wire = Wire(cluster.leader().endpoint)
        for number in range(50):
            wire.ask(pb.PutRequest(key=b"key/%d" % number, value=b"%d" % number))
        wire.close()
        check_same_everywhere(cluster)
        survivor, *lost = cluster
        for member in cluster:
            member.kill()
        for member in lost:
            shutil.rmtree(member.data)
            cluster.members.remove(member)
        known = survivor.member_id()
        survivor.flags.append("--force-new-cluster")
        survivor.restart()
        survivor.flags.pop()
        assert [member.ID for member in listed(cluster).values()] == [int(known)], "it keeps its id"
        wire = Wire(survivor.endpoint)
        assert wire.ask(pb.RangeRequest(key=b"key/", range_end=b"key0", count_only=True)).count == 50
        wire.ask(pb.PutRequest(key=b"after"))
        wire.close()
        survivor.kill()
        survivor.restart()
        add(cluster, "m4")
        check_same_everywhere(cluster)
