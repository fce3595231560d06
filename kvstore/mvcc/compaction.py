"""Compaction: what may go, in steps of bounded size (etcd C-1 to C-8).

`compact` only moves the line below which nothing may be read; it is applied like any command and equal on all members. Deleting comes later,
`step` by step, and is each member's own affair: no answer depends on how far it has come. It walks the history between the old line
and the new: every entry there names the version it superseded, which goes; a deletion goes too, except one right on the line, which a
watch from there may still ask for. So a compaction costs what changed since the last, not what is stored.
"""

from kvstore.errors import Compacted, FutureRevision
from kvstore.ids import Revision
from kvstore.mvcc.record import HISTORY, HISTORY_SIZE, PUT_FLAG, REVISION, TOMBSTONE_FLAG, key_of, table_key
from kvstore.mvcc.store import Store


def compact(store: Store, revision: int) -> None:
    """Refuses what is compacted already and what is not there yet. Revision 0 of a store never compacted changes nothing, once (C-1)."""
    if revision <= store.compact_revision:
        raise Compacted
    if revision > store.revision:
        raise FutureRevision
    store.compacted = Revision(revision)
    store.compacted_at_zero = True


def pending(store: Store) -> bool:
    return store.compaction_done < store.compacted


def step(store: Store, versions_max: int) -> bool:
    """Look at up to `versions_max` entries of the history; True if there is more to do. Nobody may be reading below the line."""
    if not pending(store):
        return False
    txn, tables = store.txn, store.tables
    target = store.compacted
    # The deletion that was right on the old line was kept: begin with it.
    start = store.compaction_at or REVISION.pack(store.compaction_done, 0)
    cursor = txn.cursor(db=tables.history)
    batch: list[tuple[bytes, bytes]] = []
    more = False
    if cursor.set_range(start):
        for at, row in cursor.iternext():
            if REVISION.unpack(at)[0] > target:
                break
            if len(batch) == versions_max:
                more = True
                break
            batch.append((at, row))
    cursor.close()
    for at, row in batch:
        _forget(store, at, row, target)
    if more:
        store.compaction_at = batch[-1][0]
        return True
    store.compaction_at = b""
    store.compaction_done = target
    return False


def _forget(store: Store, at: bytes, row: bytes, target: Revision) -> None:
    prev_main, prev_sub, is_tombstone = HISTORY.unpack_from(row)
    gone = is_tombstone and REVISION.unpack(at)[0] < target
    if not prev_main and not gone:
        return
    stored_key = table_key(key_of(row[HISTORY_SIZE:]))
    if prev_main:
        superseded = REVISION.pack(prev_main, prev_sub)
        if store.txn.delete(superseded, db=store.tables.history):
            store.counts.compacted_versions += 1
            store.txn.delete(stored_key, superseded + PUT_FLAG, db=store.tables.revisions)
    if gone:
        store.counts.compacted_versions += 1
        store.txn.delete(at, db=store.tables.history)
        store.txn.delete(stored_key, at + TOMBSTONE_FLAG, db=store.tables.revisions)
