"""The four calls about keys over the gateway: from JSON to requests and from results to JSON, without protobuf in between (`wire.kv_json`)."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from kvstore.api.backend import Backend
from kvstore.api.kv import KV
from kvstore.api.rpc import Settings
from kvstore.checks import check_delete_range, check_put, check_range, check_txn
from kvstore.errors import NotSupportedForLearner, RequestTooLarge
from kvstore.model import Range, Txn
from kvstore.wire import codec, kv_json, messages
from kvstore.wire.gateway import parse_request
from kvstore.wire.status import Code, RpcError

Read = Callable[[bytes], Any]


class Keys(Struct, frozen=True):
    """One of the four. `read` raises what refuses the request."""

    path: str
    read: Read
    ask: Callable[[Any, Any], Awaitable[Any]]
    write: Callable[[Any], bytes]
    kind: Any
    answer_of: Callable[[Any], bytes]

    def as_grpc(self, data: bytes, result: Any) -> tuple[bytes, bytes]:
        """Request and answer as gRPC would have carried them, for who reports on the call; `result` None: it failed, there is no answer."""
        try:
            request = parse_request(self.kind, text_of(data)).SerializeToString()
        except RpcError:
            request = b""
        return request, b"" if result is None else self.answer_of(result)


class GatewayKeys:
    def __init__(self, kv: KV, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._headers = kv_json.HeaderText(backend.header())
        self._operations_max = settings.txn_operations_max
        self._bytes_max = settings.request_bytes_max
        json, pb = kv_json, messages
        delete_range = check_delete_range, backend.delete_range, json.delete_range_text, kv.delete_range_answer
        rows: list[tuple[str, Any, Read, Any, Any, Any, Any]] = [
            ("Range", pb.RangeRequest, json.read_range, self._check_range, backend.range, json.range_text, kv.range_answer),
            ("Put", pb.PutRequest, json.read_put, check_put, backend.put, json.put_text, kv.put_answer),
            ("DeleteRange", pb.DeleteRangeRequest, json.read_delete_range, *delete_range),
            ("Txn", pb.TxnRequest, json.read_txn, self._check_txn, backend.txn, json.txn_text, kv.txn_answer),
        ]
        self.by_path = {
            f"/etcdserverpb.KV/{name}": Keys(f"/etcdserverpb.KV/{name}", self._reading(kind, read, check), ask, self._writing(write), kind, answer_of)
            for name, kind, read, check, ask, write, answer_of in rows
        }

    def _check_range(self, request: Range) -> None:
        if not request.serializable and self._backend.is_learner():
            raise NotSupportedForLearner
        check_range(request)

    def _check_txn(self, request: Txn) -> None:
        check_txn(request, self._operations_max)

    def _reading(self, kind: Any, read_plain: Read, check: Callable[[Any], None]) -> Read:
        bytes_max = self._bytes_max

        def read(data: bytes) -> Any:
            request = read_plain(data)
            if request is None:
                request = codec.request_of(parse_request(kind, text_of(data)))
            check(request)
            # Protobuf is always shorter than JSON; the limit is one of protobuf, and does not concern ranges.
            if len(data) > bytes_max and type(request) is not Range and parse_request(kind, text_of(data)).ByteSize() > bytes_max:
                raise RequestTooLarge
            return request

        return read

    def _writing(self, write: Callable[[bytes, Any], bytes]) -> Callable[[Any], bytes]:
        def text(result: Any) -> bytes:
            return write(self._headers.write(result.revision, self._backend.header().raft_term), result)

        return text


def text_of(data: bytes) -> str:
    """Raises RpcError."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RpcError(Code.INVALID_ARGUMENT, f"proto: invalid UTF-8: {error}") from error
