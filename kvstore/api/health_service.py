"""grpc.health.v1.Health: whether this server may be asked. It may from the first moment that it answers at all, but for one thing: while it
defragments, if the gate StopGRPCServiceOnDefrag says so (etcd's v3rpc/health.go)."""

import asyncio
import logging

from keelson.cogs.logs import fields
from kvstore.api.backend import Backend
from kvstore.api.rpc import Context, Requests, Send, Service, Settings
from kvstore.wire import codec, messages
from kvstore.wire.status import Code, RpcError

log = logging.getLogger("kvstore.api")

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


class Serving:
    """The status of the whole server, which is known under the empty name only."""

    def __init__(self) -> None:
        self.status = SERVING
        self._waiting: set[asyncio.Future[None]] = set()

    def set(self, status: int, reason: str) -> None:
        if status == self.status:
            return
        self.status = status
        name = "SERVING" if status == SERVING else "NOT_SERVING"
        log.info("grpc service status changed", extra=fields(service="", status=name, reason=reason))
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def other_than(self, seen: int) -> int:
        """The status as soon as it is not `seen`."""
        while self.status == seen:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
        return self.status


class Health(Service):
    def __init__(self, backend: Backend, settings: Settings, serving: Serving) -> None:
        super().__init__(backend, settings)
        self._serving = serving

    async def check(self, _context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.HealthCheckRequest, data)
        if request.service:
            raise RpcError(Code.NOT_FOUND, "unknown service")
        return _response(self._serving.status)

    async def list(self, _context: Context, data: bytes) -> bytes:
        codec.parse(messages.HealthListRequest, data)
        response = messages.HealthListResponse()
        response.statuses[""].status = self._serving.status
        return response.SerializeToString()  # type: ignore[no-any-return]

    async def watch(self, _context: Context, requests: Requests, send: Send) -> None:
        """The status now and whenever it changes, until the client goes."""
        async for data in requests:
            request = codec.parse(messages.HealthCheckRequest, data)
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(self._tell(send, bool(request.service)), name="health watch")
                async for _ in requests:
                    pass
                telling.cancel()

    async def _tell(self, send: Send, unknown: bool) -> None:
        if unknown:
            await send(_response(SERVICE_UNKNOWN))
            return
        status = self._serving.status
        while True:
            await send(_response(status))
            status = await self._serving.other_than(status)


def _response(status: int) -> bytes:
    return messages.HealthCheckResponse(status=status).SerializeToString()  # type: ignore[no-any-return]
