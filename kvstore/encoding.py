"""The one byte form of a key-value and of an event: protobuf `mvccpb.KeyValue` and `mvccpb.Event`, written by hand.

Written once when a version is made; kept, hashed and sent in that form. Hand-written, because the state may not know a protobuf
library and because this is the hot path: the encoder below costs about a microsecond. Proto3 rules: default values are left out,
fields go in the order of their numbers (as Go's marshaller does; so hashes can be compared with etcd's).

KeyValue: 1 key bytes, 2 create_revision, 3 mod_revision, 4 version, 5 value bytes, 6 lease (int64). Event: 1 type, 2 kv, 3 prev_kv.
"""

from kvstore.model import EncodedEvent, EncodedKeyValue, Record

_LOW_BITS = 14
_SMALL = 1 << _LOW_BITS
_U64 = (1 << 64) - 1


# Two tables turn the loop over 7-bit groups into look-ups of 14 bits: revisions of busy stores have three to five groups. (Made of their
# parts in a millisecond; with a loop over numbers it was six, at every start.)
_BYTES = [bytes((n,)) for n in range(256)]
_LAST, _NOT_LAST = _BYTES[:128], _BYTES[128:]
_FINAL = _LAST + [low + high for high in _LAST[1:] for low in _NOT_LAST]
_CONTINUED = [low + high for high in _NOT_LAST for low in _NOT_LAST]


def varint(number: int) -> bytes:
    """Protobuf varint of an integer; a negative one is its 64-bit two's complement (int64 rules)."""
    if 0 <= number < _SMALL:
        return _FINAL[number]
    if number < 0:
        number &= _U64
    out = b""
    while number >= _SMALL:
        out += _CONTINUED[number & (_SMALL - 1)]
        number >>= _LOW_BITS
    return out + _FINAL[number]


def encode_key_value(key: bytes, create_revision: int, mod_revision: int, version: int, value: bytes, lease: int) -> EncodedKeyValue:
    """Bytes of one stored version. `key` is never empty; the numbers are positive, only `lease` may be 0 or negative."""
    size = len(key)
    parts = [
        b"\x0a", _FINAL[size] if size < _SMALL else varint(size), key,
        b"\x10", varint(create_revision), b"\x18", varint(mod_revision), b"\x20", varint(version),
    ]  # fmt: skip
    if value:
        size = len(value)
        parts += (b"\x2a", _FINAL[size] if size < _SMALL else varint(size), value)
    if lease:
        parts += (b"\x30", varint(lease))
    return EncodedKeyValue(b"".join(parts))


def encode_tombstone(key: bytes, mod_revision: int) -> EncodedKeyValue:
    """Bytes of a deletion as watchers see it: key and revision, everything else absent."""
    return EncodedKeyValue(b"\x0a" + varint(len(key)) + key + b"\x18" + varint(mod_revision))


def encode_event(deleted: bool, kv: EncodedKeyValue, prev_kv: EncodedKeyValue | None = None) -> EncodedEvent:
    """Bytes of one watch event; type PUT is the default value and so left out."""
    event = (b"\x08\x01\x12" if deleted else b"\x12") + varint(len(kv)) + kv
    if prev_kv is not None:
        event += b"\x1a" + varint(len(prev_kv)) + prev_kv
    return EncodedEvent(event)


class KeyValue(Record, frozen=True, gc=False):
    """An encoded key-value taken apart. A deletion has create_revision, version and lease 0."""

    key: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    value: bytes = b""
    lease: int = 0


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Number at `at` and the position after it."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def decode_key_value(encoded: bytes) -> KeyValue:
    """The opposite of `encode_key_value` and `encode_tombstone`; only for bytes that they made."""
    key = value = b""
    numbers = [0] * 7
    at, end = 0, len(encoded)
    while at < end:
        tag = encoded[at]
        number, at = read_varint(encoded, at + 1)
        if tag == 0x0A:
            key, at = encoded[at : at + number], at + number
        elif tag == 0x2A:
            value, at = encoded[at : at + number], at + number
        else:
            numbers[tag >> 3] = number
    lease = numbers[6]
    return KeyValue(key, numbers[2], numbers[3], numbers[4], value, lease - (1 << 64) if lease >> 63 else lease)


def decode_event(encoded: bytes) -> tuple[bool, EncodedKeyValue]:
    """Whether it is a deletion, and its key-value; only for bytes that `encode_event` made."""
    deleted = encoded[0] == 0x08
    size, at = read_varint(encoded, 3 if deleted else 1)
    return deleted, EncodedKeyValue(encoded[at : at + size])
