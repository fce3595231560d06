"""Between the words of the history and those of the store."""

from keelson.drills.checkers.history import Compare, Get, Outcome, Put, Request, Step, Version
from kvstore.encoding import decode_key_value
from kvstore.ids import NO_LEASE
from kvstore.model import (
    Compare as StoreCompare,
)
from kvstore.model import (
    CompareResult,
    CompareTarget,
    DeleteRange,
    DeleteRangeResult,
    Operation,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from kvstore.model import Put as StorePut

Result = RangeResult | PutResult | DeleteRangeResult | TxnResult


def to_store(request: Request) -> Operation:
    """The store's request; a plain one where one step is all."""
    if not request.compares and len(request.success) == 1:
        return _step(request.success[0])
    return Txn(tuple(map(_compare, request.compares)), tuple(map(_step, request.success)), tuple(map(_step, request.failure)))


def to_outcome(request: Request, result: Result) -> Outcome:
    """What the store's answer says in the history's words."""
    if isinstance(result, TxnResult):
        steps = request.success if result.succeeded else request.failure
        found = tuple(_found(step, part) for step, part in zip(steps, result.responses, strict=True))  # type: ignore[arg-type]
        return Outcome(found, result.succeeded, result.revision)
    return Outcome((_found(request.success[0], result),), True, result.revision)


def _step(step: Step) -> Range | StorePut | DeleteRange:
    if isinstance(step, Get):
        return Range(step.key)
    if isinstance(step, Put):
        return StorePut(step.key, step.value, NO_LEASE)
    return DeleteRange(step.key, prev_kv=True)


def _compare(compare: Compare) -> StoreCompare:
    if compare.mod is not None:
        return StoreCompare(CompareResult.EQUAL, CompareTarget.MOD, compare.key, compare.mod)
    assert compare.value is not None
    return StoreCompare(CompareResult.EQUAL, CompareTarget.VALUE, compare.key, compare.value)


def _found(step: Step, result: Result) -> Version | None:
    if isinstance(result, RangeResult):
        kvs = result.kvs
    elif isinstance(result, DeleteRangeResult):
        kvs = result.prev_kvs
        assert len(kvs) == result.deleted, "asked for prev_kv, so as many come as were deleted"
    else:
        return None
    if not kvs:
        return None
    kv = decode_key_value(kvs[0])
    assert kv.key == step.key, f"asked for {step.key!r}, got {kv.key!r}"
    return Version(kv.value, kv.mod_revision)
