"""v3electionpb.Election: campaign, proclaim, resign; who leads, and who leads next (semantics EL-1 to EL-4)."""

from typing import Any

from kvstore.api.contest import Contest, Place, codes_lost, in_callers_name, oldest, prefix_of, unchanged
from kvstore.api.rpc import Context, Requests, Send
from kvstore.api.watching import Watching
from kvstore.checks import check_delete_range, check_put
from kvstore.encoding import decode_event, decode_key_value, varint
from kvstore.errors import NobodyElected, NotElected
from kvstore.ids import Revision
from kvstore.model import DeleteRange, EncodedKeyValue, Put, Txn, WatchSpec
from kvstore.wire import codec, messages
from kvstore.wire.status import Code, RpcError

_NO_LEADER_KEY = RpcError(Code.UNKNOWN, '"leader" field must be provided')


class Election(Contest):
    @in_callers_name
    async def campaign(self, _context: Context, data: bytes) -> bytes:
        """As in etcd, a candidate whose lease ends while it waits is not told so here: its key is gone, and the next proclamation fails."""
        request = codec.parse(messages.CampaignRequest, data)
        with codes_lost():
            lease = await self.lease(request.lease)
            place = await self.enter(prefix_of(request.name), request.value, lease)
            if place.value != request.value and await self.change(place.key, place.revision, Put(place.key, request.value, lease)) is None:
                raise NotElected
            if not place.is_first:
                await self._wait(place)
        leader = messages.LeaderKey(name=request.name, key=place.key, rev=place.revision, lease=lease)
        return place.header + messages.CampaignResponse(leader=leader).SerializeToString()  # type: ignore[no-any-return]

    async def _wait(self, place: Place) -> None:
        try:
            await self.turn(place)
        except BaseException:
            await self.withdraw(self.change(place.key, place.revision, DeleteRange(place.key)))
            raise

    @in_callers_name
    async def proclaim(self, _context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.ProclaimRequest, data)
        if not request.HasField("leader"):
            raise _NO_LEADER_KEY
        leader = request.leader
        with codes_lost():
            put = Put(leader.key, request.value, await self.lease(leader.lease))
            check_put(put)
            self.check_size(leader.key, leader.key, request.value)
            header = await self.change(leader.key, leader.rev, put)
            if header is None:
                raise NotElected
        return header

    @in_callers_name
    async def resign(self, _context: Context, data: bytes) -> bytes:
        """Whoever leads no more has nothing to resign from, and is not told (EL-2)."""
        request = codec.parse(messages.ResignRequest, data)
        if not request.HasField("leader"):
            raise _NO_LEADER_KEY
        leader = request.leader
        with codes_lost():
            await self.lease(leader.lease)
            change = DeleteRange(leader.key)
            check_delete_range(change)
            self.check_size(leader.key, leader.key)
            result = await self.store.txn(Txn((unchanged(leader.key, leader.rev),), (change,)))
        return self.header(result.revision)

    @in_callers_name
    async def leader(self, _context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.LeaderRequest, data)
        with codes_lost():
            result = await self.store.range(oldest(prefix_of(request.name)))
            if not result.kvs:
                raise NobodyElected
        return self._told(result.revision, result.kvs[0])

    @in_callers_name
    async def observe(self, _context: Context, requests: Requests, send: Send) -> None:
        """The leader's key now and after each of its changes, and so on with the next leader; silent while there is none (EL-3).

        Not every value of former leaders is told: between two leaders only the one is that the state then knows.
        """
        async for data in requests:
            request: Any = codec.parse(messages.LeaderRequest, data)
            break
        else:
            raise RpcError(Code.INTERNAL, "grpc: the request ended before its message did")
        prefix = prefix_of(request.name)
        with codes_lost():
            while True:
                result = await self.store.range(oldest(prefix))
                if result.kvs:
                    revision, kv = result.revision, result.kvs[0]
                else:
                    revision, kv = await self._first(prefix, result.revision)
                await send(self._told(revision, kv))
                await self._follow(decode_key_value(kv).key, revision, send)

    async def _first(self, prefix: bytes, revision: Revision) -> tuple[Revision, EncodedKeyValue]:
        """The next key under a prefix that had none at `revision`."""
        spec = WatchSpec(0, prefix, oldest(prefix).range_end, start_revision=revision + 1, no_delete=True)
        with Watching(self.store, spec) as watching:
            async for update in watching:
                if update.compact_revision:
                    break
                for event in update.events:
                    kv = decode_event(event)[1]
                    return Revision(decode_key_value(kv).mod_revision), kv
        raise _closed_early()

    async def _follow(self, key: bytes, revision: Revision, send: Send) -> None:
        """Tell each change of `key` after `revision` until it is deleted."""
        with Watching(self.store, WatchSpec(0, key, start_revision=revision + 1)) as watching:
            async for update in watching:
                if update.compact_revision:
                    break
                for event in update.events:
                    deleted, kv = decode_event(event)
                    if deleted:
                        return
                    await send(self._told(update.revision, kv))
        raise _closed_early()

    def _told(self, revision: Revision, kv: EncodedKeyValue) -> bytes:
        """A LeaderResponse."""
        return self.header(revision) + b"\x12" + varint(len(kv)) + kv


def _closed_early() -> RpcError:
    """Changes were compacted before they could be told."""
    return RpcError(Code.UNKNOWN, "election: observe closed early")
