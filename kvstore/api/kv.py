"""etcdserverpb.KV: check, ask the backend, shape the answer."""

from kvstore.api.rpc import Context, Service
from kvstore.checks import check_delete_range, check_put, check_range, check_txn
from kvstore.errors import NotSupportedForLearner, RequestTooLarge
from kvstore.model import DeleteRange, DeleteRangeResult, Put, PutResult, Range, RangeResult, Txn, TxnResult
from kvstore.wire import codec


class KV(Service):
    """Each call in two halves, the request that its bytes say and the bytes that say its result: the lane (`lane.py`) has them, too."""

    async def range(self, context: Context, data: bytes) -> bytes:
        return self.range_answer(await self.backend.range(self.range_request(data), context.credentials))

    async def put(self, context: Context, data: bytes) -> bytes:
        return self.put_answer(await self.backend.put(self.put_request(data), context.credentials))

    async def delete_range(self, context: Context, data: bytes) -> bytes:
        return self.delete_range_answer(await self.backend.delete_range(self.delete_range_request(data), context.credentials))

    async def txn(self, context: Context, data: bytes) -> bytes:
        return self.txn_answer(await self.backend.txn(self.txn_request(data), context.credentials))

    async def compact(self, context: Context, data: bytes) -> bytes:
        request = codec.compaction_request(data)
        self._check_size(data)
        result = await self.backend.compact(request, context.credentials)
        return self.header(result.revision)

    def range_request(self, data: bytes) -> Range:
        request = codec.range_request(data)
        if not request.serializable and self.backend.is_learner():
            raise NotSupportedForLearner
        check_range(request)
        return request

    def range_answer(self, result: RangeResult) -> bytes:
        return codec.range_response(self.header(result.revision), result)

    def put_request(self, data: bytes) -> Put:
        request = codec.put_request(data)
        check_put(request)
        self._check_size(data)
        return request

    def put_answer(self, result: PutResult) -> bytes:
        return codec.put_response(self.header(result.revision), result)

    def delete_range_request(self, data: bytes) -> DeleteRange:
        request = codec.delete_range_request(data)
        check_delete_range(request)
        self._check_size(data)
        return request

    def delete_range_answer(self, result: DeleteRangeResult) -> bytes:
        return codec.delete_range_response(self.header(result.revision), result)

    def txn_request(self, data: bytes) -> Txn:
        request = codec.txn_request(data)
        check_txn(request, self.settings.txn_operations_max)
        self._check_size(data)
        return request

    def txn_answer(self, result: TxnResult) -> bytes:
        return codec.txn_response(self.header(result.revision), result)

    def _check_size(self, data: bytes) -> None:
        if len(data) > self.settings.request_bytes_max:
            raise RequestTooLarge
