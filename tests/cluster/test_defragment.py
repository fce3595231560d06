"""Defragmentation while writes go on, and a process that is killed in the middle of it: nothing is lost, and the file shrinks."""

import random
import threading
import time
from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.cluster.load import Load
from tests.cluster.promises import check_history, check_same_everywhere
from tests.support import kinds
from tests.support.calls import OK, Wire
from tests.support.members import Cluster, Member, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

KILLS = 2
VALUE = bytes(200_000)


def fragmented(member: Member) -> None:
    """Much is written, and most of it is compacted away."""
    wire = Wire(member.endpoint)
    for number in range(60):
        wire.ask(pb.PutRequest(key=b"big/%d" % (number % 20), value=VALUE))
    revision = wire.ask(pb.DeleteRangeRequest(key=b"big/1", range_end=b"big/9")).header.revision
    wire.ask(pb.CompactionRequest(revision=revision, physical=True))
    wire.close()


def test_members_are_defragmented_under_load_and_killed_in_the_middle(tmp_path: Path) -> None:
    chance = random.Random(1)
    with Cluster(kinds.subject(), tmp_path, 3) as cluster, Load(cluster, clients=4) as load:
        fragmented(cluster.leader())
        for number in range(KILLS):
            victim = cluster[number % 3]
            wire = Wire(victim.endpoint)
            asking = threading.Thread(target=wire.call, args=("Maintenance/Defragment", pb.DefragmentRequest()))
            asking.start()
            time.sleep(chance.random() * 0.05)
            victim.kill()
            asking.join()
            wire.close()
            victim.restart()
            load.wait_for_answers(20)
        for member in cluster:
            wire = Wire(member.endpoint)
            assert wire.call("Maintenance/Defragment", pb.DefragmentRequest(), 20).code == OK
            status = wire.ask(pb.StatusRequest())
            assert status.dbSize - status.dbSizeInUse < 1 << 20, status
            assert status.dbSize < 6 << 20
            wire.close()
        load.wait_for_answers(100)
        load.__exit__(None, None, None)
        check_history(load, cluster)
        check_same_everywhere(cluster)
        leftovers = [path for member in cluster for path in member.data.rglob("*.export-*")]
        assert leftovers == []


def test_a_start_defragments_if_that_is_worth_it(tmp_path: Path) -> None:
    if kinds.subject().name != kinds.KEELSON:
        pytest.skip("etcd 3.5.1 does not know the flag by this name")
    with Cluster(kinds.subject(), tmp_path, 1, flags=["--bootstrap-defrag-threshold-megabytes=2"]) as cluster:
        member = cluster[0]
        fragmented(member)
        wire = Wire(member.endpoint)
        wait_until(lambda: wire.ask(pb.StatusRequest()).dbSize > 8 << 20, 10, "the size of the fragmented file is told")
        wire.close()
        member.terminate()
        member.restart()
        wire = Wire(member.endpoint)
        assert wire.ask(pb.StatusRequest()).dbSize < 6 << 20
        wire.close()
