"""Is the stored state whole? LMDB's pages carry no checksums, but the tables say most things twice, and `inspect` holds them against each other.

Every live version stands in `newest` and in `history`, and every version is listed in `revisions`; leases and their keys name each other. So
a byte that was flipped in one of them is a contradiction with a table, a key and a revision to its name. What stands only once, a version that
was overwritten or a large one, is covered by a checksum of the history, which members compare. About 10 us a version, in Python: a piece of
work for a process of its own (`server.inspector`), which may also die of what it reads.
"""

from collections.abc import Iterator
from typing import Any

import google_crc32c
from msgspec import Struct

from kvstore.encoding import decode_key_value, encode_key_value, encode_tombstone
from kvstore.mvcc.hash import is_superseded
from kvstore.mvcc.record import (
    HISTORY,
    HISTORY_SIZE,
    NEWEST,
    NEWEST_SIZE,
    PUT_FLAG,
    REVISION,
    REVISION_SIZE,
    TOMBSTONE_FLAG,
    lease_key,
    stands_apart,
    table_key,
)
from kvstore.mvcc.store import FIRST_REVISION
from kvstore.storage.engine import ReadTxn, Table
from kvstore.storage.tables import StateTables

KEY_SHOWN_BYTES = 64

_extend = google_crc32c.extend


class Inspection(Struct, frozen=True):
    """What a committed state was found to be. `damage` "": no contradiction. `hash` is the checksum at `revision`, 0 if that is not there."""

    applied: int
    revision: int
    """The revision that was hashed."""
    compacted: int
    hash: int
    damage: str = ""


def damaged(text: str) -> Inspection:
    """Found not even readable."""
    return Inspection(0, 0, 0, 0, text)


def inspect(txn: ReadTxn, tables: StateTables, revision: int, *, thorough: bool) -> Inspection:
    """Hash at `revision` (0: the newest) and, `thorough`, hold the tables against each other. LMDB's own complaints come out as they are."""
    applied = int.from_bytes((txn.get(b"applied", db=tables.meta) or bytes(8))[:8], "big")
    newest = _number(txn, tables, b"revision") or FIRST_REVISION
    compacted = _number(txn, tables, b"compacted")
    revision = revision or newest
    try:
        damage = (_contradiction(txn, tables, newest, compacted) or "") if thorough else ""
        checksum = _checksum(txn, tables, revision, compacted) if compacted <= revision <= newest and not damage else 0
    except (IndexError, ValueError) as error:  # numbers and lengths inside a row that lead outside of it
        damage, checksum = damage_of("history", b"", f"a row cannot be read ({error})"), 0
    return Inspection(applied, revision, compacted, checksum, damage)


def _checksum(txn: ReadTxn, tables: StateTables, revision: int, compacted: int) -> int:
    """A CRC-32C over all that can be read up to `revision`, whole rows. HashKV is another number: by etcd's rule it leaves out versions that can
    be read. What compaction is going to delete is left out, so that it does not matter how far it has come."""
    checksum: int = _extend(0, b"inspection")
    cursor = txn.cursor(db=tables.history)
    if cursor.first():
        for at, row in cursor.iternext():
            main = REVISION.unpack(at)[0]
            if main > revision:
                break
            if main <= compacted:
                is_tombstone = row[HISTORY_SIZE - 1]
                if (is_tombstone and main < compacted) or (not is_tombstone and is_superseded(txn, tables, at, row[HISTORY_SIZE:], compacted)):
                    continue
            checksum = _extend(_extend(checksum, at), row)
    cursor.close()
    return checksum


def damage_of(table: str, key: bytes, text: str) -> str:
    shown = key[:KEY_SHOWN_BYTES].decode("utf-8", "backslashreplace") + ("..." if len(key) > KEY_SHOWN_BYTES else "")
    return f'table "{table}"' + (f', key "{shown}"' if key else "") + f": {text}"


def _number(txn: ReadTxn, tables: StateTables, name: bytes) -> int:
    return int.from_bytes(txn.get(name, db=tables.meta) or b"", "big")


def _rows(txn: ReadTxn, table: Table, name: str) -> Iterator[tuple[bytes, bytes]]:
    """All rows, and a contradiction by itself if their keys do not rise."""
    cursor = txn.cursor(db=table)
    last = b""
    if cursor.first():
        for key, value in cursor.iternext():
            if key <= last:
                raise _Contradiction(damage_of(name, key, f"out of order, behind {last!r}"))
            last = key
            yield key, value
    cursor.close()


class _Contradiction(Exception):
    pass


def _contradiction(txn: ReadTxn, tables: StateTables, newest: int, compacted: int) -> str | None:
    """The first one found, in words."""
    try:
        _check_history(txn, tables, newest, compacted)
        _check_newest(txn, tables)
        _check_leases(txn, tables)
    except _Contradiction as found:
        return str(found)
    return None


