"""A thousand watchers at one member: each is told every event once and in order."""

from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster
from tests.support.watching import WatchStream

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STREAMS, WATCHERS, EVENTS = 20, 50, 40
TIMEOUT_S = 60


def test_a_thousand_watchers_see_every_event_once_and_in_order(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path, 3) as cluster:
        follower = cluster.followers()[0]
        leader = Wire(cluster.leader().endpoint)
        watching = Wire(follower.endpoint)
        first = leader.ask(pb.PutRequest(key=b"w/0")).header.revision + 1
        streams = [WatchStream(watching.channel) for _ in range(STREAMS)]
        for at, stream in enumerate(streams):
            for number in range(WATCHERS):
                # Half of them from now on, half from a revision that is history by the time they are served.
                stream.create(key=b"w/", range_end=b"w0", watch_id=number + 1, start_revision=first if at % 2 else 0)
        for stream in streams:
            assert stream.wait_for(lambda responses: sum(response.created for response in responses) == WATCHERS, TIMEOUT_S)
        for number in range(EVENTS):
            ops = [pb.RequestOp(request_put=pb.PutRequest(key=b"w/%d" % at, value=b"%d" % number)) for at in range(2)]
            leader.ask(pb.TxnRequest(success=ops))
        expected = [(first + number, b"w/%d" % at) for number in range(EVENTS) for at in range(2)]
        for stream in streams:
            due = WATCHERS * len(expected)
            assert stream.wait_for(lambda responses, due=due: sum(len(response.events) for response in responses) >= due, TIMEOUT_S)
            told: dict[int, list[tuple[int, bytes]]] = {number + 1: [] for number in range(WATCHERS)}
            for response in stream.responses:
                told[response.watch_id].extend((event.kv.mod_revision, event.kv.key) for event in response.events)
            assert all(events == expected for events in told.values())
            stream.close()
        leader.close()
        watching.close()


def test_a_slow_reader_delays_nobody_and_loses_nothing(tmp_path: Path) -> None:
    """One client takes nothing for a while: big events pile up beyond any buffer, and the member must read them from history later."""
    with Cluster(kinds.subject(), tmp_path, 1) as cluster:
        wire = Wire(cluster[0].endpoint)
        slow_wire = Wire(cluster[0].endpoint)
        fast = WatchStream(wire.channel)
        fast.create(key=b"big")
        assert fast.wait_for(bool)
        slow = WatchStream(slow_wire.channel, reading=False)
        slow.create(key=b"big", start_revision=2)
        events = 120
        for number in range(events):
            wire.ask(pb.PutRequest(key=b"big", value=b"%06d" % number * 80_000))
        assert fast.wait_for(lambda responses: sum(len(response.events) for response in responses) == events, TIMEOUT_S)
        slow.read()
        assert slow.wait_for(lambda responses: sum(len(response.events) for response in responses) >= events, TIMEOUT_S)
        for stream in (fast, slow):
            order = [int(event.kv.value[:6]) for response in stream.responses for event in response.events]
            assert order == list(range(events))
            stream.close()
        wire.close()
        slow_wire.close()
