"""Three members lose members under load: nothing acknowledged is lost, nobody reads the past, and all end alike."""

import os
import signal
import time
from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.cluster.load import Load
from tests.cluster.promises import check_history, check_same_everywhere
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.exposition import Exposition
from tests.support.members import Cluster, wait_until
from tests.support.tls import TlsFiles

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROUNDS = int(os.environ.get("KEELSON_FAULT_ROUNDS", "4"))
ELECTION_TIMEOUT_S = 1.0


def judge(load: Load, cluster: Cluster) -> None:
    cluster.wait_healthy()
    check_history(load, cluster)
    check_same_everywhere(cluster)


def test_kill_9_of_leaders_and_followers_in_a_loop(cluster: Cluster) -> None:
    with Load(cluster) as load:
        for number in range(ROUNDS):
            load.wait_for_answers(100)
            victim = cluster.leader() if number % 2 == 0 else cluster.followers()[0]
            victim.kill()
            load.wait_for_answers(30)
            victim.start()
            victim.wait_ready()
        load.wait_for_answers(100)
    judge(load, cluster)


def test_a_leader_paused_for_longer_than_the_election_timeout(cluster: Cluster) -> None:
    """It comes back believing that it leads. It must not answer a read from its own memory, nor count its old acknowledgements."""
    with Load(cluster) as load:
        for _ in range(2):
            load.wait_for_answers(50)
            leader = cluster.leader()
            leader.pause()
            load.wait_for_answers(30)
            load.run_for(2 * ELECTION_TIMEOUT_S)
            leader.resume()
            load.wait_for_answers(100)
    judge(load, cluster)


def test_all_members_restart_at_once(cluster: Cluster) -> None:
    with Load(cluster) as load:
        for _ in range(2):
            load.wait_for_answers(100)
            for member in cluster:
                member.signal(signal.SIGKILL)
            for member in cluster:
                member.wait_exit()
            cluster.start()
        load.wait_for_answers(100)
    judge(load, cluster)


def test_a_member_that_was_away_until_it_needs_a_snapshot(tmp_path: Path, files: TlsFiles) -> None:
    kind = kinds.subject()
    with Cluster(kind, tmp_path, 3, files, kind.short_log(snapshot_count=100, catch_up_entries=20)) as cluster:
        away = cluster.followers()[0]
        away.kill()
        leader = cluster.leader()
        wire = Wire(leader.endpoint, files)
        missed = wire.ask(pb.StatusRequest()).raftIndex + 1
        for number in range(600):
            wire.ask(pb.PutRequest(key=b"away/%d" % (number % 50), value=b"%d" % number * 100))
        wire.ask(pb.LeaseGrantRequest(ID=77, TTL=1000))
        wire.ask(pb.PutRequest(key=b"away/leased", lease=77))
        wire.close()
        if kind.name == kinds.KEELSON:
            leader.wait_log_cut(missed)
        with Load(cluster.alive(), clients=2) as load:
            away.start()
            away.wait_ready()
            load.wait_for_answers(100)
        judge(load, cluster)
        if kind.name == kinds.KEELSON:
            assert "applied snapshot" in away.log(), "it caught up from the log: this test tests nothing"
            received = Exposition(away.http.get("/metrics").text())
            sender = f"{int(cluster.leader().member_id()):x}"
            assert received.value("etcd_network_snapshot_receive_success", From=sender) >= 1
            assert received.value("etcd_snap_db_save_total_duration_seconds_count") >= 1
        own = Wire(away.endpoint, files)
        assert own.ask(pb.RangeRequest(key=b"away/49", serializable=True)).kvs[0].value == b"599" * 100
        assert own.ask(pb.LeaseTimeToLiveRequest(ID=77, keys=True)).keys == [b"away/leased"]
        own.close()
        away.kill()  # what came as a snapshot is on disk, too
        away.restart()
        check_same_everywhere(cluster)


def test_sigterm_hands_leadership_over(tmp_path: Path, files: TlsFiles) -> None:
    """With an election timeout of 10 s, whoever writes again after 3 s did not wait for one."""
    with Cluster(kinds.subject(), tmp_path, 3, files, ["--heartbeat-interval=500", "--election-timeout=10000"]) as cluster:
        leader = cluster.leader()
        others = [Wire(member.endpoint, files) for member in cluster if member is not leader]
        others[0].ask(pb.PutRequest(key=b"before"))
        began = time.monotonic()
        status = leader.terminate()
        wait_until(lambda: others[0].call("KV/Put", pb.PutRequest(key=b"after"), 1).message, 3, "a write after the leader's end", 0.05)
        took = time.monotonic() - began
        assert took < 4, f"{took:.1f} s until the next write"
        assert status in (-signal.SIGTERM, 128 + signal.SIGTERM), f"exit status {status} instead of death by SIGTERM, as etcd dies"
        for wire in others:
            wire.close()
        leader.restart()
        check_same_everywhere(cluster)


def test_two_of_three_gone_means_no_answers_and_no_lies(cluster: Cluster) -> None:
    survivor = cluster.leader()
    others = [member for member in cluster if member is not survivor]
    wire = Wire(survivor.endpoint, cluster.tls)
    wire.ask(pb.PutRequest(key=b"quorum", value=b"1"))
    for member in others:
        member.kill()
    assert wire.call("KV/Put", pb.PutRequest(key=b"quorum", value=b"2"), 3).message is None
    assert wire.call("KV/Range", pb.RangeRequest(key=b"quorum"), 3).message is None
    assert wire.ask(pb.RangeRequest(key=b"quorum", serializable=True)).kvs[0].value == b"1"
    for member in others:
        member.start()
    cluster.wait_healthy()
    assert wire.ask(pb.RangeRequest(key=b"quorum")).kvs[0].value in (b"1", b"2")
    wire.close()
    check_same_everywhere(cluster)