def _check_history(txn: ReadTxn, tables: StateTables, newest: int, compacted: int) -> None:
    """Every version is what it says it is, stands in `revisions`, and, if it is a key's last, in `newest`."""
    versions = alive = 0
    cursor = txn.cursor(db=tables.revisions)
    for at, row in _rows(txn, tables.history, "history"):
        versions += 1
        if len(at) != REVISION_SIZE or len(row) <= HISTORY_SIZE:
            raise _Contradiction(damage_of("history", b"", f"a row of {len(at)} and {len(row)} bytes"))
        main, sub = REVISION.unpack(at)
        where = f"revision {main}.{sub}"
        prev_main, prev_sub, flag = HISTORY.unpack_from(row)
        encoded = row[HISTORY_SIZE:]
        key = _checked_version(encoded, main, flag, "history", where)
        if main > newest:
            raise _Contradiction(damage_of("history", key, f"{where} is there, at revision {newest}"))
        mark = TOMBSTONE_FLAG if flag else PUT_FLAG
        stored_key = table_key(key)
        if not cursor.set_range_dup(stored_key, at + mark) or cursor.value() != at + mark:
            raise _Contradiction(damage_of("revisions", key, f"{where} is missing, the history has it"))
        if not cursor.next_dup():
            _check_last(txn, tables, stored_key, key, at, bool(flag))
            alive += not flag
        cursor.set_range_dup(stored_key, at + mark)
        if not _follows(prev_main, prev_sub, cursor.value() if cursor.prev_dup() else b"", compacted):
            raise _Contradiction(damage_of("history", key, f"{where} names {prev_main}.{prev_sub} as the one before it, which it is not"))
    cursor.close()
    for table, name, wanted in ((tables.revisions, "revisions", versions), (tables.newest, "newest", alive)):
        rows = txn.stat(table)["entries"]
        if rows != wanted:
            raise _Contradiction(damage_of(name, b"", f"{rows} rows, the history has {wanted}"))


def _follows(prev_main: int, prev_sub: int, before: bytes, compacted: int) -> bool:
    """Is the version that a row names as the one it took the place of the one that is listed before it? None is named after a deletion, and what
    compaction deleted may still be named."""
    if before and before[REVISION_SIZE:] == PUT_FLAG:
        return before[:REVISION_SIZE] == REVISION.pack(prev_main, prev_sub)
    return not prev_main or (not before and prev_main <= compacted)


def _checked_version(encoded: bytes, main: int, flag: int, table: str, where: str) -> bytes:
    """The key of an encoded version, if that is in the one form it can have."""
    try:
        kv = decode_key_value(encoded)
        if flag == 1:
            again = encode_tombstone(kv.key, main)
        else:
            again = encode_key_value(kv.key, kv.create_revision, main, kv.version, kv.value, kv.lease)
    except (IndexError, ValueError) as error:
        raise _Contradiction(damage_of(table, b"", f"{where} cannot be read ({error})")) from error
    if again != encoded or flag > 1 or not kv.key or kv.create_revision > main:
        raise _Contradiction(damage_of(table, kv.key, f"{where} holds what was never written so"))
    return kv.key


def _check_last(txn: ReadTxn, tables: StateTables, stored_key: bytes, key: bytes, at: bytes, is_tombstone: bool) -> None:
    row = txn.get(stored_key, db=tables.newest)
    main, sub = REVISION.unpack(at)
    if is_tombstone and row is not None:
        raise _Contradiction(damage_of("newest", key, f"it is there, though revision {main}.{sub} deleted it"))
    if not is_tombstone and (row is None or row[:REVISION_SIZE] != at):
        raise _Contradiction(damage_of("newest", key, f"revision {main}.{sub} is missing or not the newest"))


def _check_newest(txn: ReadTxn, tables: StateTables) -> None:
    """Every live version equals the same one in the history, and its lease knows it."""
    leased = 0
    for stored_key, row in _rows(txn, tables.newest, "newest"):
        if len(row) < NEWEST_SIZE:
            raise _Contradiction(damage_of("newest", stored_key, f"a row of {len(row)} bytes"))
        main, sub, create, version, lease = NEWEST.unpack_from(row)
        stored = txn.get(REVISION.pack(main, sub), db=tables.history) or b""
        encoded = row[NEWEST_SIZE:]
        if not encoded and stands_apart(stored[HISTORY_SIZE:]):
            encoded = stored[HISTORY_SIZE:]
        if not encoded or stored[HISTORY_SIZE:] != encoded:
            raise _Contradiction(damage_of("newest", stored_key, f"revision {main}.{sub} is not what the history holds under it"))
        kv: Any = decode_key_value(encoded)
        if (create, version, lease) != (kv.create_revision, kv.version, kv.lease) or table_key(kv.key) != stored_key:
            raise _Contradiction(damage_of("newest", kv.key, f"revision {main}.{sub}: its numbers are not those of its version"))
        if lease:
            leased += 1
            if txn.get(lease_key(lease) + stored_key, db=tables.lease_keys) != kv.key:
                raise _Contradiction(damage_of("lease_keys", kv.key, f"lease {lease:x} does not know it"))
    rows = txn.stat(tables.lease_keys)["entries"]
    if rows != leased:
        raise _Contradiction(damage_of("lease_keys", b"", f"{rows} rows, {leased} keys have a lease"))


def _check_leases(txn: ReadTxn, tables: StateTables) -> None:
    for row, _ in _rows(txn, tables.lease_keys, "lease_keys"):
        if txn.get(row[:8], db=tables.leases) is None:
            raise _Contradiction(damage_of("leases", b"", f"lease {row[:8].hex()} is missing, keys are attached to it"))
