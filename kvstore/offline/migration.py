"""etcd's backup becomes a state of Keelson's: keys with all their history and revisions, leases, users, roles, alarms (server/storage/schema).

Membership, cluster version and log positions are the old cluster's affair and stay behind, as with etcdutl's own restore.
"""

from collections.abc import Iterator
from struct import Struct as Packed
from typing import Any

import google_crc32c
from msgspec import Struct

from kvstore.accounts import AuthRevision, Permission, Role, User
from kvstore.encoding import decode_key_value, read_varint
from kvstore.ids import NO_TERM, Index, Revision
from kvstore.model import AlarmAction, AlarmChange
from kvstore.mvcc import adoption, lease
from kvstore.offline.bbolt import Bbolt, Damaged
from kvstore.offline.snapshots import SnapshotFile
from kvstore.statemachine.machine import Machine
from kvstore.storage.engine import Engine

ROWS_PER_COMMIT = 50_000
"""Bounds what LMDB holds in memory of a transaction."""

_REVISION = Packed(">QcQ")
_TOMBSTONE = b"t"


class EtcdStatus(Struct, frozen=True):
    hash: int
    revision: int
    total_keys: int
    version: str


def etcd_status(snapshot: SnapshotFile) -> EtcdStatus:
    """What etcdutl says of the file, to the digit."""
    extend = google_crc32c.extend
    checksum: int = 0
    keys = revision = 0
    with Bbolt(snapshot.path, snapshot.content_bytes) as file:
        for bucket in file.buckets():
            checksum = extend(checksum, bucket)
            for key, value in file.rows(bucket):
                checksum = extend(extend(checksum, key), value)
                keys += 1
                if bucket == b"key":
                    revision = _revision_of(key, snapshot)[0]
        version = dict(file.rows(b"meta")).get(b"storageVersion", b"").decode()
    return EtcdStatus(checksum, revision, keys, version)


def adopt(snapshot: SnapshotFile, engine: Engine) -> Machine:
    """Fill the empty state in `engine`. The machine has a write transaction under way with the last of it. Raises Damaged."""
    machine = Machine(engine)
    machine.begin(engine.begin_write())
    try:
        with Bbolt(snapshot.path, snapshot.content_bytes) as file:
            _adopt_leases(file, machine)
            _adopt_keys(snapshot, file, machine, engine)
            _adopt_alarms(file, machine)
            _adopt_accounts(file, machine)
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        machine.transaction.abort()
        raise Damaged(f"{snapshot.path}: damaged: a row cannot be read ({error})") from error
    except BaseException:
        machine.transaction.abort()
        raise
    return machine


def _revision_of(row_key: bytes, snapshot: SnapshotFile) -> tuple[int, int, bool]:
    """main, sub, whether it is a deletion."""
    if len(row_key) not in (_REVISION.size, _REVISION.size + 1) or row_key[_REVISION.size :] not in (b"", _TOMBSTONE):
        raise Damaged(f"{snapshot.path}: damaged: {row_key.hex()} is no revision")
    main, _, sub = _REVISION.unpack_from(row_key)
    return main, sub, len(row_key) > _REVISION.size


def _adopt_keys(snapshot: SnapshotFile, file: Bbolt, machine: Machine, engine: Engine) -> None:
    store = machine.store
    for number, (row_key, encoded) in enumerate(file.rows(b"key"), 1):
        main, sub, is_deletion = _revision_of(row_key, snapshot)
        kv = decode_key_value(encoded)
        if not kv.key:
            store.revision = Revision(main)  # what etcdutl's --bump-revision leaves behind
        elif is_deletion:
            adoption.adopt_deletion(store, main, sub, kv.key)
        elif kv.mod_revision != main:
            raise Damaged(f"{snapshot.path}: damaged: revision {main}.{sub} says of itself that it is {kv.mod_revision}")
        else:
            adoption.adopt_version(store, main, sub, kv)
        if number % ROWS_PER_COMMIT == 0:
            machine.transaction.commit()
            machine.begin(engine.begin_write())
    adoption.adopt_orphans(store)
    meta = dict(file.rows(b"meta"))
    lines = [_REVISION.unpack(meta[name])[0] if name in meta else 0 for name in (b"scheduledCompactRev", b"finishedCompactRev")]
    adoption.adopt_compaction(store, *lines)


def _adopt_leases(file: Bbolt, machine: Machine) -> None:
    for _, row in file.rows(b"lease"):
        named = dict(_fields(row))
        number = named.get(1, 0)
        lease.grant(machine.store, number - (1 << 64) if number >> 63 else number, named.get(2, 0))


def _adopt_alarms(file: Bbolt, machine: Machine) -> None:
    for row, _ in file.rows(b"alarm"):
        named = dict(_fields(row))
        raised = AlarmChange(AlarmAction.ACTIVATE, named.get(1, 0), named.get(2, 0))
        machine.apply(Index(machine.applied_index + 1), NO_TERM, raised)


def _adopt_accounts(file: Bbolt, machine: Machine) -> None:
    accounts = machine.accounts
    for _, row in file.rows(b"authRoles"):
        permissions = [dict(_fields(permission)) for number, permission in _fields(row) if number == 2]
        name = dict(_fields(row)).get(1, b"").decode()
        ranges = [Permission(one.get(1, 0), one.get(2, b""), one.get(3, b"")) for one in permissions]
        accounts.put_role(Role(name, tuple(sorted(ranges, key=lambda permission: (permission.key, permission.range_end)))))
    for _, row in file.rows(b"authUsers"):
        named = dict(_fields(row))
        roles = sorted((role.decode() for number, role in _fields(row) if number == 3), key=str.encode)
        no_password = bool(dict(_fields(named.get(4, b""))).get(1, 0))
        accounts.put_user(User(named.get(1, b"").decode(), named.get(2, b""), no_password, tuple(roles)))
    rows = dict(file.rows(b"auth"))
    if b"authRevision" in rows:
        accounts.revision = AuthRevision(int.from_bytes(rows[b"authRevision"], "big") - 1)
        accounts.changed()
    accounts.switch(rows.get(b"authEnabled", b"\x00") == b"\x01")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and contents of a protobuf message's fields; etcd's records have integers, bytes and messages only."""
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        number, at = read_varint(message, at)
        if tag & 7 == 2:
            if at + number > len(message):
                raise ValueError("a field longer than its record")
            yield tag >> 3, message[at : at + number]
            at += number
        elif tag & 7 == 0:
            yield tag >> 3, number
        else:
            raise ValueError(f"a field of kind {tag & 7}")
