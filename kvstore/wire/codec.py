"""Protobuf to model and back.

Requests are parsed by protobuf's C library and copied into records. Answers are written by hand from bytes that exist already: a range's
key-values and a watch's events are stored in their wire form, so an answer is a header and a join. Field numbers are in proto/rpc.proto.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain
from typing import Any

from kvstore.encoding import varint
from kvstore.model import (
    Compact,
    Compare,
    CompareTarget,
    DeleteRange,
    DeleteRangeResult,
    EncodedKeyValue,
    Header,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
    WatchSpec,
    WatchUpdate,
)
from kvstore.wire import messages
from kvstore.wire.status import Code, RpcError

_Range, _Put, _DeleteRange, _Txn = messages.RangeRequest, messages.PutRequest, messages.DeleteRangeRequest, messages.TxnRequest
_Compaction = messages.CompactionRequest


def parse(kind: Any, data: bytes) -> Any:
    """A message of the class `kind`. Raises RpcError for bytes that are none."""
    try:
        return kind.FromString(data)
    except Exception as error:
        raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from error


# --- requests -----------------------------------------------------------------------------------------------------------


def range_request(data: bytes) -> Range:
    return _range(parse(_Range, data))


def put_request(data: bytes) -> Put:
    return _put(parse(_Put, data))


def delete_range_request(data: bytes) -> DeleteRange:
    return _delete_range(parse(_DeleteRange, data))


def txn_request(data: bytes) -> Txn:
    return _txn(parse(_Txn, data))


def compaction_request(data: bytes) -> Compact:
    message = parse(_Compaction, data)
    return Compact(message.revision, message.physical)


def _range(m: Any) -> Range:
    return Range(
        m.key,
        m.range_end,
        m.limit,
        m.revision,
        m.sort_order,
        m.sort_target,
        m.serializable,
        m.keys_only,
        m.count_only,
        m.min_mod_revision,
        m.max_mod_revision,
        m.min_create_revision,
        m.max_create_revision,
    )


def _put(m: Any) -> Put:
    return Put(m.key, m.value, m.lease, m.prev_kv, m.ignore_value, m.ignore_lease)


def _delete_range(m: Any) -> DeleteRange:
    return DeleteRange(m.key, m.range_end, m.prev_kv)


def _txn(m: Any) -> Txn:
    return Txn(
        tuple([_compare(compare) for compare in m.compare]),
        tuple([_operation(operation) for operation in m.success]),
        tuple([_operation(operation) for operation in m.failure]),
    )


_OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "request_range": _range,
    "request_put": _put,
    "request_delete_range": _delete_range,
    "request_txn": _txn,
}


def _operation(m: Any) -> Range | Put | DeleteRange | Txn | None:
    which = m.WhichOneof("request")
    return None if which is None else _OPERATIONS[which](getattr(m, which))


_REQUESTS: dict[Any, Callable[[Any], Any]] = {_Range: _range, _Put: _put, _DeleteRange: _delete_range, _Txn: _txn}


def request_of(message: Any) -> Range | Put | DeleteRange | Txn:
    """The request that a message for one of the four calls about keys is."""
    return _REQUESTS[type(message)](message)  # type: ignore[no-any-return]


_OPERANDS = {
    int(CompareTarget.VERSION): "version",
    int(CompareTarget.CREATE): "create_revision",
    int(CompareTarget.MOD): "mod_revision",
    int(CompareTarget.VALUE): "value",
    int(CompareTarget.LEASE): "lease",
}


def _compare(m: Any) -> Compare:
    """The union's member that belongs to the target; another one counts as not set (TXN-5)."""
    field = _OPERANDS.get(m.target)
    operand = getattr(m, field) if field is not None else 0
    return Compare(m.result, m.target, m.key, operand, m.range_end)


def watch_spec(m: Any, watch_id: int) -> WatchSpec:
    """From a WatchCreateRequest; an empty key means the key of one zero byte (W-3)."""
    return WatchSpec(
        watch_id,
        m.key or b"\x00",
        m.range_end,
        m.start_revision,
        m.progress_notify,
        0 in m.filters,
        1 in m.filters,
        m.prev_kv,
        m.fragment,
    )


# --- answers ------------------------------------------------------------------------------------------------------------


_TAGGED_SIZES = [b"\x12" + varint(size) for size in range(4096)]
"""Tag and length of a range's key-values, by their length."""


