"""v3lockpb.Lock: a mutex as one call (semantics LK-1 to LK-5). Whoever holds the key returned holds the lock."""

from kvstore.api.contest import Contest, Place, codes_lost, in_callers_name, prefix_of
from kvstore.api.rpc import Context
from kvstore.checks import check_delete_range
from kvstore.errors import SessionExpired
from kvstore.model import DeleteRange, Range
from kvstore.wire import codec, messages


class Lock(Contest):
    @in_callers_name
    async def lock(self, _context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.LockRequest, data)
        with codes_lost():
            lease = await self.lease(request.lease)
            place = await self.enter(prefix_of(request.name), b"", lease)
            header = place.header if place.is_first else await self._wait(place)
        return header + messages.LockResponse(key=place.key).SerializeToString()  # type: ignore[no-any-return]

    async def _wait(self, place: Place) -> bytes:
        """The header of the answer that showed the lock to be ours."""
        try:
            await self.turn(place)
            result = await self.store.range(Range(place.key))
        except BaseException:
            await self.withdraw(self.store.delete_range(DeleteRange(place.key)))
            raise
        if not result.kvs:
            raise SessionExpired
        return self.header(result.revision)

    @in_callers_name
    async def unlock(self, _context: Context, data: bytes) -> bytes:
        """Delete the key, whoever asks, and whether there is one or not (LK-4)."""
        request = codec.parse(messages.UnlockRequest, data)
        change = DeleteRange(request.key)
        with codes_lost():
            check_delete_range(change)
            self.check_size(request.key)
            result = await self.store.delete_range(change)
        return self.header(result.revision)
