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

APART_BYTES = 512
"""A version of more encoded bytes stands in `history` alone, and its row in `newest` ends behind the numbers: the first two say where it is.

A page holds few rows of such a size, and one of more than half a page needs pages of its own, so a second copy is dear: a put of 8 KiB at a new key
takes LMDB 40 us with it and 10 without, and the file is twice as large. Finding it costs a read 0.6 us, little beside sending as many bytes;
small values keep their copy, so that a range of them stays one scan.
"""

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


def newest_row(main: int, sub: int, create: int, version: int, lease: int, encoded: bytes) -> bytes:
    """What `newest` holds of a live version."""
    numbers = NEWEST.pack(main, sub, create, version, lease)
    return numbers if stands_apart(encoded) else numbers + encoded


def stands_apart(encoded: bytes) -> bool:
    """Is this version left to the history?"""
    return len(encoded) > APART_BYTES


def key_of(encoded: bytes) -> bytes:
    """The key in an encoded key-value: its first field."""
    size, at = read_varint(encoded, 1)
    return encoded[at : at + size]


def lease_key(lease_id: int) -> bytes:
    """Lease ids are signed; their table order is that of the unsigned bytes."""
    return lease_id.to_bytes(8, "big", signed=True)
