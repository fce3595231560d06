"""What is written of many events: counted, combined, filtered."""

import asyncio

from agents.kit.events import COMBINED, Broadcaster, Correlator, reference_to
from apiserver.client.errors import Unreachable
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default", "uid": "u1", "resourceVersion": "5"}}


def event(message, at="t0", reason="Failed"):
    return {
        "metadata": {"name": "a.1", "namespace": "default"},
        "involvedObject": reference_to(POD),
        "source": {"component": "kubelet", "host": "n1"},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "count": 1,
        "lastTimestamp": at,
    }


def test_the_same_again_is_counted():
    correlator = Correlator()
    assert not correlator.correlate(event("x"), 0).counted
    again = correlator.correlate(event("x", "t1"), 1)
    assert again.counted and (again.event["count"], again.event["lastTimestamp"]) == (2, "t1")


def test_the_tenth_message_of_a_kind_is_combined():
    correlator = Correlator()
    told = [correlator.correlate(event(f"message {number}"), number) for number in range(12)]
    assert [each.event["message"].startswith(COMBINED) for each in told] == [False] * 9 + [True] * 3
    assert [each.counted for each in told[9:]] == [False, True, True]
    assert not correlator.correlate(event("much later"), 10_000).event["message"].startswith(COMBINED)


def test_after_a_burst_one_in_five_minutes():
    correlator = Correlator()
    told = [correlator.correlate(event("x"), 0) for _ in range(40)]
    assert sum(each is not None for each in told) == 25
    assert correlator.correlate(event("x"), 299) is None
    assert correlator.correlate(event("x"), 301) is not None


def test_events_are_written_counted_and_written_anew_when_theirs_expired():
    async def work():
        api = FakeApi()
        api.fail("create", "events", Unreachable("no server"))
        broadcaster = Broadcaster(api, "host-1", lambda: 1e9 + asyncio.get_running_loop().time())
        recorder = broadcaster.recorder("kubelet")
        async with asyncio.TaskGroup() as group:
            task = group.create_task(broadcaster.run())
            recorder.event(POD, "Normal", "Started", "Started container web")
            recorder.event(POD, "Normal", "Started", "Started container web")
            await asyncio.sleep(30)
            (written,) = api.all("events")
            assert (written["count"], written["reason"], written["source"]) == (2, "Started", {"component": "kubelet", "host": "host-1"})
            assert written["involvedObject"]["uid"] == "u1"
            api.objects["events"].clear()
            recorder.event(POD, "Normal", "Started", "Started container web")
            await asyncio.sleep(1)
            (written,) = api.all("events")
            assert written["count"] == 3
            task.cancel()

    run(work())
