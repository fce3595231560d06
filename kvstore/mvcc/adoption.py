"""Versions and leases that another store made, taken over as they are: with their revisions, in rising order, into a state that has none yet.

What `write.put` would have left behind is what stands here afterwards, so that ranges, watches, compaction and hashes tell no difference.
"""

from kvstore.encoding import KeyValue, decode_key_value, encode_key_value, encode_tombstone
from kvstore.ids import Revision
from kvstore.mvcc import lease
from kvstore.mvcc.record import HISTORY, HISTORY_SIZE, NEWEST, PUT_FLAG, REVISION, TOMBSTONE_FLAG, newest_row, table_key
from kvstore.mvcc.store import Store


def adopt_version(store: Store, main: int, sub: int, kv: KeyValue) -> None:
    """One put. The leases are there already; one that an old version names may be long gone."""
    txn, tables = store.txn, store.tables
    stored_key, at, lease_id = table_key(kv.key), REVISION.pack(main, sub), kv.lease
    encoded = encode_key_value(kv.key, kv.create_revision, main, kv.version, kv.value, lease_id)
    old_main, old_sub, old_lease = _newest(store, stored_key)
    txn.put(stored_key, newest_row(main, sub, kv.create_revision, kv.version, lease_id, encoded), db=tables.newest)
    txn.put(at, HISTORY.pack(old_main, old_sub, 0) + encoded, append=True, db=tables.history)
    txn.put(stored_key, at + PUT_FLAG, db=tables.revisions)
    if lease_id != old_lease:
        if old_lease in store.leases:
            lease.detach(store, old_lease, stored_key)
        if lease_id in store.leases:
            lease.attach(store, lease_id, stored_key, kv.key)
    store.revision = Revision(main)


def adopt_deletion(store: Store, main: int, sub: int, key: bytes) -> None:
    txn, tables = store.txn, store.tables
    stored_key, at = table_key(key), REVISION.pack(main, sub)
    old_main, old_sub, old_lease = _newest(store, stored_key)
    txn.delete(stored_key, db=tables.newest)
    txn.put(at, HISTORY.pack(old_main, old_sub, 1) + encode_tombstone(key, main), append=True, db=tables.history)
    txn.put(stored_key, at + TOMBSTONE_FLAG, db=tables.revisions)
    if old_lease in store.leases:
        lease.detach(store, old_lease, stored_key)
    store.revision = Revision(main)


def adopt_compaction(store: Store, scheduled: int, finished: int) -> None:
    """Reads below `scheduled` are refused; up to `finished` what they would need is gone already. A store that lost its last
    revisions to a compaction still goes on behind it."""
    store.compacted = Revision(max(scheduled, finished))
    store.compaction_done = Revision(finished)
    store.revision = Revision(max(store.revision, store.compacted))


def adopt_orphans(store: Store) -> None:
    """Live keys whose lease is not there, which only an accident can have left: nothing would ever end them, so they go on without one."""
    txn, tables = store.txn, store.tables
    cursor = txn.cursor(db=tables.newest)
    rows = cursor.iternext() if cursor.first() else iter(())
    orphans = [(key, row) for key, row in rows if (lease_id := NEWEST.unpack_from(row)[4]) and lease_id not in store.leases]
    cursor.close()
    for stored_key, row in orphans:
        main, sub, create, version, _ = NEWEST.unpack_from(row)
        kv = decode_key_value(store.version(row))
        encoded = encode_key_value(kv.key, create, main, version, kv.value, 0)
        at = REVISION.pack(main, sub)
        links = (txn.get(at, db=tables.history) or b"")[:HISTORY_SIZE]
        txn.put(stored_key, newest_row(main, sub, create, version, 0, encoded), db=tables.newest)
        txn.put(at, links + encoded, db=tables.history)


def _newest(store: Store, stored_key: bytes) -> tuple[int, int, int]:
    """main, sub and lease of the live version; zeros if there is none."""
    row = store.txn.get(stored_key, db=store.tables.newest)
    if row is None:
        return 0, 0, 0
    main, sub, _, _, lease_id = NEWEST.unpack_from(row)
    return main, sub, lease_id
