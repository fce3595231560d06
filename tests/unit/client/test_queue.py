"""Queues over gRPC, on the model of etcd."""

import asyncio

import pytest

from kvstore.client.client import Client
from kvstore.client.queue import PriorityQueue, Queue
from tests.unit.api.served import Served
from tests.unit.client.scenario import keys, play, until_watched


def test_first_in_first_out(served: Served) -> None:
    async def scenario(client: Client) -> None:
        queue = Queue(client, b"jobs")
        await client.put(b"jobs2/1", b"another queue's")
        for number in range(5):
            await queue.enqueue(b"%d" % number)
        assert [await queue.dequeue() for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
        assert await keys(client) == [b"jobs2/1"]

    play(served, scenario)


def test_a_taker_waits_for_an_item(served: Served) -> None:
    async def scenario(client: Client) -> None:
        for queue in (Queue(client, b"jobs"), PriorityQueue(client, b"urgent")):
            async with asyncio.TaskGroup() as group:
                taking = group.create_task(queue.dequeue(), name="take")
                await until_watched(served, 1)
                await client.put(b"jobs", b"no item")
                await (queue.enqueue(b"x") if isinstance(queue, Queue) else queue.enqueue(b"x", 1))
            assert taking.result() == b"x"

    play(served, scenario)


def test_each_item_is_taken_once(served: Served) -> None:
    async def scenario(client: Client) -> None:
        queue = Queue(client, b"jobs")
        taken: list[bytes] = []

        async def work() -> None:
            while (item := await queue.dequeue()) != b"end":
                taken.append(item)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(work(), name="work")
            async with asyncio.TaskGroup() as filling:
                for number in range(40):
                    filling.create_task(queue.enqueue(b"%d" % number), name="fill")
            for _ in range(4):
                await queue.enqueue(b"end")
        assert sorted(taken, key=int) == [b"%d" % number for number in range(40)]

    play(served, scenario)


def test_what_is_urgent_comes_first_and_otherwise_what_came_first(served: Served) -> None:
    async def scenario(client: Client) -> None:
        queue = PriorityQueue(client, b"jobs")
        for value, priority in ((b"later", 9), (b"b1", 2), (b"b2", 2), (b"last", 65_535), (b"a", 0), (b"b3", 2)):
            await queue.enqueue(value, priority)
        assert b"jobs/00002/0000000000000001" in await keys(client), "as etcd's recipes have it"
        assert [await queue.dequeue() for _ in range(6)] == [b"a", b"b1", b"b2", b"b3", b"later", b"last"]
        for wrong in (-1, 65_536):
            with pytest.raises(ValueError, match="priority"):
                await queue.enqueue(b"", wrong)

    play(served, scenario)


def test_items_numbered_at_once_keep_their_own_numbers(served: Served) -> None:
    async def scenario(client: Client) -> None:
        queue = PriorityQueue(client, b"jobs")
        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(queue.enqueue(b"%d" % number, 3), name="fill")
        assert sorted([await queue.dequeue() for _ in range(12)], key=int) == [b"%d" % number for number in range(12)]

    play(served, scenario)
