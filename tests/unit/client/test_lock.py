"""The client library's mutex over gRPC, on the model of etcd."""

import asyncio

import pytest

from kvstore.client import waiting
from kvstore.client.client import Client
from kvstore.client.lock import Mutex
from kvstore.client.session import Session
from kvstore.errors import LockedByAnother, LockReleased, SessionExpired
from kvstore.wire import messages
from tests.unit.api.coordination import Coordination
from tests.unit.api.served import Served
from tests.unit.client.scenario import keys, play, until, until_keys, until_watched


def test_one_after_the_other_in_the_order_in_which_they_asked(served: Served) -> None:
    order: list[int] = []

    async def scenario(client: Client) -> None:
        async def hold(number: int) -> None:
            async with Session(client, ttl_s=60) as session, Mutex(session, b"door") as mutex:
                order.append(number)
                await until_watched(served, 2 - number)
                assert (await keys(client))[0].startswith(b"door/")
                assert mutex.key == b"door/%x" % session.lease

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(hold(number), name=f"hold {number}")
                await until_keys(served, number + 1)
        assert await keys(client) == []

    play(served, scenario)
    assert order == [0, 1, 2]


def test_a_fenced_write_happens_only_under_the_lock(served: Served) -> None:
    async def scenario(client: Client) -> None:
        put = messages.RequestOp(request_put=messages.PutRequest(key=b"done", value=b"once"))
        async with Session(client) as session:
            async with Mutex(session, b"door") as mutex:
                fence = mutex.is_owner()
                assert (await client.txn(messages.TxnRequest(compare=[fence], success=[put]))).succeeded
            assert not (await client.txn(messages.TxnRequest(compare=[fence], success=[put]))).succeeded
            async with mutex:
                assert not (await client.txn(messages.TxnRequest(compare=[fence], success=[put]))).succeeded, "another lock, under the same key"
                assert (await client.txn(messages.TxnRequest(compare=[mutex.is_owner()], success=[put]))).succeeded

    play(served, scenario)


def test_trying_does_not_wait(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as one, Session(client) as other:
            holder, tries = Mutex(one, b"door"), Mutex(other, b"door")
            await holder.try_lock()
            with pytest.raises(LockedByAnother):
                await tries.try_lock()
            assert await keys(client) == [holder.key]
            with pytest.raises(LockReleased):
                await tries.unlock()
            await holder.unlock()
            await tries.try_lock()
            assert await keys(client) == [tries.key]

    play(served, scenario)


def test_a_waiter_that_is_cancelled_leaves_the_queue(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as one, Session(client) as other, Mutex(one, b"door") as holder:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await Mutex(other, b"door").lock()
            assert await keys(client) == [holder.key]

    play(served, scenario)


def test_a_waiter_whose_session_ends_is_told_at_once(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as one, Mutex(one, b"door") as holder:
            other = Session(client)
            await other.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(ending(other), name="the session's end")
                with pytest.raises(SessionExpired):
                    await Mutex(other, b"door").lock()
            assert await keys(client) == [holder.key]

    async def ending(session: Session) -> None:
        await until_watched(served, 1)
        await session.close()

    play(served, scenario)


def test_a_waiter_whose_key_was_taken_away_does_not_hold_the_lock(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as one, Session(client) as other:
            holder = Mutex(one, b"door")
            await holder.lock()

            async def take_away() -> None:
                await until_watched(served, 1)
                await client.delete(b"door/%x" % other.lease)
                await holder.unlock()

            async with asyncio.TaskGroup() as group:
                group.create_task(take_away(), name="take away")
                with pytest.raises(SessionExpired):
                    await Mutex(other, b"door").lock()

    play(served, scenario)


def test_a_silent_watch_does_not_keep_the_lock_from_a_waiter(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_AGAIN_S", 0.05)

    async def scenario(client: Client) -> None:
        async with Session(client) as one, Session(client) as other:
            holder = Mutex(one, b"door")
            await holder.lock()

            async def unlock_unseen() -> None:
                await until_watched(served, 1)

                def silence(backend: object) -> None:
                    for stream in backend.streams:
                        stream._blocked = True

                served.do(silence)
                await holder.unlock()

            async with asyncio.TaskGroup() as group:
                group.create_task(unlock_unseen(), name="unlock")
                await Mutex(other, b"door").lock()

    play(served, scenario)


def test_an_ended_session_locks_nothing(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as session:
            pass
        with pytest.raises(SessionExpired):
            await Mutex(session, b"door").lock()
        session = Session(client)
        await session.start()
        await client.lease_revoke(session.lease)
        with pytest.raises(SessionExpired):
            await Mutex(session, b"door").lock()
        await session.close()

    play(served, scenario)


def test_leaving_before_the_answer_leaves_no_key_and_asking_again_loses_none(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async def leave(mutex: Mutex) -> None:
            served.do(lambda backend: backend.gate.clear())
            task = asyncio.get_running_loop().create_task(mutex.lock(), name="lock")
            await until(lambda: served.do(lambda backend: backend.waiting == 1))
            task.cancel()
            served.do(lambda backend: backend.gate.set())
            with pytest.raises(asyncio.CancelledError):
                await task

        async with Session(client) as session:
            mutex = Mutex(session, b"door")
            await leave(mutex)
            assert await keys(client) == []
            await mutex.lock()
            await leave(mutex)
            assert await keys(client) == [mutex.key]

    play(served, scenario)


def test_the_service_and_the_library_exclude_each_other(served: Served) -> None:
    service = Coordination(served)
    service.grant(0xA)

    async def scenario(client: Client) -> None:
        async with Session(client) as session:
            async with Mutex(session, b"door"):
                call = service.start("Lock", messages.LockRequest(name=b"door", lease=0xA))
                await until_watched(served, 1)
                assert not call.done()
            assert (await asyncio.to_thread(call.result)).key == b"door/a"
            with pytest.raises(LockedByAnother):
                await Mutex(session, b"door").try_lock()
            assert await keys(client) == [b"door/a"]

    play(served, scenario)
