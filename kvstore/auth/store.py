"""Users and roles as they are now: all in memory, written through to their tables in the transaction under way.

There are few of them (people and services, not keys), and every request asks; so memory is the place to look, and the tables are there to be read at
a start. Whoever changes something calls `changed` once: that is the auth revision (AU-2), and what was merged of permissions is made anew.
"""

from hashlib import sha256
from typing import Any

import msgspec

from kvstore.accounts import ROOT, AuthRevision, PermissionKind, Role, User
from kvstore.auth.permissions import KeyRanges, merged
from kvstore.storage.engine import EngineError, ReadTxn, WriteTxn
from kvstore.storage.tables import StateTables

_ENABLED, _REVISION = b"enabled", b"revision"
FIRST_REVISION = AuthRevision(1)
NAME_BYTES_MAX = 400
"""A longer name is found under its first bytes and a hash: the engine's keys have an end, etcd's names have none."""

_READS = frozenset({int(PermissionKind.READ), int(PermissionKind.READWRITE)})
_WRITES = frozenset({int(PermissionKind.WRITE), int(PermissionKind.READWRITE)})

_encode = msgspec.msgpack.Encoder().encode
_decode_user = msgspec.msgpack.Decoder(User).decode
_decode_role = msgspec.msgpack.Decoder(Role).decode


class Accounts:
    def __init__(self, txn: ReadTxn, tables: StateTables) -> None:
        self.tables = tables
        self.txn: WriteTxn
        self.enabled = txn.get(_ENABLED, db=tables.auth) == b"\x01"
        self.revision = AuthRevision(int.from_bytes(txn.get(_REVISION, db=tables.auth) or b"", "big") or FIRST_REVISION)
        self.users: dict[str, User] = {user.name: user for user in _rows(txn, tables.auth_users, _decode_user)}
        self.roles: dict[str, Role] = {role.name: role for role in _rows(txn, tables.auth_roles, _decode_role)}
        self._readable: dict[str, KeyRanges] = {}
        self._writable: dict[str, KeyRanges] = {}

    # --- changing -----------------------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something was: the next revision."""
        self.revision = AuthRevision(self.revision + 1)
        self.txn.put(_REVISION, self.revision.to_bytes(8, "big"), db=self.tables.auth)
        self._readable.clear()
        self._writable.clear()

    def switch(self, enabled: bool) -> None:
        self.enabled = enabled
        self.txn.put(_ENABLED, b"\x01" if enabled else b"\x00", db=self.tables.auth)

    def put_user(self, user: User) -> None:
        self.users[user.name] = user
        self.txn.put(_key(user.name), _encode(user), db=self.tables.auth_users)

    def delete_user(self, name: str) -> None:
        del self.users[name]
        self.txn.delete(_key(name), db=self.tables.auth_users)

    def put_role(self, role: Role) -> None:
        self.roles[role.name] = role
        self.txn.put(_key(role.name), _encode(role), db=self.tables.auth_roles)

    def delete_role(self, name: str) -> None:
        del self.roles[name]
        self.txn.delete(_key(name), db=self.tables.auth_roles)

    # --- looking ------------------------------------------------------------------------------------------------------------

    def readable(self, user: User) -> KeyRanges:
        """What the roles of this user let him read, together."""
        found = self._readable.get(user.name)
        if found is None:
            found = self._readable[user.name] = self._merged(user, _READS)
        return found

    def writable(self, user: User) -> KeyRanges:
        found = self._writable.get(user.name)
        if found is None:
            found = self._writable[user.name] = self._merged(user, _WRITES)
        return found

    def _merged(self, user: User, kinds: frozenset[int]) -> KeyRanges:
        roles = [self.roles[name] for name in user.roles if name in self.roles]
        return merged([permission for role in roles for permission in role.permissions], kinds)


def is_root(user: User) -> bool:
    return ROOT in user.roles


def _key(name: str) -> bytes:
    # Names may be of any characters and any length, but never empty.
    raw = name.encode()
    return raw if len(raw) <= NAME_BYTES_MAX else raw[:NAME_BYTES_MAX] + sha256(raw).digest()


def _rows(txn: ReadTxn, table: Any, decode: Any) -> list[Any]:
    """Raises EngineError for a row that is none."""
    cursor = txn.cursor(db=table)
    try:
        return [decode(row) for _, row in cursor.iternext()] if cursor.first() else []
    except ValueError as error:  # msgspec's, and those of UTF-8
        raise EngineError(f"damaged: a row of users or roles cannot be read ({error})") from error
    finally:
        cursor.close()
