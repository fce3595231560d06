"""What is in a snapshot, as `etcdutl snapshot status` tells it."""

from pathlib import Path

import google_crc32c
from msgspec import Struct

from kvstore.offline.migration import etcd_status
from kvstore.offline.snapshots import Kind, examine, verify
from kvstore.offline.view import StateView, open_view
from kvstore.version import STORAGE_VERSION

_INDEXES = frozenset({"newest", "revisions", "lease_keys"})
"""Tables that repeat what others say: not counted, so that the number of keys means what it means in etcd (versions, leases, members, ...)."""


class SnapshotStatus(Struct, frozen=True):
    """`hash`: CRC-32C over all tables; `total_keys`: rows stored, old versions of keys among them; sizes in bytes."""

    hash: int
    revision: int
    total_keys: int
    total_size_bytes: int
    version: str


def status(path: Path) -> SnapshotStatus:
    """Checks the file by its checksum if it has one. Raises OSError, SnapshotRefused, EngineError."""
    snapshot = examine(path)
    if snapshot.checksum is not None:
        verify(snapshot)
    if snapshot.kind is Kind.ETCD:
        found = etcd_status(snapshot)
        return SnapshotStatus(found.hash, found.revision, found.total_keys, snapshot.content_bytes, found.version)
    with open_view(path, trusted=snapshot.checksum is not None) as view:
        keys = sum(view.rows(name) for name in view.names if name not in _INDEXES)
        return SnapshotStatus(hash_tables(view), view.revision, keys, snapshot.content_bytes, STORAGE_VERSION)


def hash_tables(view: StateView) -> int:
    """Over the names of the tables and all that is in them, in order."""
    extend = google_crc32c.extend
    checksum: int = 0
    for name in view.names:
        checksum = extend(checksum, name.encode())
        cursor = view.txn.cursor(db=view.handles[name])
        for key, value in cursor.iternext():
            checksum = extend(extend(checksum, key), value)
        cursor.close()
    return checksum
