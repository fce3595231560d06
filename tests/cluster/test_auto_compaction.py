"""Automatic compaction in real time, with a period short enough to wait for."""

from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import OK, Wire
from tests.support.members import Cluster, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_what_is_older_than_the_period_goes(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path, 1, flags=["--auto-compaction-retention=1s"]) as cluster:
        wire = Wire(cluster[0].endpoint)

        def compacted() -> bool:
            wire.ask(pb.PutRequest(key=b"key"))
            return wire.call("KV/Range", pb.RangeRequest(key=b"key", revision=2)).code != OK

        wait_until(compacted, 10, "revision 2 is compacted", pause_s=0.05)
        reply = wire.call("KV/Range", pb.RangeRequest(key=b"key", revision=2))
        assert reply.text == "etcdserver: mvcc: required revision has been compacted"
        assert wire.ask(pb.RangeRequest(key=b"key")).count == 1
        wire.close()
    assert "completed auto periodic compaction" in cluster[0].log()
