"""Leases as data: who exists, with which TTL, and what is attached. Time is counted elsewhere (`member.lessor`)."""

from kvstore.errors import LeaseExists, LeaseNotFound
from kvstore.mvcc.record import lease_key
from kvstore.mvcc.store import Store


def load(store: Store) -> None:
    """Read all leases into memory, at start."""
    cursor = store.txn.cursor(db=store.tables.leases)
    if cursor.first():
        store.leases = {int.from_bytes(key, "big", signed=True): int.from_bytes(ttl, "big") for key, ttl in cursor.iternext()}
    cursor.close()


def grant(store: Store, lease_id: int, ttl_s: int) -> None:
    if lease_id in store.leases:
        raise LeaseExists
    store.leases[lease_id] = ttl_s
    store.txn.put(lease_key(lease_id), ttl_s.to_bytes(8, "big"), db=store.tables.leases)


def revoke(store: Store, lease_id: int) -> list[bytes]:
    """Forget the lease; return the keys that were attached, in key order, for the caller to delete."""
    if lease_id not in store.leases:
        raise LeaseNotFound
    keys = attached(store, lease_id)
    del store.leases[lease_id]
    store.txn.delete(lease_key(lease_id), db=store.tables.leases)
    return keys


def attach(store: Store, lease_id: int, stored_key: bytes, key: bytes) -> None:
    store.txn.put(lease_key(lease_id) + stored_key, key, db=store.tables.lease_keys)


def detach(store: Store, lease_id: int, stored_key: bytes) -> None:
    store.txn.delete(lease_key(lease_id) + stored_key, db=store.tables.lease_keys)


def attached(store: Store, lease_id: int) -> list[bytes]:
    """Whole keys attached to the lease, sorted."""
    prefix = lease_key(lease_id)
    keys: list[bytes] = []
    cursor = store.txn.cursor(db=store.tables.lease_keys)
    if cursor.set_range(prefix):
        for row, key in cursor.iternext():
            if not row.startswith(prefix):
                break
            keys.append(key)
    cursor.close()
    keys.sort()
    return keys
