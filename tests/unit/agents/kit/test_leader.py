"""Election in virtual time: one leader at a time, whatever becomes of the others."""

import asyncio
import random

import pytest

from agents.kit.leader import LEASES, Elector, LostLeadership, Terms, taken
from apiserver.client.errors import Unreachable
from apiserver.machinery import status
from tests.support.fake_api import FakeApi
from tests.support.recorder import ListRecorder
from tests.support.virtual_loop import run

TERMS = Terms(name="kube-controller-manager")


def elector(api, identity, skew_s=0.0, recorder=None):
    def monotonic_s():
        return asyncio.get_running_loop().time()

    return Elector(
        api, TERMS, identity, recorder=recorder, now_s=lambda: 1e9 + skew_s + monotonic_s(), monotonic_s=monotonic_s, chance=random.Random(identity)
    )


def lease(api):
    return api.objects["leases.coordination.k8s.io"]["kube-system", "kube-controller-manager"]["spec"]


def test_the_second_takes_over_when_the_first_is_silent_for_the_length_of_a_lease():
    async def work():
        api, recorder = FakeApi(), ListRecorder()
        first, second = elector(api, "first"), elector(api, "second", skew_s=86_400, recorder=recorder)
        await first.acquire()
        async with asyncio.TaskGroup() as group:
            holding = group.create_task(first.hold())
            waiting = group.create_task(second.acquire())
            await asyncio.sleep(60)
            assert not waiting.done()
            assert lease(api)["holderIdentity"] == "first"
            holding.cancel()  # killed: it says no good-bye
            died_s = asyncio.get_running_loop().time()
            await waiting
            assert 13 <= asyncio.get_running_loop().time() - died_s <= 15 + 2 * 2.2
        assert lease(api)["holderIdentity"] == "second" and lease(api)["leaseTransitions"] == 1
        assert recorder.told == [("kube-controller-manager", "Normal", "LeaderElection", "second became leader")]

    run(work())


def test_a_clean_stop_gives_the_lease_back_at_once():
    async def work():
        api = FakeApi()
        first, second = elector(api, "first"), elector(api, "second")
        await first.acquire()
        await first.release()
        assert lease(api)["holderIdentity"] == ""
        begun_s = asyncio.get_running_loop().time()
        await second.acquire()
        assert asyncio.get_running_loop().time() == begun_s

    run(work())


def test_who_waits_takes_a_lease_that_is_given_back_at_that_moment():
    async def work():
        api = FakeApi()
        first, second = elector(api, "first"), elector(api, "second")
        await first.acquire()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(second.acquire())
            await asyncio.sleep(5.3)
            assert not waiting.done()
            await first.release()
            released_s = asyncio.get_running_loop().time()
            await waiting
        assert asyncio.get_running_loop().time() == released_s
        assert lease(api)["holderIdentity"] == "second"

    run(work())


def test_who_may_not_watch_the_lease_looks_at_it():
    async def work():
        api = FakeApi()
        first, second = elector(api, "first"), elector(api, "second")
        await first.acquire()
        api.fail("watch", LEASES.qualified, status.forbidden("coordination.k8s.io", "leases", "", "no"))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(second.acquire())
            await asyncio.sleep(5.3)
            await first.release()
            released_s = asyncio.get_running_loop().time()
            await waiting
        assert 0 < asyncio.get_running_loop().time() - released_s <= 2 * 2.2
        assert api.counted()["watch", LEASES.qualified] == 1

    run(work())


def test_a_leader_that_cannot_renew_has_stopped_before_another_may_begin():
    async def work():
        api = FakeApi()
        first = elector(api, "first")
        await first.acquire()
        api.fail("get", LEASES.qualified, *[Unreachable("no server")] * 100)
        with pytest.raises(LostLeadership):
            await first.hold()
        assert 8 <= asyncio.get_running_loop().time() < TERMS.lease_s
        assert not first.leading

    run(work())


def test_a_request_that_hangs_does_not_hold_the_leader_in_office():
    async def work():
        api = FakeApi()
        first = elector(api, "first")
        await first.acquire()

        async def hang(*arguments, **options):
            await asyncio.sleep(1000)

        api.update = hang
        with pytest.raises(LostLeadership):
            await first.hold()
        assert asyncio.get_running_loop().time() == pytest.approx(10)

    run(work())


def create_is_told_late(api, late_s):
    create = api.create

    async def slow(*arguments, **options):
        made = await create(*arguments, **options)
        await asyncio.sleep(late_s)
        return made

    api.create = slow


def test_a_lease_whose_taking_was_told_late_is_taken_anew():
    """The server wrote it long before we heard of it: by now another one may have begun."""

    async def work():
        api = FakeApi()
        create_is_told_late(api, 12)
        first = elector(api, "first")
        await first.acquire()
        began_s = asyncio.get_running_loop().time()
        api.fail("get", LEASES.qualified, *[Unreachable("no server")] * 100)
        with pytest.raises(LostLeadership):
            await first.hold()
        assert api.counted()["update", LEASES.qualified] >= 1
        assert asyncio.get_running_loop().time() <= began_s + TERMS.deadline_s

    run(work())


def test_what_passes_between_the_taking_of_a_lease_and_the_work_counts():
    async def work():
        api = FakeApi()
        first = elector(api, "first")
        create_is_told_late(api, 8)
        await first.acquire()
        api.fail("get", LEASES.qualified, *[Unreachable("no server")] * 100)
        with pytest.raises(LostLeadership):
            await first.hold()
        assert asyncio.get_running_loop().time() < TERMS.lease_s, "another one may begin then"

    run(work())


def test_a_leader_whose_lease_another_has_stops_at_once():
    async def work():
        api = FakeApi()
        first = elector(api, "first")
        await first.acquire()
        api.touch(LEASES, "kube-system", "kube-controller-manager", lambda obj: obj["spec"].update(holderIdentity="second"))
        with pytest.raises(LostLeadership):
            await first.hold()
        assert asyncio.get_running_loop().time() == pytest.approx(2)

    run(work())


def test_terms_that_would_allow_two_leaders_are_refused():
    assert Terms().faults() == []
    assert "renew-deadline" in Terms(lease_s=10, deadline_s=10).faults()[0]
    assert "retry-period" in Terms(deadline_s=2).faults()[0]


def test_a_lease_is_told_in_whole_seconds_and_never_as_shorter_than_it_is():
    """A holder that stops after 1.5 s must not be taken over from after 1 s."""
    assert taken({}, "first", 1.9, "now")["leaseDurationSeconds"] == 2
    assert taken({}, "first", 15.0, "now")["leaseDurationSeconds"] == 15
