"""Ranges of keys that somebody may read or write: merged once, so that a question is one binary search (etcd AU-8).

A range may be covered by several permissions together, of several roles, as long as they leave no gap; a key by any one of them. Ends are
compared as bytes; None is the end of all keys.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from kvstore.accounts import Permission

Interval = tuple[bytes, bytes | None]
"""[first, end), None: no end."""

NO_END = b"\x00"


def interval(key: bytes, range_end: bytes) -> Interval:
    """The keys meant by a range as requests and permissions write it."""
    if not range_end:
        return key, key + b"\x00"
    return key, None if range_end == NO_END else range_end


def is_valid(permission: Permission) -> bool:
    """Whether it names any keys at all (etcd AU-14)."""
    return bool(permission.key) and (permission.range_end in (b"", NO_END) or permission.key < permission.range_end)


class KeyRanges:
    """A set of keys as sorted intervals that neither overlap nor touch."""

    __slots__ = ("_ends", "_firsts")

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self._firsts: list[bytes] = []
        self._ends: list[bytes | None] = []
        for first, end in sorted(intervals, key=lambda interval: interval[0]):
            if self._ends and _reaches(self._ends[-1], first):
                if not _reaches(self._ends[-1], end):
                    self._ends[-1] = end
            else:
                self._firsts.append(first)
                self._ends.append(end)

    def covers(self, key: bytes, range_end: bytes) -> bool:
        """Is every key of the range in the set?

        A range whose end is not behind its beginning holds no keys. Like etcd we still want its beginning to be permitted.
        """
        at = bisect_right(self._firsts, key) - 1
        if at < 0:
            return False
        end = self._ends[at]
        if not range_end:
            return end is None or key < end
        if range_end == NO_END:
            return end is None
        return end is None or (key < end and range_end <= end)


def _reaches(end: bytes | None, other: bytes | None) -> bool:
    """Does an interval with this end go at least to `other`?"""
    return end is None or (other is not None and end >= other)


def merged(permissions: Sequence[Permission], kinds: frozenset[int]) -> KeyRanges:
    """The keys that permissions of these kinds are about."""
    return KeyRanges(interval(permission.key, permission.range_end) for permission in permissions if permission.kind in kinds)
