"""Compaction: one of many servers does it, and everybody keeps an interval of history."""

import asyncio

from apiserver.storage.compaction import Compactor
from apiserver.storage.leases import OBJECTS_MAX, SharedLeases
from tests.support.fake_store import FakeStore


def test_one_of_two_compacts_to_where_the_store_was_a_turn_before():
    async def test():
        store = FakeStore()
        first, second = Compactor(store, 300), Compactor(store, 300)
        assert await first.compact_once() == 0  # nobody knows yet where history may end
        assert await second.compact_once() == 0
        begin = store.revision
        await store.put(b"/a", b"1")
        assert await first.compact_once() == begin
        assert store.compacted == begin
        assert await second.compact_once() == 0, "it was the other's turn"

    asyncio.run(test())


def test_many_objects_share_a_lease():
    async def test():
        store = FakeStore()
        leases = SharedLeases(store, 3600)
        taken = [await leases.take() for _ in range(OBJECTS_MAX + 1)]
        assert len(set(taken)) == 2
        assert store.calls["lease_grant"] == 2

    asyncio.run(test())
