"""Barriers over gRPC, on the model of etcd."""

import asyncio

import pytest

from kvstore.client.barrier import Barrier, DoubleBarrier
from kvstore.client.client import Client
from kvstore.client.session import Session
from kvstore.errors import BarrierFull, BarrierHeld, SessionExpired
from tests.unit.api.served import Served
from tests.unit.client.scenario import keys, play, until, until_keys, until_watched


def test_whoever_waits_goes_on_when_it_is_released(served: Served) -> None:
    async def scenario(client: Client) -> None:
        barrier = Barrier(client, b"gate")
        await barrier.wait()
        await barrier.hold()
        with pytest.raises(BarrierHeld):
            await Barrier(client, b"gate").hold()
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(Barrier(client, b"gate").wait(), name="wait") for _ in range(3)]
            await until_watched(served, 3)
            await client.put(b"gate", b"touched")
            assert not any(task.done() for task in waiting)
            await barrier.release()

    play(served, scenario)


def test_they_begin_together_and_end_together(served: Served) -> None:
    inside: list[int] = []
    left: list[int] = []

    async def scenario(client: Client) -> None:
        async def take_part(number: int) -> None:
            async with Session(client) as session:
                barrier = DoubleBarrier(session, b"race", 3)
                await barrier.enter()
                inside.append(number)
                await until(lambda: len(inside) == 3)
                if number == 2:
                    await until_watched(served, 2)
                    assert not left
                await barrier.leave()
                left.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                assert not inside
                group.create_task(take_part(number), name=f"part {number}")
                if number < 2:
                    await until_watched(served, number + 1)
        assert sorted(left) == [0, 1, 2]
        assert await keys(client) == []

    play(served, scenario)


def test_one_too_many_is_refused(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as one, Session(client) as other:
            await DoubleBarrier(one, b"race", 1).enter()
            with pytest.raises(BarrierFull):
                await DoubleBarrier(other, b"race", 1).enter()
            assert [key.partition(b"/")[2].partition(b"/")[0] for key in await keys(client)] == [b"ready", b"waiters"]

    play(served, scenario)


def test_one_who_gives_up_or_dies_has_not_entered(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as session:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await DoubleBarrier(session, b"race", 2).enter()
            assert await keys(client) == []
            async with asyncio.TaskGroup() as group:
                group.create_task(end(session), name="end")
                with pytest.raises(SessionExpired):
                    await DoubleBarrier(session, b"race", 2).enter()
            assert await keys(client) == []

    async def end(session: Session) -> None:
        await until_watched(served, 1)
        await session.close()

    play(served, scenario)


def test_one_who_dies_inside_holds_nobody_up(served: Served) -> None:
    async def scenario(client: Client) -> None:
        dying = Session(client)
        await dying.start()
        async with Session(client) as other:
            one, two = DoubleBarrier(dying, b"race", 2), DoubleBarrier(other, b"race", 2)
            async with asyncio.TaskGroup() as group:
                group.create_task(one.enter(), name="one")
                await until_keys(served, 1)
                await two.enter()
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(two.leave(), name="leave")
                await until_watched(served, 1)
                assert not leaving.done()
                await dying.close()

    play(served, scenario)
