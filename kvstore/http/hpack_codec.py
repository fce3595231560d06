"""Header blocks (RFC 7541): decoding with the dynamic table, encoding without one.

The decoder is our own for one reason: a client with deadlines sends another `grpc-timeout` with each request, which goes into the dynamic table,
so that its blocks never repeat; 8 fields cost 3 us here and 14 us in the library, whose tables (static, Huffman) are used.
"""

from functools import lru_cache

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from kvstore.http.frames import COMPRESSION_ERROR, ConnectionFault

Field = tuple[bytes, bytes]

TABLE_BYTES = 4096
"""SETTINGS_HEADER_TABLE_SIZE before anybody says something else; we stay with it."""
ENTRY_BYTES = 32
"""What each entry counts besides its bytes (4.1)."""
_STATIC: tuple[Field, ...] = ((b"", b""), *HeaderTable.STATIC_TABLE)
_STATIC_END = len(_STATIC)
_INTEGER_BYTES_MAX = 5
"""Far more than anything here can be long."""


class Decoder:
    """Blocks of one connection, in their order."""

    def __init__(self, list_bytes_max: int, fields_max: int) -> None:
        self._list_bytes_max = list_bytes_max
        self._fields_max = fields_max
        self._table: list[Field] = []
        self._table_bytes = 0
        self._table_bytes_max = TABLE_BYTES
        self.changed = False
        """Whether the last block changed the dynamic table: then the same bytes may mean something else the next time."""
        self.oversized = False
        """Whether the last block's list was longer than allowed; what is above was left out."""

    def decode(self, block: bytes) -> list[Field]:
        """Raises ConnectionFault: after a block that cannot be read no other can (RFC 9113, 4.3)."""
        self.changed = self.oversized = False
        try:
            return self._fields(block)
        except (IndexError, HPACKDecodingError) as error:
            raise ConnectionFault(COMPRESSION_ERROR, "a header block that does not unpack") from error

    def _fields(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        table = self._table
        at, end, room = 0, len(block), self._list_bytes_max
        while at < end:
            first = block[at]
            at += 1
            if first & 0x80:
                index = first & 0x7F
                if index == 0x7F:
                    index, at = _integer(block, at, 0x7F)
                if index == 0:
                    raise HPACKDecodingError
                field = _STATIC[index] if index < _STATIC_END else table[index - _STATIC_END]
            elif first & 0x60 == 0x20:
                if fields:
                    raise HPACKDecodingError
                at = self._resize(block, first & 0x1F, at)
                continue
            else:
                mask = 0x3F if first & 0x40 else 0x0F
                index = first & mask
                if index == mask:
                    index, at = _integer(block, at, mask)
                if index == 0:
                    name, at = _string(block, at)
                else:
                    name = (_STATIC[index] if index < _STATIC_END else table[index - _STATIC_END])[0]
                value, at = _string(block, at)
                field = (name, value)
                if mask == 0x3F:
                    self._add(field)
            room -= len(field[0]) + len(field[1]) + ENTRY_BYTES
            if room >= 0:
                fields.append(field)
            else:
                self.oversized = True
        if len(fields) > self._fields_max:
            self.oversized = True
        return fields

    def _add(self, field: Field) -> None:
        self.changed = True
        table = self._table
        table.insert(0, field)
        self._table_bytes += len(field[0]) + len(field[1]) + ENTRY_BYTES
        if self._table_bytes > self._table_bytes_max:
            self._evict()

    def _evict(self) -> None:
        while self._table_bytes > self._table_bytes_max:
            name, value = self._table.pop()
            self._table_bytes -= len(name) + len(value) + ENTRY_BYTES

    def _resize(self, block: bytes, size: int, at: int) -> int:
        if size == 0x1F:
            size, at = _integer(block, at, 0x1F)
        if size > TABLE_BYTES:
            raise HPACKDecodingError
        self.changed = True
        self._table_bytes_max = size
        self._evict()
        return at


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """Of a number that did not fit its prefix (5.1): the number, and where it ends."""
    shift = 0
    for _ in range(_INTEGER_BYTES_MAX):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise HPACKDecodingError


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    first = block[at]
    at += 1
    size = first & 0x7F
    if size == 0x7F:
        size, at = _integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise HPACKDecodingError
    content = block[at:end]
    return (decode_huffman(content) if first & 0x80 else content), end


_STATUS = 0x08
"""The index of `:status`, as a literal's name."""


@lru_cache(maxsize=512)
def encode(fields: tuple[Field, ...], status: int = 0) -> bytes:
    """A block that neither uses nor changes a dynamic table, so that it is the same for every connection; trailers have no status."""
    begin = b"" if not status else b"\x88" if status == 200 else bytes((_STATUS, 3)) + b"%d" % status
    return begin + b"".join(b"\0" + _plain(name.lower()) + _plain(value) for name, value in fields)


def _plain(content: bytes) -> bytes:
    size = len(content)
    if size < 0x7F:
        return bytes((size,)) + content
    rest, out = size - 0x7F, bytearray(b"\x7f")
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out) + content
