"""Reading etcd's database file: bbolt, a B+ tree of pages (go.etcd.io/bbolt page.go, bucket.go, db.go). Only reading, and nothing of it is trusted.

A page has 16 bytes of header (its number, flags, count of elements, count of pages that it overflows into) and then elements of 16 bytes that
point to keys and values behind them. Pages 0 and 1 are meta pages, written in turn; the valid one with the higher transaction is the file's
beginning. A bucket is a tree of its own; a small one lies inline in its parent's value.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from struct import Struct, error
from types import TracebackType
from typing import Self

from kvstore.offline.snapshots import SnapshotRefused

_MAGIC, _VERSION = 0xED0CDAED, 2
_PAGE = Struct("<QHHI")
_META = Struct("<IIIIQQQQQQ")
_BRANCH_ELEMENT = Struct("<IIQ")
_LEAF_ELEMENT = Struct("<IIII")
_BUCKET = Struct("<QQ")
_IS_BRANCH, _IS_LEAF = 0x01, 0x02
_IS_BUCKET = 0x01
PAGE_BYTES_CHOICES = tuple(1 << power for power in range(9, 17))
DEPTH_MAX = 64
"""No tree of 64-bit page numbers is deeper; a damaged one may be a circle."""


class Damaged(SnapshotRefused):
    """The file is not what bbolt writes."""


class Bbolt:
    """An open file. `buckets` gives the names of the top ones, `rows` what is in one, in the order of the keys."""

    def __init__(self, path: Path, content_bytes: int) -> None:
        """`content_bytes`: without a checksum behind it. Raises Damaged, OSError."""
        self._path = path
        self._size = content_bytes
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._page_bytes, self._root = self._beginning()
        except BaseException:
            self._map.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        self._map.close()

    def buckets(self) -> list[bytes]:
        return [name for name, _, is_bucket in self._leaves(self._root) if is_bucket]

    def rows(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Nothing if there is no such bucket. Raises Damaged."""
        for name, value, is_bucket in self._leaves(self._root):
            if name == bucket and is_bucket:
                for key, row, nested in self._in_bucket(value):
                    if not nested:
                        yield key, row
                return

    # --- pages --------------------------------------------------------------------------------------------------------------

    def _beginning(self) -> tuple[int, int]:
        """Page size and root page of the last committed transaction."""
        found = []
        for at in (0, *PAGE_BYTES_CHOICES):
            if at + _PAGE.size + _META.size > self._size:
                break
            magic, version, page_bytes, _, root, _, _, _, transaction, checksum = _META.unpack_from(self._map, at + _PAGE.size)
            start = at + _PAGE.size
            if magic != _MAGIC or version != _VERSION or at not in (0, page_bytes) or page_bytes not in PAGE_BYTES_CHOICES:
                continue
            if _fnv(self._map[start : start + _META.size - 8]) == checksum:
                found.append((transaction, page_bytes, root))
        if not found:
            raise Damaged(f"{self._path}: neither of its two beginnings is whole: not a database of etcd, or a damaged one")
        _, page_bytes, root = max(found)
        return page_bytes, root

    def _in_bucket(self, value: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
        if len(value) < _BUCKET.size:
            raise self._damaged("a bucket without a beginning")
        root, _ = _BUCKET.unpack_from(value)
        return self._leaves(root) if root else self._elements(memoryview(value)[_BUCKET.size :])

    def _leaves(self, page: int, depth: int = 0) -> Iterator[tuple[bytes, bytes, bool]]:
        """(key, value, whether the value is a bucket) of the tree below `page`."""
        if depth > DEPTH_MAX:
            raise self._damaged("its tree has no end")
        content = self._page(page)
        _, flags, count, _ = _PAGE.unpack_from(content)
        if not flags & _IS_BRANCH:
            yield from self._elements(content)
            return
        for number in range(count):
            at = _PAGE.size + number * _BRANCH_ELEMENT.size
            if at + _BRANCH_ELEMENT.size > len(content):
                raise self._damaged(f"page {page} ends before its elements")
            yield from self._leaves(_BRANCH_ELEMENT.unpack_from(content, at)[2], depth + 1)

    def _page(self, number: int) -> memoryview:
        start = number * self._page_bytes
        if start + _PAGE.size > self._size:
            raise self._damaged(f"page {number} lies behind its end")
        its_number, flags, _, overflow = _PAGE.unpack_from(self._map, start)
        end = start + (overflow + 1) * self._page_bytes
        if its_number != number or not flags & (_IS_BRANCH | _IS_LEAF) or end > self._size:
            raise self._damaged(f"page {number} is none of a tree")
        return memoryview(self._map[start:end])

    def _elements(self, content: memoryview) -> Iterator[tuple[bytes, bytes, bool]]:
        try:
            _, flags, count, _ = _PAGE.unpack_from(content)
            if not flags & _IS_LEAF:
                raise self._damaged("a page that should have rows has none")
            for number in range(count):
                at = _PAGE.size + number * _LEAF_ELEMENT.size
                kind, position, key_bytes, value_bytes = _LEAF_ELEMENT.unpack_from(content, at)
                key_at = at + position
                value_at = key_at + key_bytes
                if value_at + value_bytes > len(content):
                    raise self._damaged("a row lies behind the end of its page")
                yield bytes(content[key_at:value_at]), bytes(content[value_at : value_at + value_bytes]), bool(kind & _IS_BUCKET)
        except error as short:
            raise self._damaged("a page ends before its elements") from short

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"{self._path}: damaged: {what}")


def _fnv(data: bytes) -> int:
    """FNV-1a with 64 bits."""
    hashed = 0xCBF29CE484222325
    for byte in data:
        hashed = (hashed ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return hashed
