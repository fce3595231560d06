"""Read a range at a revision: limit, sort, filters, count, keys only (etcd RNG-1 to RNG-9). `scan.py` finds the keys."""

from collections.abc import Callable, Iterator

from kvstore.encoding import KeyValue, decode_key_value, read_varint
from kvstore.errors import Compacted
from kvstore.ids import Revision
from kvstore.model import EncodedKeyValue, Range, RangeResult, SortOrder, SortTarget
from kvstore.mvcc.record import table_key
from kvstore.mvcc.scan import steps
from kvstore.mvcc.store import Store

BEGINNINGS_MAX = 10
"""Somebody who compacts all the time must not keep us at it for ever."""

_VALUE_TAG = b"\x2a"


def read_range(store: Store, request: Range) -> RangeResult:
    """The whole answer at once. Raises FutureRevision or Compacted."""
    store.counts.ranges += 1
    if not request.range_end and request.revision <= 0 and not request.count_only and not _is_filtered(request):
        row = store.txn.get(table_key(request.key), db=store.tables.newest)
        if row is None:
            return RangeResult(store.current(), [], False, 0)
        kv = store.version(row)
        return RangeResult(store.current(), [_without_value(kv) if request.keys_only else kv], False, 1)
    result = None
    for result in range_in_steps(store, request):  # noqa: B007 (the last one is the answer)
        pass
    assert result is not None, "the last step has the answer"
    return result


def range_in_steps(store: Store, request: Range) -> Iterator[RangeResult | None]:
    """None after each step that leaves more to read; the answer last. Other requests may be applied between steps, compactions among them: one that
    gets ahead of the newest revision that the range began at has it begin anew at the one that is newest then, because who names no revision
    is never told that it was compacted."""
    store.check_revision(request.revision)
    for _ in range(BEGINNINGS_MAX if request.revision <= 0 else 1):
        try:
            yield from _from_here(store, request)
        except Compacted:
            continue
        return
    raise Compacted


def _from_here(store: Store, request: Range) -> Iterator[RangeResult | None]:
    current = store.current()
    everything = _is_filtered(request) or request.sort_order != SortOrder.NONE
    wanted = 0 if request.count_only else (request.limit + 1 if request.limit > 0 and not everything else -1)
    kvs: list[EncodedKeyValue] = []
    count = 0
    for step in steps(store, request, Revision(request.revision) if 0 < request.revision < current else current, wanted):
        kvs += step.kvs
        count += step.count
        if step.go_on_at is not None:
            yield None
    if _is_filtered(request):
        kvs = [kv for kv in kvs if _passes(decode_key_value(kv), request)]
    if request.sort_order != SortOrder.NONE or request.sort_target != SortTarget.KEY:
        _sort(kvs, request)
    more = 0 < request.limit < len(kvs)
    if more:
        del kvs[request.limit :]
    if request.keys_only:
        kvs = [_without_value(kv) for kv in kvs]
    yield RangeResult(current, kvs, more, count)


def _is_filtered(request: Range) -> bool:
    return bool(request.min_mod_revision or request.max_mod_revision or request.min_create_revision or request.max_create_revision)


def _passes(kv: KeyValue, request: Range) -> bool:
    return (
        (not request.min_mod_revision or kv.mod_revision >= request.min_mod_revision)
        and (not request.max_mod_revision or kv.mod_revision <= request.max_mod_revision)
        and (not request.min_create_revision or kv.create_revision >= request.min_create_revision)
        and (not request.max_create_revision or kv.create_revision <= request.max_create_revision)
    )


_SORT_KEYS: dict[int, Callable[[KeyValue], bytes | int]] = {
    SortTarget.KEY: lambda kv: kv.key,
    SortTarget.VERSION: lambda kv: kv.version,
    SortTarget.CREATE: lambda kv: kv.create_revision,
    SortTarget.MOD: lambda kv: kv.mod_revision,
    SortTarget.VALUE: lambda kv: kv.value,
}


def _sort(kvs: list[EncodedKeyValue], request: Range) -> None:
    """In place; a target other than KEY without an order means ascending (RNG-6). Ties keep key order."""
    if request.sort_target == SortTarget.KEY and request.sort_order != SortOrder.DESCEND:
        return
    target = _SORT_KEYS[request.sort_target]
    kvs.sort(key=lambda kv: target(decode_key_value(kv)), reverse=request.sort_order == SortOrder.DESCEND)


def _without_value(encoded: EncodedKeyValue) -> EncodedKeyValue:
    """The same without field 5: it begins behind the key and three numbers."""
    size, at = read_varint(encoded, 1)
    at += size
    for _ in range(3):
        at += 1
        while encoded[at] > 0x7F:
            at += 1
        at += 1
    if encoded[at : at + 1] != _VALUE_TAG:
        return encoded
    size, value_at = read_varint(encoded, at + 1)
    return EncodedKeyValue(encoded[:at] + encoded[value_at + size :])
