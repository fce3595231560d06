"""Transactions: compare, then, else, nested; everything checked before anything is written (etcd TXN-1 to TXN-16).

Which branch is taken is decided for the whole tree before the first write: a nested transaction's compares, too, see the state before the outer one
began (server/etcdserver/txn/txn.go, compareToPath). So the path is a list of operations known in advance, and the checks can refuse it
as a whole.
"""

from collections.abc import Callable

from kvstore.encoding import KeyValue, decode_key_value
from kvstore.errors import Compacted
from kvstore.model import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    DeleteRangeResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from kvstore.mvcc.range import read_range
from kvstore.mvcc.scan import newest_in
from kvstore.mvcc.store import Store
from kvstore.mvcc.write import check_put_in_txn, delete_range, put

_Path = dict[int, bool]
"""Which branch each transaction of the tree takes, by the object's id."""


def execute(store: Store, txn: Txn) -> TxnResult:
    """Raises a StoreError having changed nothing."""
    path: _Path = {}
    _decide(store, txn, path)
    # All puts before all ranges, as etcd does it: of two faults, that order decides which one the client hears of.
    _check_puts(store, txn, path)
    _check_ranges(store, txn, path)
    before = _operations(store)
    result = _execute(store, txn, path)
    if _operations(store) > before + 1:
        store.counts.txns += 1
    return result


def _operations(store: Store) -> int:
    counts = store.counts
    return counts.ranges + counts.puts + counts.deletes


def is_read_only(txn: Txn) -> bool:
    """Only ranges in both branches and nothing nested: needs no log entry (TXN-13)."""
    return all(isinstance(operation, Range) for operation in txn.success + txn.failure)


def is_serializable(txn: Txn) -> bool:
    """Every range is; so is a transaction without ranges (etcd's vacuous truth)."""
    return all(isinstance(operation, Range) and operation.serializable for operation in txn.success + txn.failure)


def _decide(store: Store, txn: Txn, path: _Path) -> None:
    taken = path[id(txn)] = all(_holds(store, compare) for compare in txn.compare)
    for operation in txn.success if taken else txn.failure:
        if isinstance(operation, Txn):
            _decide(store, operation, path)


def _check_puts(store: Store, txn: Txn, path: _Path) -> None:
    for operation in txn.success if path[id(txn)] else txn.failure:
        if isinstance(operation, Put):
            check_put_in_txn(store, operation)
        elif isinstance(operation, Txn):
            _check_puts(store, operation, path)


def _check_ranges(store: Store, txn: Txn, path: _Path) -> None:
    for operation in txn.success if path[id(txn)] else txn.failure:
        if isinstance(operation, Range):
            if operation.revision < 0:
                raise Compacted  # RNG-2: inside a transaction a negative revision is not "newest"
            store.check_revision(operation.revision)
        elif isinstance(operation, Txn):
            _check_ranges(store, operation, path)


def _execute(store: Store, txn: Txn, path: _Path) -> TxnResult:
    taken = path[id(txn)]
    responses: list[RangeResult | PutResult | DeleteRangeResult | TxnResult] = []
    for operation in txn.success if taken else txn.failure:
        if isinstance(operation, Range):
            responses.append(read_range(store, operation))
        elif isinstance(operation, Put):
            responses.append(put(store, operation))
        elif isinstance(operation, DeleteRange):
            responses.append(delete_range(store, operation))
        else:
            assert isinstance(operation, Txn), "an operation that says nothing was refused before it was proposed"
            responses.append(_execute(store, operation, path))
    return TxnResult(store.current(), taken, responses)


# --- compares -------------------------------------------------------------------------------------------------------------

_FIELDS: dict[int, Callable[[KeyValue], bytes | int]] = {
    CompareTarget.VERSION: lambda kv: kv.version,
    CompareTarget.CREATE: lambda kv: kv.create_revision,
    CompareTarget.MOD: lambda kv: kv.mod_revision,
    CompareTarget.VALUE: lambda kv: kv.value,
    CompareTarget.LEASE: lambda kv: kv.lease,
}

_MISSING = KeyValue()


def _holds(store: Store, compare: Compare) -> bool:
    """For every key in the range; a range without keys is like one missing key (TXN-4), whose VALUE equals nothing and differs from
    nothing (TXN-3)."""
    field = _FIELDS.get(compare.target)
    if field is None:  # a target that nobody knows compares as equal
        return compare.result not in (CompareResult.NOT_EQUAL, CompareResult.GREATER, CompareResult.LESS)
    empty = True
    for _, row in newest_in(store, compare.key, compare.range_end):
        empty = False
        if not _compares(field(decode_key_value(store.version(row))), compare):
            return False
    if not empty:
        return True
    return compare.target != CompareTarget.VALUE and _compares(field(_MISSING), compare)


def _compares(stored: bytes | int, compare: Compare) -> bool:
    """Stored against given; a result number that nobody knows holds (TXN-5)."""
    given = compare.operand
    if isinstance(stored, bytes) != isinstance(given, bytes):
        given = b"" if isinstance(stored, bytes) else 0  # the client set the member of another target, or none
    result = compare.result
    if result == CompareResult.EQUAL:
        return stored == given
    if result == CompareResult.NOT_EQUAL:
        return stored != given
    if result == CompareResult.GREATER:
        return stored > given  # type: ignore[operator]
    if result == CompareResult.LESS:
        return stored < given  # type: ignore[operator]
    return True
