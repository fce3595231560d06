"""Bytes of what is stored: the only place that knows the forms which `storage.tables` names.

LMDB's keys end at 511 bytes, etcd's do not. A key of up to SHORT_KEY_BYTES is its own table key; a longer one becomes its first
SHORT_KEY_BYTES bytes, a zero byte and a SHA-256 of the whole. So point look-ups cost the same for all, and long keys that share those first
bytes stand together right behind them; a scan collects such a group and puts it in order by the whole keys, which are in the values.
"""

from hashlib import sha256
from struct import Struct as Packed

from kvstore.encoding import read_varint

SHORT_KEY_BYTES = 400

NEWEST = Packed(">QIQQq")
"""main, sub, create_revision, version, lease; then the encoded key-value."""
NEWEST_SIZE = NEWEST.size

HISTORY = Packed(">QIB")
"""main and sub of the version this one superseded (0, 0 if none), 1 if a tombstone; then the encoded key-value."""
HISTORY_SIZE = HISTORY.size

REVISION = Packed(">QI")
REVISION_SIZE = REVISION.size

PUT_FLAG = b"\x00"
TOMBSTONE_FLAG = b"\x01"


def table_key(key: bytes) -> bytes:
    """The key under which `key` is found in LMDB."""
    if len(key) <= SHORT_KEY_BYTES:
        return key
    return key[:SHORT_KEY_BYTES] + b"\x00" + sha256(key).digest()


def key_of(encoded: bytes) -> bytes:
    """The key in an encoded key-value: its first field."""
    size, at = read_varint(encoded, 1)
    return encoded[at : at + size]


def lease_key(lease_id: int) -> bytes:
    """Lease ids are signed; their table order is that of the unsigned bytes."""
    return lease_id.to_bytes(8, "big", signed=True)
