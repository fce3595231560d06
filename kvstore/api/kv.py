"""etcdserverpb.KV: check, ask the backend, shape the answer."""

from kvstore.api.rpc import Context, Service
from kvstore.checks import check_delete_range, check_put, check_range, check_txn
from kvstore.errors import NotSupportedForLearner, RequestTooLarge
from kvstore.wire import codec


class KV(Service):
    async def range(self, context: Context, data: bytes) -> bytes:
        request = codec.range_request(data)
        if not request.serializable and self.backend.is_learner():
            raise NotSupportedForLearner
        check_range(request)
        result = await self.backend.range(request, context.credentials)
        return codec.range_response(self.header(result.revision), result)

    async def put(self, context: Context, data: bytes) -> bytes:
        request = codec.put_request(data)
        check_put(request)
        self._check_size(data)
        result = await self.backend.put(request, context.credentials)
        return codec.put_response(self.header(result.revision), result)

    async def delete_range(self, context: Context, data: bytes) -> bytes:
        request = codec.delete_range_request(data)
        check_delete_range(request)
        self._check_size(data)
        result = await self.backend.delete_range(request, context.credentials)
        return codec.delete_range_response(self.header(result.revision), result)

    async def txn(self, context: Context, data: bytes) -> bytes:
        request = codec.txn_request(data)
        check_txn(request, self.settings.txn_operations_max)
        self._check_size(data)
        result = await self.backend.txn(request, context.credentials)
        return codec.txn_response(self.header(result.revision), result)

    async def compact(self, context: Context, data: bytes) -> bytes:
        request = codec.compaction_request(data)
        self._check_size(data)
        result = await self.backend.compact(request, context.credentials)
        return self.header(result.revision)

    def _check_size(self, data: bytes) -> None:
        if len(data) > self.settings.request_bytes_max:
            raise RequestTooLarge
