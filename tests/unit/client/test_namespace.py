"""Below a prefix: ranges against a slow rule, and every kind of request through a served model."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.client.client import Client
from kvstore.client.lock import Mutex
from kvstore.client.namespace import Namespace, interval
from kvstore.client.session import Session
from kvstore.errors import EmptyKey
from kvstore.wire import messages
from tests.unit.api.served import Served
from tests.unit.client.scenario import keys, play, until_watched

KEYS = st.lists(st.sampled_from([0, 1, 0x61, 0x62, 0xFE, 0xFF]), max_size=4).map(bytes)
SOME_KEYS = KEYS.filter(bool)


def within(key: bytes, first: bytes, range_end: bytes) -> bool:
    """What a range covers (RNG-1), spelt out."""
    if range_end == b"":
        return key == first
    return key >= first if range_end == b"\0" else first <= key < range_end


@given(prefix=SOME_KEYS, first=SOME_KEYS, range_end=KEYS, key=SOME_KEYS, anywhere=SOME_KEYS)
def test_a_range_below_a_prefix_covers_what_it_would_alone(prefix: bytes, first: bytes, range_end: bytes, key: bytes, anywhere: bytes) -> None:
    whole = interval(prefix, first, range_end)
    assert within(prefix + key, *whole) == within(key, first, range_end)
    assert anywhere.startswith(prefix) or not within(anywhere, *whole), "a key beside the prefix"


def test_a_key_is_needed() -> None:
    """The server would take the prefix itself for it."""
    with pytest.raises(EmptyKey):
        interval(b"apps/", b"", b"")


def test_keys_go_in_and_come_out_without_the_prefix(served: Served) -> None:
    async def scenario(client: Client) -> None:
        apps = Namespace(client, b"apps/")
        for key in (b"apps", b"apps0", b"other", b"a"):
            await client.put(key, b"beside")
        await apps.put(b"a", b"1")
        await apps.put(b"b", b"2")
        assert (await apps.put(b"b", b"3", prev_kv=True)).prev_kv.key == b"b"
        assert await keys(client) == [b"a", b"apps", b"apps/a", b"apps/b", b"apps0", b"other"]
        assert [(kv.key, kv.value) for kv in (await apps.get(b"\0", b"\0")).kvs] == [(b"a", b"1"), (b"b", b"3")]
        assert [kv.key for kv in (await apps.get_prefix(b"b")).kvs] == [b"b"]
        assert (await apps.get(b"b", b"\0", count_only=True)).count == 1
        assert [kv.key for kv in (await apps.delete(b"\0", b"\0", prev_kv=True)).prev_kvs] == [b"a", b"b"]
        assert await keys(client) == [b"a", b"apps", b"apps0", b"other"]
        for call in (apps.get(b""), apps.put(b"", b""), apps.delete(b"")):
            with pytest.raises(EmptyKey):
                await call

    play(served, scenario)


def test_transactions_in_transactions(served: Served) -> None:
    async def scenario(client: Client) -> None:
        apps = Namespace(client, b"apps/")
        await apps.put(b"a", b"1")
        put = messages.RequestOp(request_put=messages.PutRequest(key=b"a", value=b"2", prev_kv=True))
        get = messages.RequestOp(request_range=messages.RangeRequest(key=b"a", range_end=b"\0"))
        delete = messages.RequestOp(request_delete_range=messages.DeleteRangeRequest(key=b"b", prev_kv=True))
        compare = messages.Compare(key=b"a", range_end=b"\0", target=messages.Compare.VALUE, value=b"1")
        inner = messages.RequestOp(request_txn=messages.TxnRequest(compare=[compare], success=[put, get], failure=[delete]))
        request = messages.TxnRequest(compare=[compare], success=[inner, delete])
        before = request.SerializeToString()
        answer = await apps.txn(request)
        assert request.SerializeToString() == before, "the caller's request was changed"
        assert answer.succeeded
        nested = answer.responses[0].response_txn
        assert nested.responses[0].response_put.prev_kv.key == b"a"
        assert [kv.key for kv in nested.responses[1].response_range.kvs] == [b"a"]
        assert await keys(client) == [b"apps/a"]

    play(served, scenario)


def test_watches_and_leases(served: Served) -> None:
    async def scenario(client: Client) -> None:
        apps = Namespace(client, b"apps/")
        lease = (await apps.lease_grant(60)).ID
        events: list[tuple[bytes, bytes]] = []

        async def follow() -> None:
            async with contextlib.aclosing(aiter(apps.watch(b"b", b"\0", prev_kv=True))) as responses:
                async for response in responses:
                    events.extend((event.kv.key, event.prev_kv.key) for event in response.events)
                    if len(events) == 3:
                        return

        async with asyncio.TaskGroup() as group:
            group.create_task(follow(), name="follow")
            await until_watched(served, 1)
            await client.put(b"other", b"", lease=lease)
            await apps.put(b"a", b"")
            await apps.put(b"b", b"", lease=lease)
            await client.put(b"apps0", b"")
            await apps.put(b"b", b"1")
            await apps.delete(b"b")
        assert events == [(b"b", b""), (b"b", b"b"), (b"b", b"b")]
        await apps.put(b"b", b"", lease=lease)
        assert (await apps.lease_time_to_live(lease, keys=True)).keys == [b"b"]

    play(served, scenario)


def test_a_lock_below_a_prefix(served: Served) -> None:
    async def scenario(client: Client) -> None:
        apps = Namespace(client, b"apps/")
        async with Session(apps) as one, Session(client) as other, Mutex(one, b"door"):
            assert await keys(client) == [b"apps/door/%x" % one.lease]

            async def take() -> None:
                async with Mutex(other, b"apps/door"):
                    pass

            async with asyncio.TaskGroup() as group:
                task = group.create_task(take(), name="take")
                await until_watched(served, 1)
                assert not task.done()
                await apps.delete(b"door/%x" % one.lease)

    play(served, scenario)
