"""The client library against real members that die: failover, a watch without gap or repeat, a lease kept alive."""

import asyncio
from collections.abc import Iterator

import pytest

from kvstore.client.client import Client
from kvstore.client.errors import WatchCompacted
from kvstore.errors import EmptyKey, FutureRevision, LeaseNotFound, StoreError
from tests.support import kinds
from tests.support.members import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(kinds.find(kinds.KEELSON), tmp_path_factory.mktemp("keelson")) as started:
        started.wait_healthy()
        yield started


def client_of(cluster: Cluster, timeout_s: float = 10) -> Client:
    return Client([member.endpoint for member in cluster], timeout_s=timeout_s)


def test_errors_are_the_stores_own(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with client_of(cluster) as client:
            with pytest.raises(EmptyKey):
                await client.put(b"", b"x")
            with pytest.raises(FutureRevision):
                await client.get(b"a", revision=1 << 40)
            with pytest.raises(LeaseNotFound):
                await client.put(b"a", b"x", lease=12345)

    asyncio.run(scenario())


def test_calls_go_on_when_a_member_dies(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with client_of(cluster) as client:
            await client.put(b"before", b"1")
            cluster[0].kill()
            try:
                for number in range(20):
                    try:
                        await client.put(b"during", b"%d" % number)
                    except StoreError:
                        # A write that was on its way to the dead leader ends in a time-out, and only its caller knows that it may be repeated.
                        await client.put(b"during", b"%d" % number)
                found = await client.get(b"during")
                assert found.kvs[0].value == b"19"
            finally:
                cluster[0].start()

    asyncio.run(scenario())
    cluster.wait_healthy()


def test_a_watch_tells_everything_once_whatever_dies(cluster: Cluster) -> None:
    total = 120

    async def scenario() -> list[bytes]:
        seen: list[bytes] = []
        async with client_of(cluster) as writer, client_of(cluster) as reader:
            first = (await writer.put(b"w/start", b"")).header.revision + 1

            async def follow() -> None:
                async for response in reader.watch(b"w/", b"w0", start_revision=first):
                    seen.extend(event.kv.value for event in response.events)
                    if len(seen) >= total:
                        return

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(follow(), name="follow")
                written = 0
                while written < total:
                    if written in (30, 60, 90):
                        victim = cluster[written // 30 - 1]
                        victim.kill()
                        victim.start()
                    try:
                        await writer.put(b"w/%d" % (written % 7), b"%d" % written)
                    except StoreError:
                        # Whether it happened is not known: say the same again under the next number only if it did not.
                        found = await writer.get(b"w/%d" % (written % 7))
                        if not found.kvs or found.kvs[0].value != b"%d" % written:
                            continue
                    written += 1
        return seen

    seen = asyncio.run(scenario())
    assert seen == [b"%d" % number for number in range(total)]
    cluster.wait_healthy()


def test_a_watch_of_what_is_gone_says_from_where_on_there_is_history(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with client_of(cluster) as client:
            for _ in range(3):
                last = (await client.put(b"c", b"x")).header.revision
            await client.compact(last)
            with pytest.raises(WatchCompacted) as caught:
                async for _ in client.watch(b"c", start_revision=last - 1):
                    raise AssertionError("history that is gone was told")
            assert caught.value.revision == last

    asyncio.run(scenario())


def test_a_lease_is_kept_alive_and_its_end_is_told(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with client_of(cluster) as client:
            lease_id = (await client.lease_grant(2)).ID
            await client.put(b"leased", b"x", lease=lease_id)
            renewals = 0
            with pytest.raises(LeaseNotFound):
                async with asyncio.timeout(30):
                    async for response in client.keep_alive(lease_id):
                        assert response.TTL == 2
                        renewals += 1
                        if renewals == 5:
                            assert (await client.get(b"leased")).kvs, "renewed for longer than its TTL"
                            await client.lease_revoke(lease_id)
            assert not (await client.get(b"leased")).kvs

    asyncio.run(scenario())
