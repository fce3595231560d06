"""etcdserverpb.Lease."""

from kvstore.api.rpc import Context, Requests, Send, Service
from kvstore.encoding import varint
from kvstore.ids import LeaseId
from kvstore.wire import codec, messages


class Lease(Service):
    async def grant(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.LeaseGrantRequest, data)
        result = await self.backend.lease_grant(LeaseId(request.ID), request.TTL, context.credentials)
        return self.header() + b"\x10" + varint(result.id) + b"\x18" + varint(result.ttl_s)

    async def revoke(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.LeaseRevokeRequest, data)
        result = await self.backend.lease_revoke(LeaseId(request.ID), context.credentials)
        return self.header(result.revision)

    async def keep_alive(self, context: Context, requests: Requests, send: Send) -> None:
        """One answer a request, in order; the header is that of before the renewal (L-4)."""
        async for data in requests:
            request = codec.parse(messages.LeaseKeepAliveRequest, data)
            header = self.header()
            ttl_s = await self.backend.lease_keep_alive(LeaseId(request.ID), context.credentials)
            identity = b"\x10" + varint(request.ID) if request.ID else b""
            await send(header + identity + (b"\x18" + varint(ttl_s) if ttl_s > 0 else b""))

    async def time_to_live(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.LeaseTimeToLiveRequest, data)
        result = await self.backend.lease_time_to_live(LeaseId(request.ID), request.keys, context.credentials)
        response = messages.LeaseTimeToLiveResponse(ID=request.ID, TTL=result.ttl_s, grantedTTL=result.granted_ttl_s, keys=result.keys)
        return self.header() + response.SerializeToString()  # type: ignore[no-any-return]

    async def leases(self, context: Context, data: bytes) -> bytes:
        codec.parse(messages.LeaseLeasesRequest, data)
        leases = await self.backend.lease_leases(context.credentials)
        response = messages.LeaseLeasesResponse(leases=[messages.LeaseStatus(ID=lease_id) for lease_id in leases])
        return self.header() + response.SerializeToString()  # type: ignore[no-any-return]
