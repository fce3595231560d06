"""`Election`: one leader at a time, with a value that everybody can see (clientv3/concurrency/election.go).

    election = Election(session, b"scheduler")
    await election.campaign(b"host-1")      # waits until we lead
    await election.proclaim(b"host-1:8080")
    await election.resign()

What a leader does is fenced as under a lock (see `client.lock`): by transactions that compare `is_leader()`.
"""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from kvstore.client.client import Client, prefix_end
from kvstore.client.contest import Contender, delete_if_unchanged, guarded, oldest
from kvstore.client.errors import WatchCompacted
from kvstore.client.session import Session
from kvstore.errors import NobodyElected, NotElected
from kvstore.wire import messages

_RANGE = "/etcdserverpb.KV/Range"


class Election(Contender):
    def __init__(self, session: Session, name: bytes) -> None:
        super().__init__(session, name)
        self.name = name

    @classmethod
    def resume(cls, session: Session, name: bytes, key: bytes, revision: int) -> "Election":
        """Go on with what was won before, in this process or another: `session` took the lease over, key and revision were kept."""
        election = cls(session, name)
        election.key, election.revision = key, revision
        return election

    async def campaign(self, value: bytes) -> None:
        """Wait until we lead, with `value`. Raises SessionExpired, StoreError; then, and when cancelled, we are no candidate any more."""
        response = await self.enter(value)
        if not response.succeeded and response.responses[0].response_range.kvs[0].value != value:
            try:
                await self.proclaim(value)
            except BaseException:
                await self.forget(self.revision)
                raise
        if not self.is_first(response):
            await self.turn()

    async def proclaim(self, value: bytes) -> None:
        """A new value, without another election. Raises NotElected if our key is gone."""
        put = messages.RequestOp(request_put=messages.PutRequest(key=self.key, value=value, lease=self.session.lease))
        if not self.revision:
            raise NotElected
        response = await guarded(self.client, self.key, self.revision, put)
        if not response.succeeded:
            self.revision = 0
            raise NotElected
        self.header = response.header

    async def resign(self) -> None:
        """Let another lead. Nothing happens if we do not."""
        if self.revision:
            self.header = (await delete_if_unchanged(self.client, self.key, self.revision)).header
            self.revision = 0

    def is_leader(self) -> Any:
        """A Compare for transactions that may only happen while we lead."""
        return self.is_mine()

    async def leader(self) -> Any:
        """Who leads: a LeaderResponse. Raises NobodyElected."""
        return await leader(self.client, self.name)

    def observe(self) -> AsyncGenerator[Any, None]:
        return observe(self.client, self.name)


async def leader(client: Client, name: bytes) -> Any:
    """Who leads: a LeaderResponse with header and kv. Raises NobodyElected."""
    found = await client.call(_RANGE, oldest(name + b"/"), is_read=True)
    if not found.kvs:
        raise NobodyElected
    return messages.LeaderResponse(header=found.header, kv=found.kvs[0])


async def observe(client: Client, name: bytes) -> AsyncGenerator[Any, None]:
    """LeaderResponses: the leader and each value that it proclaims, then the next leader, without end; silent while nobody leads.

    Not every leader between two looks is told, but the latest always is. Needs no session. Raises StoreError.
    """
    prefix = name + b"/"
    while True:
        with contextlib.suppress(WatchCompacted):  # what was missed does not matter: the next look tells who leads now
            found = await client.call(_RANGE, oldest(prefix), is_read=True)
            now = messages.LeaderResponse(header=found.header, kv=found.kvs[0]) if found.kvs else await _first(client, prefix, found.header.revision)
            yield now
            async with contextlib.aclosing(_changes(client, now.kv.key, now.header.revision)) as changes:
                async for changed in changes:
                    yield changed


async def _first(client: Client, prefix: bytes, revision: int) -> Any:
    """The next key under a prefix that had none at `revision`."""
    watcher = client.watch(prefix, prefix_end(prefix), start_revision=revision + 1, filters=[messages.WatchCreateRequest.NODELETE])
    async with contextlib.aclosing(aiter(watcher)) as responses:
        async for response in responses:
            for event in response.events:
                header = messages.ResponseHeader()
                header.CopyFrom(response.header)
                header.revision = event.kv.mod_revision  # the answer may tell of later ones as well
                return messages.LeaderResponse(header=header, kv=event.kv)
    raise AssertionError("a watcher goes on until it raises")


async def _changes(client: Client, key: bytes, revision: int) -> AsyncGenerator[Any, None]:
    """Each change of `key` after `revision`, until it is deleted."""
    async with contextlib.aclosing(aiter(client.watch(key, start_revision=revision + 1))) as responses:
        async for response in responses:
            for event in response.events:
                if event.type == messages.Event.DELETE:
                    return
                yield messages.LeaderResponse(header=response.header, kv=event.kv)
