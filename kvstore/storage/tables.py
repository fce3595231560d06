"""Every table on disk: its name, the form of its keys and values, and whose it is; and the version of the whole.

Numbers in keys are big-endian, so that LMDB's byte order is their order. A "table key" is a user's key made fit for LMDB, see
`mvcc.record.table_key`. A change of any form here raises SCHEMA_VERSION and needs a migration at open.
"""

from msgspec import Struct

from kvstore.storage.engine import Corrupted, Engine, Table

SCHEMA_VERSION = 3
SCHEMA_KEY = b"schema"


class LogTables(Struct, frozen=True):
    """The log environment; owner `storage.raftlog`.

    entries: index (8) -> crc32 (4) + msgpack Entry
    meta:    b"hard_state", b"snapshot", b"identity", b"journal" (storage.journal.Mark) -> msgpack, checked; b"schema" -> version (4)

    Entries and hard state here are those of the last checkpoint; the records of the journal, from the mark on, are newer and stand above them.
    """

    entries: Table
    meta: Table


class StateTables(Struct, frozen=True):
    """The state environment; owner `mvcc` and `statemachine`.

    newest:     table key -> main (8) sub (4) create (8) version (8) lease (8) + EncodedKeyValue      the live version of each key;
                a large one is left to `history` (mvcc.record.APART_BYTES)
    history:    main (8) sub (4) -> previous main (8) sub (4) of the same key, tombstone flag (1) + EncodedKeyValue
    revisions:  table key -> main (8) sub (4) tombstone flag (1), many a key (dupsort)
    leases:     lease id (8) -> TTL in seconds (8)
    lease_keys: lease id (8) + table key -> the whole key
    members:    member id (8) -> msgpack model.Member
    alarms:     member id (8) + alarm (1) -> b"\\x01"
    auth:       b"enabled" -> b"\\x00" or b"\\x01"; b"revision" -> number (8)                                      owner of these three: `auth`
    auth_users: name, made fit for LMDB -> msgpack accounts.User
    auth_roles: the same -> msgpack accounts.Role
    removed_members: member id (8) -> b"\\x01"
    meta:       b"applied" -> index (8) term (8); b"revision", b"compacted", b"compaction_done" -> number (8); b"conf" -> the member's own;
                b"compacted_at_zero" -> b"\\x01", if compaction was ever asked for; b"schema" -> version (4)
    """

    newest: Table
    history: Table
    revisions: Table
    leases: Table
    lease_keys: Table
    members: Table
    alarms: Table
    auth: Table
    auth_users: Table
    auth_roles: Table
    removed_members: Table
    meta: Table


def open_log_tables(engine: Engine) -> LogTables:
    meta = _checked_meta(engine, b"log_meta", "log")
    return LogTables(engine.open_table(b"entries"), meta)


def open_state_tables(engine: Engine) -> StateTables:
    meta = _checked_meta(engine, b"state_meta", "state")
    names = [b"newest", b"history", b"revisions", b"leases", b"lease_keys", b"members", b"alarms", b"auth", b"auth_users", b"auth_roles"]
    names += [b"removed_members"]
    tables = [engine.open_table(name, dupsort=name == b"revisions") for name in names]
    return StateTables(*[*tables, meta])


OLDEST_VERSION = 1
"""From here on older versions are opened and made our own.
1 to 2: tables for users, roles and the ids of removed members, empty where there were none.
2 to 3: rows of `newest` may leave a large version to the history; the older form is read, too. And a journal stands before the log: its mark is made
where there is none; releases that know of no journal must not open the log any more, because they would take it for complete.
"""


def _checked_meta(engine: Engine, name: bytes, what: str) -> Table:
    """The table of the schema version, before any other is touched. A new environment gets our version; an existing one must have it, or an
    older one that we know."""
    meta = engine.open_table(name)
    txn = engine.begin_read()
    stored = txn.get(SCHEMA_KEY, db=meta)
    rows = txn.stat(meta)["entries"]
    txn.abort()
    if stored is None and rows:
        raise Corrupted(f"the {what} has no schema version: this is not a data directory of Keelson")
    version = None if stored is None else int.from_bytes(stored, "big")
    if version == SCHEMA_VERSION:
        return meta
    if version is not None and not OLDEST_VERSION <= version < SCHEMA_VERSION:
        raise Corrupted(
            f"the {what} has schema version {version}, this release reads up to {SCHEMA_VERSION}: use the release that wrote it, or a newer one"
        )
    if engine.readonly:
        return meta
    writing = engine.begin_write()
    writing.put(SCHEMA_KEY, SCHEMA_VERSION.to_bytes(4, "big"), db=meta)
    writing.commit()
    return meta
