"""Put and delete inside the request under way. About 5 us each: one look-up and three writes.

Each change takes the next sub-revision, leaves the version before it in `history` (the new entry names it, so compaction finds what was superseded
without searching), and becomes an event that carries both versions.
"""

from kvstore.encoding import decode_key_value, encode_key_value, encode_tombstone
from kvstore.errors import KeyNotFound, LeaseNotFound
from kvstore.model import DeleteRange, DeleteRangeResult, EncodedKeyValue, Put, PutResult
from kvstore.mvcc import lease
from kvstore.mvcc.events import AppliedEvent
from kvstore.mvcc.record import HISTORY, NEWEST, PUT_FLAG, REVISION, TOMBSTONE_FLAG, key_of, newest_row, table_key
from kvstore.mvcc.scan import newest_in
from kvstore.mvcc.store import Store


def check_put(store: Store, request: Put) -> None:
    """What a put needs of the state (PUT-2, PUT-3); raises before anything is written."""
    _check_lease(store, request)
    _check_previous(store, request)


def check_put_in_txn(store: Store, request: Put) -> None:
    """The same in the other order, which is etcd's inside a transaction (checkRequestPut) and shows when both are wrong."""
    _check_previous(store, request)
    _check_lease(store, request)


def _check_lease(store: Store, request: Put) -> None:
    if request.lease and request.lease not in store.leases:
        raise LeaseNotFound


def _check_previous(store: Store, request: Put) -> None:
    if (request.ignore_value or request.ignore_lease) and store.txn.get(table_key(request.key), db=store.tables.newest) is None:
        raise KeyNotFound


def put(store: Store, request: Put) -> PutResult:
    """`check_put` came before. The result's revision is the one that this put makes."""
    txn, tables, changes = store.txn, store.tables, store.changes
    key, value, lease_id = request.key, request.value, request.lease
    stored_key = table_key(key)
    main, sub = store.revision + 1, len(changes)
    old = txn.get(stored_key, db=tables.newest)
    prev_kv = None
    if old is None:
        create, version, old_main, old_sub, old_lease = main, 1, 0, 0, 0
    else:
        old_main, old_sub, create, version, old_lease = NEWEST.unpack_from(old)
        version += 1
        prev_kv = store.version(old)
        if request.ignore_lease:
            lease_id = old_lease
        if request.ignore_value:
            value = decode_key_value(prev_kv).value
    kv = encode_key_value(key, create, main, version, value, lease_id)
    at = REVISION.pack(main, sub)
    txn.put(stored_key, newest_row(main, sub, create, version, lease_id, kv), db=tables.newest)
    txn.put(at, HISTORY.pack(old_main, old_sub, 0) + kv, append=True, db=tables.history)
    txn.put(stored_key, at + PUT_FLAG, db=tables.revisions)
    if lease_id != old_lease:
        if old_lease:
            lease.detach(store, old_lease, stored_key)
        if lease_id:
            lease.attach(store, lease_id, stored_key, key)
    changes.append(AppliedEvent(key, False, kv, prev_kv))
    counts = store.counts
    counts.puts += 1
    counts.put_bytes += len(key) + len(value)
    return PutResult(store.current(), prev_kv if request.prev_kv else None)


def delete_range(store: Store, request: DeleteRange) -> DeleteRangeResult:
    """Delete what is there, in key order; nothing there is no change and no error."""
    store.counts.deletes += 1
    doomed = list(newest_in(store, request.key, request.range_end))
    prev_kvs = [_delete(store, stored_key, row) for stored_key, row in doomed]
    return DeleteRangeResult(store.current(), len(doomed), prev_kvs if request.prev_kv else [])


def delete_keys(store: Store, keys: list[bytes]) -> None:
    """Delete those of `keys` that exist, in the order given."""
    for key in keys:
        stored_key = table_key(key)
        row = store.txn.get(stored_key, db=store.tables.newest)
        if row is not None:
            _delete(store, stored_key, row)


def _delete(store: Store, stored_key: bytes, row: bytes) -> EncodedKeyValue:
    """Returns what was there."""
    txn, tables, changes = store.txn, store.tables, store.changes
    main, sub = store.revision + 1, len(changes)
    old_main, old_sub, _, _, old_lease = NEWEST.unpack_from(row)
    prev_kv = store.version(row)
    key = key_of(prev_kv)
    kv = encode_tombstone(key, main)
    at = REVISION.pack(main, sub)
    txn.delete(stored_key, db=tables.newest)
    txn.put(at, HISTORY.pack(old_main, old_sub, 1) + kv, append=True, db=tables.history)
    txn.put(stored_key, at + TOMBSTONE_FLAG, db=tables.revisions)
    if old_lease:
        lease.detach(store, old_lease, stored_key)
    changes.append(AppliedEvent(key, True, kv, prev_kv))
    return prev_kv
