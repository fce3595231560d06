"""The client library's election over gRPC, on the model of etcd."""

import asyncio
import contextlib

import pytest

from kvstore.client.client import Client
from kvstore.client.election import Election, leader, observe
from kvstore.client.session import Session
from kvstore.errors import NobodyElected, NotElected, SessionExpired
from kvstore.wire import messages
from tests.unit.api.served import Served
from tests.unit.client.scenario import keys, play, until, until_watched


def test_campaign_proclaim_resign(served: Served) -> None:
    async def scenario(client: Client) -> None:
        with pytest.raises(NobodyElected):
            await leader(client, b"throne")
        async with Session(client) as session:
            election = Election(session, b"throne")
            with pytest.raises(NotElected):
                await election.proclaim(b"too early")
            await election.resign()
            await election.campaign(b"one")
            found = await election.leader()
            assert (found.kv.key, found.kv.value, found.kv.create_revision) == (election.key, b"one", election.revision)
            await election.campaign(b"two")
            await election.proclaim(b"three")
            now = (await leader(client, b"throne")).kv
            assert (now.value, now.create_revision, now.version) == (b"three", election.revision, 3)
            put = messages.RequestOp(request_put=messages.PutRequest(key=b"done"))
            fence = election.is_leader()
            assert (await client.txn(messages.TxnRequest(compare=[fence], success=[put]))).succeeded
            await election.resign()
            assert not (await client.txn(messages.TxnRequest(compare=[fence], success=[put]))).succeeded
            with pytest.raises(NotElected):
                await election.proclaim(b"too late")

    play(served, scenario)


def test_the_next_leads_when_the_first_is_gone(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as one, Session(client) as other:
            first, second = Election(one, b"throne"), Election(other, b"throne")
            await first.campaign(b"one")

            async def resign() -> None:
                await until_watched(served, 1)
                assert (await leader(client, b"throne")).kv.value == b"one"
                await first.resign()

            async with asyncio.TaskGroup() as group:
                group.create_task(resign(), name="resign")
                await second.campaign(b"two")
            assert (await leader(client, b"throne")).kv.value == b"two"

    play(served, scenario)


def test_a_candidate_whose_lease_went_while_it_waited_is_told(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as one, Session(client) as other:
            first = Election(one, b"throne")
            await first.campaign(b"one")

            async def end() -> None:
                await until_watched(served, 1)
                await client.lease_revoke(other.lease)
                await first.resign()

            async with asyncio.TaskGroup() as group:
                group.create_task(end(), name="end")
                with pytest.raises(SessionExpired):
                    await Election(other, b"throne").campaign(b"two")

    play(served, scenario)


def test_a_leader_that_comes_back_goes_on(served: Served) -> None:
    async def scenario(client: Client) -> None:
        session = Session(client)
        await session.start()
        election = Election(session, b"throne")
        await election.campaign(b"one")
        await session.orphan()
        async with Session(client, lease=session.lease) as back:
            resumed = Election.resume(back, b"throne", election.key, election.revision)
            await resumed.proclaim(b"again")
            assert (await resumed.leader()).kv.value == b"again"
            await resumed.resign()
            assert await keys(client) == []

    play(served, scenario)


def test_observers_hear_of_every_leader(served: Served) -> None:
    heard: list[bytes] = []

    async def scenario(client: Client) -> None:
        async def listen() -> None:
            async with contextlib.aclosing(observe(client, b"throne")) as leaders:
                async for now in leaders:
                    heard.append(now.kv.value)
                    assert now.header.revision >= now.kv.mod_revision
                    if len(heard) == 4:
                        return

        async with asyncio.TaskGroup() as group, Session(client) as one, Session(client) as other:
            group.create_task(listen(), name="listen")
            await until_watched(served, 1)
            first, second = Election(one, b"throne"), Election(other, b"throne")
            await first.campaign(b"one")
            await first.proclaim(b"more")
            candidate = group.create_task(second.campaign(b"two"), name="candidate")
            await until(lambda: len(heard) >= 2)
            await until_watched(served, 2)
            await first.resign()
            await candidate
            await until(lambda: len(heard) >= 3)
            await second.resign()
            await first.campaign(b"three")

    play(served, scenario)
    assert heard == [b"one", b"more", b"two", b"three"]


def test_a_proclamation_that_fails_ends_the_campaign(served: Served) -> None:
    async def scenario(client: Client) -> None:
        async with Session(client) as one:
            await Election(one, b"throne").campaign(b"one")
            other = Election(one, b"throne")
            with pytest.raises(Exception, match="too large"):
                await other.campaign(b"x" * 1_600_000)
            assert await keys(client) in ([], [other.key])

    play(served, scenario)