def field(tag: bytes, content: bytes) -> bytes:
    """A length-delimited field."""
    return tag + varint(len(content)) + content


class HeaderWriter:
    """`ResponseHeader` as field 1 of an answer. Cluster, member and mostly the term stay the same: only the revision is written each time."""

    def __init__(self, header: Header) -> None:
        self._ids = b"\x08" + varint(header.cluster_id) + b"\x10" + varint(header.member_id)
        self._term = -1
        self._term_field = b""

    def write(self, revision: int, term: int) -> bytes:
        """Revision 0 is left out, as a default value is."""
        if term != self._term:
            self._term, self._term_field = term, (b"\x20" + varint(term) if term else b"")
        content = self._ids + b"\x18" + varint(revision) + self._term_field if revision else self._ids + self._term_field
        return b"\x0a" + varint(len(content)) + content


def inner_header(revision: int) -> bytes:
    """The header of an answer inside a transaction's: nothing but the revision (TXN-8)."""
    return field(b"\x0a", b"\x18" + varint(revision))


def key_values(tag: bytes, kvs: Iterable[EncodedKeyValue]) -> bytes:
    return b"".join([part for kv in kvs for part in (tag, varint(len(kv)), kv)])


def range_response(header: bytes, result: RangeResult) -> bytes:
    kvs = result.kvs
    behind = b"\x18\x01" if result.more else b""
    if result.count:
        behind += b"\x20" + varint(result.count)
    if len(kvs) == 1:
        kv = kvs[0]
        return header + b"\x12" + varint(len(kv)) + kv + behind
    if not kvs:
        return header + behind
    # One join of everything: at some megabytes each copy more costs as much as the rest.
    sizes = map(_TAGGED_SIZES.__getitem__, map(len, kvs)) if max(map(len, kvs)) < len(_TAGGED_SIZES) else [b"\x12" + varint(len(kv)) for kv in kvs]
    return b"".join(chain((header,), chain.from_iterable(zip(sizes, kvs, strict=True)), (behind,)))


def put_response(header: bytes, result: PutResult) -> bytes:
    return header if result.prev_kv is None else header + field(b"\x12", result.prev_kv)


def delete_range_response(header: bytes, result: DeleteRangeResult) -> bytes:
    if result.deleted:
        header += b"\x10" + varint(result.deleted)
    return header + key_values(b"\x1a", result.prev_kvs) if result.prev_kvs else header


def txn_response(header: bytes, result: TxnResult) -> bytes:
    parts = [header]
    if result.succeeded:
        parts.append(b"\x10\x01")
    for response in result.responses:
        if type(response) is PutResult and response.prev_kv is None:
            parts.append(_plain_put(response.revision))
        else:
            parts.append(field(b"\x1a", _inner(response)))
    return b"".join(parts)


@lru_cache(maxsize=16)
def _plain_put(revision: int) -> bytes:
    """All that a put inside a transaction answers; the same for all of its puts."""
    return field(b"\x1a", field(b"\x12", inner_header(revision)))


def _inner(result: RangeResult | PutResult | DeleteRangeResult | TxnResult) -> bytes:
    if isinstance(result, RangeResult):
        return field(b"\x0a", range_response(inner_header(result.revision), result))
    if isinstance(result, PutResult):
        return field(b"\x12", put_response(inner_header(result.revision), result))
    if isinstance(result, DeleteRangeResult):
        return field(b"\x1a", delete_range_response(inner_header(result.revision), result))
    return field(b"\x22", txn_response(b"\x0a\x00", result))  # a nested answer's header is there, but empty (TXN-8)


def watch_response(
    header: bytes,
    update: WatchUpdate,
    *,
    created: bool = False,
    canceled: bool = False,
    cancel_reason: str = "",
    fragment: bool = False,
) -> bytes:
    parts = [header]
    if update.watch_id:
        parts.append(b"\x10" + varint(update.watch_id))
    if created:
        parts.append(b"\x18\x01")
    if canceled:
        parts.append(b"\x20\x01")
    if update.compact_revision:
        parts.append(b"\x28" + varint(update.compact_revision))
    if cancel_reason:
        parts.append(field(b"\x32", cancel_reason.encode()))
    if fragment:
        parts.append(b"\x38\x01")
    for event in update.events:
        parts += (b"\x5a", varint(len(event)), event)
    return b"".join(parts)
