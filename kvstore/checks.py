"""What is wrong with a request can be seen without any state: etcd's checks, in etcd's order (server/etcdserver/api/v3rpc/key.go).

Everything here raises a `kvstore.errors` class and changes nothing. Whoever proposes to the log has called these before.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from kvstore.errors import BadMemberUrls, DuplicateKey, EmptyKey, InvalidSortOption, KeyNotFound, LeaseProvided, TooManyOperations, ValueProvided
from kvstore.model import DeleteRange, Operation, Put, Range, SortOrder, SortTarget, Txn

_SORT_ORDERS = frozenset(map(int, SortOrder))
_SORT_TARGETS = frozenset(map(int, SortTarget))


def check_range(request: Range) -> None:
    if not request.key:
        raise EmptyKey
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise InvalidSortOption


def check_put(request: Put) -> None:
    if not request.key:
        raise EmptyKey
    if request.ignore_value and request.value:
        raise ValueProvided
    if request.ignore_lease and request.lease:
        raise LeaseProvided


def check_delete_range(request: DeleteRange) -> None:
    if not request.key:
        raise EmptyKey


TXN_DEPTH_MAX = 129
"""Transactions in transactions. With the usual budget of operations there cannot be more; with a larger one, what is deeper than this is refused
before it is proposed, because members read and apply an entry by recursion."""


def check_txn(txn: Txn, operations_max: int) -> None:
    """Sizes, then every operation of both branches as if it stood alone, then keys that one path would change twice."""
    _check_operations(txn, operations_max, TXN_DEPTH_MAX)
    _changes(txn.success)
    _changes(txn.failure)


def _check_operations(txn: Txn, operations_max: int, depth_max: int) -> None:
    """A nested transaction has only what its parent left of the budget (TXN-10)."""
    used = max(len(txn.compare), len(txn.success), len(txn.failure))
    if used > operations_max or not depth_max:
        raise TooManyOperations
    for compare in txn.compare:
        if not compare.key:
            raise EmptyKey
    for operation in txn.success + txn.failure:
        if isinstance(operation, Range):
            check_range(operation)
        elif isinstance(operation, Put):
            check_put(operation)
        elif isinstance(operation, DeleteRange):
            check_delete_range(operation)
        elif isinstance(operation, Txn):
            _check_operations(operation, operations_max - used, depth_max - 1)
        else:
            raise KeyNotFound  # the client sent an operation that says nothing (TXN-12)


PEER_URLS_LENGTH_MAX = 4096
"""Of one member, all together: the list of all members must fit what joiners are told in one frame."""


def check_peer_urls(urls: Iterable[str]) -> tuple[str, ...]:
    """Sorted, as etcd keeps them (types.NewURLs): at least one; scheme, host and port and nothing else. Sockets of the file system, which
    etcd takes, too, are no address of a member here."""
    checked = sorted(url.strip() for url in urls)
    if not checked or sum(map(len, checked)) > PEER_URLS_LENGTH_MAX:
        raise BadMemberUrls
    for url in checked:
        try:
            parts = urlsplit(url)
            complete = bool(parts.hostname) and parts.port is not None
        except ValueError:
            raise BadMemberUrls from None
        if parts.scheme not in ("http", "https") or not complete or parts.path or parts.query or parts.fragment or parts.username is not None:
            raise BadMemberUrls
    return tuple(checked)


_Interval = tuple[bytes, bytes | None]


def _changes(operations: Sequence[Operation | None]) -> tuple[set[bytes], list[_Interval]]:
    """Keys put and intervals deleted by these operations and those nested in them; raises DuplicateKey where one path does both, or two puts.

    As etcd's, this does not take a delete's range_end of one zero byte for "everything from the key on" (TXN-9b): such a transaction
    is accepted, and its operations happen in their order.
    """
    deleted: list[_Interval] = [_interval(operation) for operation in operations if isinstance(operation, DeleteRange)]
    put: set[bytes] = set()
    for operation in operations:
        if isinstance(operation, Txn):
            put_then, deleted_then = _changes(operation.success)
            put_else, deleted_else = _changes(operation.failure)
            for key in put_then:
                _refuse_if_changed(key, put, deleted)
            for key in put_else:
                _refuse_if_changed(key, put, deleted)  # both branches may put it: only one of them happens
            put |= put_then | put_else
            deleted += deleted_then + deleted_else
    for operation in operations:
        if isinstance(operation, Put):
            _refuse_if_changed(operation.key, put, deleted)
            put.add(operation.key)
    return put, deleted


def _interval(request: DeleteRange) -> _Interval:
    return request.key, request.range_end or None


def _refuse_if_changed(key: bytes, put: set[bytes], deleted: Sequence[_Interval]) -> None:
    if key in put:
        raise DuplicateKey
    for first, end in deleted:
        if (key == first) if end is None else (first <= key < end):
            raise DuplicateKey
