"""The leased-key cache over gRPC, on the model of etcd."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from keelson.drills.checkers import linearizability
from kvstore.client import leasing as module
from kvstore.client.client import Client
from kvstore.client.leasing import REVOKE, Leasing
from kvstore.errors import EmptyKey, StoreError
from kvstore.wire import messages
from tests.support.leasing_load import LeasingLoad
from tests.unit.api.served import Served
from tests.unit.client.scenario import keys, play, until


@asynccontextmanager
async def opened(client: Client) -> AsyncIterator[Leasing]:
    async with Leasing(client, b"l/") as store:
        await until(lambda: store._session is not None)
        yield store


async def value(client: Client, key: bytes) -> bytes | None:
    kvs = (await client.get(key)).kvs
    return bytes(kvs[0].value) if kvs else None


def asked(served: Served) -> int:
    return sum(served.app.stats.started.values())


def test_the_second_read_asks_nobody(served: Served) -> None:
    async def scenario(client: Client) -> None:
        await client.put(b"a", b"1")
        async with opened(client) as store:
            first = await store.get(b"a")
            assert (await store.get(b"none")).count == 0
            assert await keys(client) == [b"a", b"l/a", b"l/none"]
            before = asked(served)
            for _ in range(10):
                assert await store.get(b"a") == messages.RangeResponse(header=first.header, kvs=first.kvs, count=1)
                assert (await store.get(b"none")).kvs == []
            assert (asked(served), store.hits) == (before, 20)
            await store.get(b"a", serializable=True)
            await store.get(b"a", keys_only=True)
            await store.get(b"a", b"b")
            assert asked(served) == before + 3
        assert await keys(client) == [b"a"]

    play(served, scenario)


def test_own_writes_go_through_and_are_remembered(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with opened(client) as store:
            await store.get(b"a")
            put = await store.put(b"a", b"1")
            assert await value(client, b"a") == b"1"
            before = asked(served)
            found = await store.get(b"a")
            assert (found.kvs[0].value, found.kvs[0].version, found.kvs[0].create_revision) == (b"1", 1, put.header.revision)
            assert asked(served) == before
            again = await store.put(b"a", b"2", prev_kv=True)
            assert again.prev_kv.value == b"1"
            assert (await store.get(b"a")).kvs[0].version == 2
            gone = await store.delete(b"a", prev_kv=True)
            assert (gone.deleted, gone.prev_kvs[0].value, gone.header.revision) == (1, b"2", again.header.revision + 1)
            before = asked(served)
            assert (await store.get(b"a")).count == 0
            assert asked(served) == before

    play(served, scenario)


def test_anothers_write_waits_until_the_owner_has_forgotten(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with opened(client) as one, opened(client) as other:
            await client.put(b"a", b"0")
            await one.get(b"a")
            assert (await other.get(b"a")).kvs[0].value == b"0"
            assert other._kept == {}
            await other.put(b"a", b"1")
            assert one._kept == {}
            assert await value(one, b"a") == b"1"
            assert await value(other, b"a") == b"1"
            assert await keys(client) in ([b"a"], [b"a", b"l/a"])

    play(served, scenario)


def test_ranges_and_transactions_concern_every_key_in_them(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with opened(client) as one, opened(client) as other:
            for store, key in ((one, b"a"), (other, b"b"), (one, b"c")):
                await client.put(key, b"0")
                await store.get(key)
            assert (await one.delete(b"a", b"c")).deleted == 2
            assert [await value(store, key) for store in (one, other) for key in (b"a", b"b", b"c")] == [None, None, b"0"] * 2
            puts = [messages.RequestOp(request_put=messages.PutRequest(key=key, value=b"1")) for key in (b"a", b"b", b"c")]
            compare = messages.Compare(key=b"c", target=messages.Compare.VALUE, value=b"0")
            for succeeded in (True, False):
                get = messages.RequestOp(request_range=messages.RangeRequest(key=b"a"))
                answer = await other.txn(messages.TxnRequest(compare=[compare], success=puts, failure=[get, puts[1]]))
                assert answer.succeeded == succeeded
                assert answer.header.revision
                assert [await value(store, key) for store in (one, other) for key in (b"a", b"b", b"c")] == [b"1"] * 6
            assert (await one.delete(b"\0", b"\0")).deleted >= 3

    play(served, scenario)


def test_a_dead_owner_is_waited_for_as_long_as_its_lease(served: Served) -> None:
    async def scenario(client: Client) -> None:
        lease = (await client.lease_grant(60)).ID
        await client.put(b"l/a", b"", lease=lease)
        async with opened(client) as store:
            assert await value(store, b"a") is None
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(store.put(b"a", b"1"), name="write")
                while (await client.get(b"l/a")).kvs[0].value != REVOKE:
                    assert not writing.done()
                assert await value(client, b"a") is None
                await client.lease_revoke(lease)
            assert await value(client, b"a") == b"1"

    play(served, scenario)


def test_a_key_on_a_lease_is_not_kept(served: Served) -> None:
    async def scenario(client: Client) -> None:
        lease = (await client.lease_grant(60)).ID
        async with opened(client) as store:
            await client.put(b"a", b"1", lease=lease)
            assert await value(store, b"a") == b"1"
            assert store._kept == {}
            await store.get(b"b")
            await store.put(b"b", b"1", lease=lease)
            assert store._kept == {}
            await client.lease_revoke(lease)
            assert [await value(store, key) for key in (b"a", b"b")] == [None, None]

    play(served, scenario)


def test_with_the_session_the_memory_ends_and_begins_anew(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with opened(client) as store:
            await store.get(b"a")
            session = store._session
            assert session is not None
            await session._tasks.close()  # no renewal comes through any more
            session._deadline_s = 0.0  # the clock has passed it, and nobody has noticed
            hits = store.hits
            await client.put(b"a", b"behind its back")
            assert await value(store, b"a") == b"behind its back"
            assert store.hits == hits
            session._end(None)
            await until(lambda: store._session not in (None, session))
            assert store._kept == {}
            assert await value(store, b"a") == b"behind its back"
            assert await value(store, b"a") == b"behind its back"
            assert store.hits == hits + 1

    play(served, scenario)


def test_a_write_whose_outcome_nobody_knows_ends_the_session(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with opened(client) as store:
            await store.get(b"a")
            session = store._session
            served.do(lambda backend: backend.gate.clear())
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(store.put(b"a", b"1"), name="write")
                await until(lambda: served.do(lambda backend: backend.waiting == 1))
                writing.cancel()
            assert writing.cancelled()
            assert (store._kept, store._session) == ({}, None)
            served.do(lambda backend: backend.gate.set())
            await until(lambda: store._session not in (None, session))
            # The write itself may still have happened, as its leasing key was there: only that must be gone.
            await until(lambda: served.do(lambda backend: [kv.key for kv in backend.model.state.range(b"\0", b"\0")] in ([], [b"a"])))

    play(served, scenario)


def test_reads_while_a_write_is_under_way_ask_the_server(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with opened(client) as store:
            await store.get(b"a")
            served.do(lambda backend: backend.gate.clear())
            async with asyncio.TaskGroup() as group:
                group.create_task(store.put(b"a", b"1"), name="write")
                await until(lambda: served.do(lambda backend: backend.waiting == 1))
                hits = store.hits
                assert await value(store, b"a") is None
                assert store.hits == hits
                served.do(lambda backend: backend.gate.set())
            assert await value(store, b"a") == b"1"

    play(served, scenario)


def test_what_the_server_refuses_hurts_nothing(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with opened(client) as store:
            await store.get(b"a")
            session = store._session
            for call in (store.put(b"", b"x"), store.get(b""), store.delete(b"")):
                with pytest.raises(EmptyKey):
                    await call
            with pytest.raises(StoreError, match="lease not found"):
                await store.put(b"a", b"x", lease=404)
            assert store._session is session
            assert list(store._kept) == [b"a"]

    play(served, scenario)


def test_no_more_keys_are_kept_than_the_limit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEYS_MAX", 3)

    async def scenario(client: Client) -> None:
        async with opened(client) as store:
            for number in range(6):
                await store.get(b"%d" % number)
            assert len(store._kept) == 3

    play(served, scenario)


@pytest.mark.parametrize("seed", range(6))
def test_random_schedules_are_linearizable(served: Served, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(module, "REST_S", 0.002)
    load = LeasingLoad(b"x/", seed, keys=2, delay_s=0.004)

    async def scenario(client: Client) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(load.work(client, range(2 * number, 2 * number + 2), 40), name=f"client {number}")

    play(served, scenario)
    assert load.hits > 10, "hardly anything came from memory: this history shows little"
    linearizability.check(load.operations)
