"""The three laws of the queue, and its delays, in virtual time."""

import asyncio

import pytest

from agents.kit.backoff import Backoff, ItemBackoff
from agents.kit.workqueue import ShutDown, WorkQueue
from tests.support.virtual_loop import run, settle


def test_many_adds_of_a_waiting_item_are_one():
    async def work():
        queue = WorkQueue()
        for item in ("a", "a", "b", "a"):
            queue.add(item)
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0

    run(work())


def test_an_item_added_while_it_is_worked_on_comes_once_more_when_it_is_done():
    async def work():
        queue = WorkQueue()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0, "it is never with two workers at once"
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert len(queue) == 0

    run(work())


def test_a_cancelled_worker_leaves_its_item_to_another():
    async def work():
        queue = WorkQueue()
        async with asyncio.TaskGroup() as group:
            first = group.create_task(queue.get())
            second = group.create_task(queue.get())
            await settle()
            queue.add("a")
            first.cancel()
            assert await second == "a"

    run(work())


def test_delayed_adds_keep_the_earliest_time():
    async def work():
        queue = WorkQueue()
        loop = asyncio.get_running_loop()
        queue.add_after("a", 10)
        queue.add_after("a", 3)
        queue.add_after("a", 7)
        assert await queue.get() == "a"
        assert loop.time() == pytest.approx(3)
        queue.done("a")
        await asyncio.sleep(20)
        assert len(queue) == 0

    run(work())


def test_failures_wait_longer_each_time_and_forget_begins_anew():
    backoff = ItemBackoff()
    assert [backoff.next_s("a") for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
    assert backoff.next_s("b") == 0.005
    for _ in range(100):
        longest = backoff.next_s("a")
    assert longest == 1000.0
    backoff.forget("a")
    assert backoff.next_s("a") == 0.005


def test_a_closed_queue_gives_what_it_has_then_ends_its_workers():
    async def work():
        queue = WorkQueue()
        queue.add("a")
        queue.shut_down()
        queue.add("b")
        assert await queue.get() == "a"
        with pytest.raises(ShutDown):
            await queue.get()

    run(work())


def test_pauses_between_connections_grow_to_their_maximum_and_begin_anew_after_a_quiet_time():
    now = [0.0]
    backoff = Backoff(lambda: 0.0, lambda: now[0])
    assert [backoff.next_s() for _ in range(7)] == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0])
    now[0] = 121.0
    assert backoff.next_s() == pytest.approx(0.8)
