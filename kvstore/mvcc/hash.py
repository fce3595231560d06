"""HashKV: a CRC-32C over the stored versions up to a revision (etcd M-1, M-2; server/storage/mvcc/hash.go).

Equal on members that hold the same keys, revisions and compaction line, whether or not each has finished deleting below it: what compaction is
going to delete is left out here.
"""

import google_crc32c

from kvstore.encoding import varint
from kvstore.mvcc.record import HISTORY, HISTORY_SIZE, PUT_FLAG, REVISION, REVISION_SIZE, key_of, table_key
from kvstore.storage.engine import ReadTxn
from kvstore.storage.tables import StateTables

_extend = google_crc32c.extend


def hash_kv(txn: ReadTxn, tables: StateTables, revision: int, compacted: int) -> int:
    """Runs over a read transaction of its own, so a thread may do it. About 2 us a version."""
    checksum: int = _extend(0, b"key")
    # etcd's rule, oddity included: of what compaction left, the versions count that a compaction at `revision` would leave, too, and no
    # tombstones; if it would leave none at all, whatever the last compaction left.
    line = revision if _anything_lives(txn, tables, revision) else compacted
    cursor = txn.cursor(db=tables.history)
    if cursor.first():
        for at, row in cursor.iternext():
            main, sub = REVISION.unpack(at)
            if main > revision:
                break
            is_tombstone = row[HISTORY_SIZE - 1]
            encoded = row[HISTORY_SIZE:]
            if main <= compacted and (is_tombstone or is_superseded(txn, tables, at, encoded, line)):
                continue
            # etcd's key of a revision: both numbers as 8 bytes with an underscore between, and a t behind a tombstone's.
            name = at[:8] + b"_" + sub.to_bytes(8, "big") + (b"t" if is_tombstone else b"")
            if is_tombstone:
                key = key_of(encoded)
                encoded = b"\x0a" + varint(len(key)) + key
            checksum = _extend(_extend(checksum, name), encoded)
    cursor.close()
    return checksum


def _anything_lives(txn: ReadTxn, tables: StateTables, revision: int) -> bool:
    """Is there any key at `revision`? The first look almost always says so."""
    cursor = txn.cursor(db=tables.history)
    found = False
    if cursor.first():
        for at, row in cursor.iternext():
            if REVISION.unpack(at)[0] > revision:
                break
            if not row[HISTORY_SIZE - 1] and not is_superseded(txn, tables, at, row[HISTORY_SIZE:], revision):
                found = True
                break
    cursor.close()
    return found


def is_superseded(txn: ReadTxn, tables: StateTables, at: bytes, encoded: bytes, line: int) -> bool:
    """Did the key of this put change again up to revision `line`?"""
    cursor = txn.cursor(db=tables.revisions)
    try:
        stored_key = table_key(key_of(encoded))
        if not cursor.set_range_dup(stored_key, at + PUT_FLAG) or not cursor.next_dup():
            return False
        following = cursor.value()[:REVISION_SIZE]
        return bool(REVISION.unpack(following)[0] <= line)
    finally:
        cursor.close()


def hash_everything(txn: ReadTxn, tables: StateTables) -> int:
    """CRC-32C over all tables as they are: members may differ (deleted or not below the line)."""
    checksum: int = 0
    state = (tables.newest, tables.history, tables.revisions, tables.leases, tables.lease_keys)
    auth = (tables.auth, tables.auth_users, tables.auth_roles)
    for table in (*state, tables.members, tables.removed_members, tables.alarms, *auth):
        cursor = txn.cursor(db=table)
        if cursor.first():
            for key, value in cursor.iternext():
                checksum = _extend(_extend(checksum, key), value)
        cursor.close()
    return checksum


assert HISTORY.size == HISTORY_SIZE
