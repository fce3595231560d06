"""gRPC health."""

from kvstore.api.rpc import Context, Requests, Send, Service
from kvstore.wire import codec, messages
from kvstore.wire.status import Code, RpcError

_SERVING, _SERVICE_UNKNOWN = 1, 3


class Health(Service):
    async def check(self, _context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.HealthCheckRequest, data)
        if request.service:
            raise RpcError(Code.NOT_FOUND, "unknown service")
        return messages.HealthCheckResponse(status=_SERVING).SerializeToString()  # type: ignore[no-any-return]

    async def watch(self, _context: Context, requests: Requests, send: Send) -> None:
        async for data in requests:
            request = codec.parse(messages.HealthCheckRequest, data)
            status = _SERVICE_UNKNOWN if request.service else _SERVING
            await send(messages.HealthCheckResponse(status=status).SerializeToString())
            async for _ in requests:
                pass  # until the client goes: the status does not change while we serve
