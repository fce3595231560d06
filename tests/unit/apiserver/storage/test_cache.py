"""The watch cache: its state, its events, its bounds."""

import asyncio

import pytest

from apiserver.machinery.status import ApiError
from apiserver.storage import cache as cache_module
from apiserver.storage import ring
from apiserver.storage.cache import Cache
from apiserver.storage.newest import Newest
from apiserver.storage.objects import Objects
from tests.support.fake_store import FakeStore

PREFIX = "/registry/things/"


def thing(name, value="1"):
    return {"kind": "Thing", "apiVersion": "v1", "metadata": {"name": name, "namespace": "d"}, "value": value}


class Room:
    def __init__(self):
        self.store = FakeStore()
        self.objects = Objects(self.store)
        self.cache = Cache(PREFIX, self.objects)

    async def put(self, name, value="1"):
        async def change(current):
            return {**(current or thing(name)), "value": value}

        return (await self.objects.update(PREFIX, f"{PREFIX}d/{name}", change)).revision

    async def caught_up(self):
        await self.cache.reach(self.store.revision)


def run(test):
    async def whole():
        room = Room()
        for name in ("a", "b"):
            await room.put(name)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            following = group.create_task(room.cache.run())
            await room.cache.ready.wait()
            await test(room)
            following.cancel()

    asyncio.run(whole())


def told(subscription):
    return [(event.type, event.item.name, event.revision) for event in subscription.take(100)]


def test_it_has_what_was_there_and_what_came():
    async def test(room):
        assert [item.name for item in room.cache.items()] == ["a", "b"]
        await room.put("c")
        await room.caught_up()
        assert [item.name for item in room.cache.items(f"{PREFIX}d/")] == ["a", "b", "c"]
        assert room.cache.items(f"{PREFIX}e/") == []

    run(test)


def test_a_subscriber_is_told_everything_after_the_revision_it_names():
    async def test(room):
        begin = room.cache.revision
        first = await room.put("c")
        second = await room.put("a", "2")
        await room.caught_up()
        assert told(room.cache.subscribe(begin)) == [("ADDED", "c", first), ("MODIFIED", "a", second)]
        assert told(room.cache.subscribe(first)) == [("MODIFIED", "a", second)]
        assert told(room.cache.subscribe(second)) == []
        with pytest.raises(ApiError) as refused:
            room.cache.subscribe(begin - 1)
        assert refused.value.reason == "Expired"

    run(test)


def test_the_ring_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(ring, "RING_EVENTS_MAX", 3)

    async def test(room):
        begin = room.cache.revision
        revisions = [await room.put("a", str(number)) for number in range(5)]
        await room.caught_up()
        assert [revision for _, _, revision in told(room.cache.subscribe(revisions[1]))] == revisions[2:]
        for after in (begin, revisions[0]):
            with pytest.raises(ApiError):
                room.cache.subscribe(after)

    run(test)


def test_a_subscriber_that_does_not_read_is_cut_off_and_the_others_are_not(monkeypatch):
    monkeypatch.setattr(ring, "RING_EVENTS_MAX", 3)

    async def test(room):
        slow, quick = room.cache.subscribe(room.cache.revision), room.cache.subscribe(room.cache.revision)
        seen = []
        for number in range(6):
            await room.put("a", str(number))
            await room.caught_up()
            seen += [event.item.obj["value"] for event in quick.take(10)]
        assert (slow.ended, slow.slow, slow.take(10)) == (True, True, [])
        assert (quick.ended, seen) == (False, ["0", "1", "2", "3", "4", "5"])

    run(test)


def test_lost_history_ends_subscriptions_and_lists_again():
    async def test(room):
        subscription = room.cache.subscribe(room.cache.revision)
        await room.store.compact(room.store.revision)
        await room.put("c")
        await room.caught_up()
        assert [item.name for item in room.cache.items()] == ["a", "b", "c"]
        assert subscription.ended
        assert room.cache.subscribers == 0

    run(test)


def test_a_quiet_resource_reaches_revisions_that_others_made():
    async def test(room):
        await room.store.put(b"/registry/others/x", b"{}")
        await room.cache.reach(room.store.revision)
        assert room.cache.revision == room.store.revision

    run(test)


def test_an_object_that_cannot_be_read_is_left_out():
    async def test(room):
        await room.store.put(f"{PREFIX}d/bad".encode(), b"no json")
        await room.put("c")
        await room.caught_up()
        assert [item.name for item in room.cache.items()] == ["a", "b", "c"]
        await room.store.compact(room.store.revision)  # it lists again
        await room.put("d")
        await room.caught_up()
        assert [item.name for item in room.cache.items()] == ["a", "b", "c", "d"]

    run(test)


def test_the_newest_revision_is_asked_once_for_all_who_wait():
    async def test():
        store = FakeStore()
        newest = Newest(Objects(store).newest)
        assert set(await asyncio.gather(*(newest.revision() for _ in range(50)))) == {1}
        assert store.calls["get"] <= 2
        await store.put(b"/a", b"1")
        assert await newest.revision() == 2

    asyncio.run(test())


def test_who_asked_and_went_away_is_not_the_failure_of_the_others():
    async def test():
        store = FakeStore()
        newest = Newest(Objects(store).newest)
        async with newest._asking:
            first = asyncio.ensure_future(newest.revision())  # noqa: TID251 - cancelled two lines below
            second = asyncio.ensure_future(newest.revision())  # noqa: TID251 - awaited below
            await asyncio.sleep(0)
            first.cancel()
        assert await second == 1

    asyncio.run(test())


def test_a_watch_that_does_not_come_forward_is_asked_for_elsewhere(monkeypatch):
    monkeypatch.setattr(cache_module, "STALL_S", 0.05)
    monkeypatch.setattr(cache_module, "PROGRESS_TIMEOUT_S", 0.01)

    async def test(room):
        subscription = room.cache.subscribe(room.cache.revision)
        room.store.deafen()
        revision = await room.put("c")
        room.cache.expect(room.store.revision)
        await room.caught_up()
        assert told(subscription) == [("ADDED", "c", revision)]
        assert not subscription.ended, "nothing was lost, so nobody is sent away"

    run(test)


def test_a_quiet_resource_keeps_up_with_the_store():
    async def test(room):
        await room.store.put(b"/registry/others/x", b"{}")
        room.cache.expect(room.store.revision)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert room.cache.revision == room.store.revision

    run(test)
