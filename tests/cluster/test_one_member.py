"""One member, killed again and again while it writes: what it acknowledged is there when it is back, in the same revision."""

import os
import threading
from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster, Member

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROUNDS = int(os.environ.get("KEELSON_KILL_ROUNDS", "6"))
WRITERS = 4
WRITES_BEFORE_KILL = 150


class Writer(threading.Thread):
    """Counts up in a key of its own until an error; `acknowledged` is (value, mod_revision) of the last answer."""

    def __init__(self, member: Member, key: bytes, start: int, enough: threading.Semaphore) -> None:
        super().__init__(name=key.decode())
        self.member, self.key, self.enough = member, key, enough
        self.next = start
        self.acknowledged: tuple[int, int] | None = None

    def run(self) -> None:
        wire = Wire(self.member.endpoint, self.member.tls)
        while (answer := wire.call("KV/Put", pb.PutRequest(key=self.key, value=b"%d" % self.next), 3).message) is not None:
            self.acknowledged = (self.next, answer.header.revision)
            self.next += 1
            self.enough.release()
        wire.close()


def test_every_acknowledged_write_survives_kill_9(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path, 1) as cluster:
        member = cluster[0]
        start = [0] * WRITERS
        highest = 0
        for number in range(ROUNDS):
            enough = threading.Semaphore(0)
            writers = [Writer(member, b"writer/%d" % at, start[at], enough) for at in range(WRITERS)]
            for writer in writers:
                writer.start()
            for _ in range(WRITES_BEFORE_KILL + 17 * number):  # not the same moment each time
                assert enough.acquire(timeout=20), "the writers are stuck"
            member.kill()
            for writer in writers:
                writer.join(20)
            member.restart()
            wire = Wire(member.endpoint)
            for at, writer in enumerate(writers):
                assert writer.acknowledged is not None
                value, revision = writer.acknowledged
                answer = wire.ask(pb.RangeRequest(key=writer.key, serializable=True))
                held = int(answer.kvs[0].value)
                assert held in (value, value + 1), f"{writer.key!r} holds {held}; {value} was acknowledged, {value + 1} was on its way"
                assert answer.kvs[0].mod_revision >= revision
                assert answer.header.revision >= highest, "the revision went back"
                at_that_time = wire.ask(pb.RangeRequest(key=writer.key, revision=revision))
                assert int(at_that_time.kvs[0].value) == value, "history was rewritten"
                highest = answer.header.revision
                start[at] = held + 1
            wire.close()
