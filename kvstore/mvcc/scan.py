"""Scans of the keys in a range: the newest versions, or those that were live at an older revision.

The newest revision is a cursor scan over `newest`, which holds the answer's bytes unless they are many (`record.APART_BYTES`). An older one looks
up, for each key ever written in the range, its last version then; unless little changed since, then only for what did. Everything goes in steps, so
that a range of a million keys can be read a piece at a time between other work: a later step reads the revision of the first as an older one if
it has been overtaken.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from typing import cast

from kvstore.encoding import read_varint
from kvstore.errors import Compacted
from kvstore.ids import Revision
from kvstore.model import EncodedKeyValue, Range
from kvstore.mvcc.record import HISTORY_SIZE, NEWEST_SIZE, REVISION, REVISION_SIZE, SHORT_KEY_BYTES, TOMBSTONE_FLAG, key_of, table_key
from kvstore.mvcc.store import Store

FROM_KEY = b"\x00"
KEYS_PER_STEP = 2_000
"""Keys read in one step, if they have no more bytes than `BYTES_PER_STEP`: less than a millisecond."""
BYTES_PER_STEP = 1 << 20
KEYS_WEIGHED = 64
"""Keys after which it is looked how many bytes they were."""
CHANGES_MAX = 5_000
"""Changes since a revision for which it is worth finding out which keys they were: 3 ms."""
KEYS_COUNTED_PER_STEP = 10_000
"""Keys that are only counted in one step: the same."""
KEYS_COUNTED_FIRST = 64
"""Keys that are looked at together where the end may be near; then four times as many, and so on."""


def covers(key: bytes, range_end: bytes, candidate: bytes) -> bool:
    """Is `candidate` in [key, range_end)?"""
    if not range_end:
        return candidate == key
    return candidate >= key and (range_end == FROM_KEY or candidate < range_end)


def newest_in(store: Store, key: bytes, range_end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(table key, row) of the live keys in [key, range_end), in the order of the whole keys."""
    if not range_end:
        stored_key = table_key(key)
        row = store.txn.get(stored_key, db=store.tables.newest)
        if row is not None:
            yield stored_key, row
        return
    cursor = store.txn.cursor(db=store.tables.newest)
    start = key[:SHORT_KEY_BYTES]
    end = None if range_end == FROM_KEY else range_end
    group: list[tuple[bytes, bytes]] = []
    if cursor.set_range(start):
        for stored_key, row in cursor.iternext():
            if len(stored_key) > SHORT_KEY_BYTES:
                if end is not None and stored_key[:SHORT_KEY_BYTES] >= end:
                    break
                if group and group[0][0][:SHORT_KEY_BYTES] != stored_key[:SHORT_KEY_BYTES]:
                    yield from _ordered(store, group, key, range_end)
                    group = []
                group.append((stored_key, row))
                continue
            if group:
                yield from _ordered(store, group, key, range_end)
                group = []
            if end is not None and stored_key >= end:
                break
            if stored_key >= key:
                yield stored_key, row
    if group:
        yield from _ordered(store, group, key, range_end)
    cursor.close()


def _ordered(store: Store, group: list[tuple[bytes, bytes]], key: bytes, range_end: bytes) -> list[tuple[bytes, bytes]]:
    """Long keys with the same beginning, in the order of the whole keys, those in the range."""
    whole = sorted((key_of(store.version(row)), stored_key, row) for stored_key, row in group)
    return [(stored_key, row) for full, stored_key, row in whole if covers(key, range_end, full)]


def version_at(store: Store, stored_key: bytes, revision: int) -> EncodedKeyValue | None:
    """The live version of a key at `revision`, None if it did not exist then."""
    cursor = store.txn.cursor(db=store.tables.revisions)
    try:
        if cursor.set_range_dup(stored_key, REVISION.pack(revision + 1, 0)):
            found = cursor.prev_dup()
        else:
            found = cursor.set_key(stored_key) and cursor.last_dup()
        if not found:
            return None
        entry = cursor.value()
    finally:
        cursor.close()
    if entry[REVISION_SIZE:] == TOMBSTONE_FLAG:
        return None
    row = store.txn.get(entry[:REVISION_SIZE], db=store.tables.history)
    assert row is not None, "a revision of a key names an entry of the history"
    return EncodedKeyValue(row[HISTORY_SIZE:])


def _stored_keys(store: Store, key: bytes, range_end: bytes) -> Iterator[bytes]:
    """Table keys of everything ever written in the range and not compacted away; long ones grouped, not ordered."""
    if not range_end:
        yield table_key(key)
        return
    cursor = store.txn.cursor(db=store.tables.revisions)
    found = cursor.set_range(key[:SHORT_KEY_BYTES])
    end = None if range_end == FROM_KEY else range_end
    while found:
        stored_key = cursor.key()
        if end is not None and stored_key[:SHORT_KEY_BYTES] >= end:
            break
        yield stored_key
        found = cursor.next_nodup()
    cursor.close()


def older_in(store: Store, key: bytes, range_end: bytes, revision: int) -> Iterator[EncodedKeyValue]:
    """Versions that were live at `revision`, in the order of the whole keys."""
    group: list[tuple[bytes, EncodedKeyValue]] = []
    prefix = b""
    for stored_key in _stored_keys(store, key, range_end):
        if group and (len(stored_key) <= SHORT_KEY_BYTES or stored_key[:SHORT_KEY_BYTES] != prefix):
            yield from [kv for _, kv in sorted(group)]
            group = []
        kv = version_at(store, stored_key, revision)
        if kv is None:
            continue
        full = stored_key if len(stored_key) <= SHORT_KEY_BYTES else key_of(kv)
        if not covers(key, range_end, full):
            continue
        if full is stored_key:
            yield kv
        else:
            prefix = stored_key[:SHORT_KEY_BYTES]
            group.append((full, kv))
    yield from [kv for _, kv in sorted(group)]


# --- in steps ---------------------------------------------------------------------------------------------------------------


class Step:
    """Part of an answer: what `go_on_at` is, the next one begins there; None if this was the last."""

    __slots__ = ("count", "go_on_at", "kvs")

    def __init__(self, kvs: list[EncodedKeyValue], count: int, go_on_at: bytes | None) -> None:
        self.kvs = kvs
        self.count = count
        self.go_on_at = go_on_at


def steps(store: Store, request: Range, revision: Revision, wanted: int) -> Iterator[Step]:
    """Pieces of the range at `revision`; no more than `wanted` key-values in all (-1: all), but everything counted."""
    key: bytes | None = request.key
    range_end = request.range_end
    if wanted == 0 and key == FROM_KEY and range_end == FROM_KEY and revision == store.current():
        yield Step([], store.txn.stat(store.tables.newest)["entries"], None)
        return
    since: _Since | None = None
    while key is not None:
        if revision < store.compacted:
            raise Compacted
        if revision != store.current():
            since = since or _Since(store, revision)
            step = _overtaken_step(store, key, range_end, since, wanted) or _step_through(older_in(store, key, range_end, revision), wanted)
        elif wanted:
            step = _newest_step(store, key, range_end, wanted)
        else:
            step = _counting_step(store, key, range_end)
        if wanted > 0:
            wanted -= len(step.kvs)
        yield step
        key = step.go_on_at


def _step_through(kvs: Iterator[bytes], wanted: int) -> Step:
    """One key after the other, whatever they are."""
    found: list[EncodedKeyValue] = []
    count = 0
    last = b""
    for kv in kvs:
        if count == KEYS_PER_STEP:
            # Go on behind the last key seen: the smallest key above it.
            return Step(found, count, key_of(last) + b"\x00")
        count += 1
        last = kv
        if wanted < 0 or len(found) < wanted:
            found.append(EncodedKeyValue(kv))
    return Step(found, count, None)


def _with_long_keys(store: Store, key: bytes, range_end: bytes, wanted: int) -> Step:
    return _step_through((store.version(row) for _, row in newest_in(store, key, range_end)), wanted)


def _newest_step(store: Store, key: bytes, range_end: bytes, wanted: int) -> Step:
    """The same for the newest versions as long as all keys are short, in a loop that does nothing else: 0.17 us a key and not 0.3."""
    if len(key) > SHORT_KEY_BYTES or not range_end:
        return _with_long_keys(store, key, range_end, wanted)
    kvs: list[EncodedKeyValue] = []
    add, apart = cast(Callable[[bytes], None], kvs.append), store.version_apart
    most = KEYS_PER_STEP if wanted < 0 else min(wanted, KEYS_PER_STEP)
    endless = range_end == FROM_KEY
    last = b""
    left_bytes = BYTES_PER_STEP
    cursor = store.txn.cursor(db=store.tables.newest)
    try:
        following = cursor.iternext() if cursor.set_range(key) else iter(())
        while (there := len(kvs)) < most and left_bytes > 0:
            asked = min(KEYS_WEIGHED, most - there)
            for stored_key, row in islice(following, asked):
                if len(stored_key) > SHORT_KEY_BYTES:
                    return _with_long_keys(store, key, range_end, wanted)
                if stored_key >= range_end and not endless:
                    return Step(kvs, len(kvs), None)
                add(row[NEWEST_SIZE:] or apart(row))
                last = stored_key
            if len(kvs) < there + asked:
                return Step(kvs, len(kvs), None)
            left_bytes -= sum(map(len, islice(kvs, there, None)))
    finally:
        cursor.close()
    return Step(kvs, len(kvs), last + b"\x00")


class _Since:
    """What changed after `revision`: of all other keys `newest` says what they were then."""

    def __init__(self, store: Store, revision: Revision) -> None:
        self._store = store
        self.revision = revision
        self._looked = int(revision)
        self._keys: set[bytes] = set()
        self._sorted: list[bytes] = []
        self._too_many = False

    def keys(self) -> list[bytes] | None:
        """Table keys in order; None if they are too many, or if one is long, so that the order is not that of the whole keys."""
        if not self._too_many and self._looked < self._store.current():
            self._too_many = self._store.current() - self.revision > CHANGES_MAX or not self._look()
            self._sorted = sorted(self._keys)
        return None if self._too_many else self._sorted

    def _look(self) -> bool:
        store, add = self._store, self._keys.add
        cursor = store.txn.cursor(db=store.tables.history)
        try:
            if cursor.set_range(REVISION.pack(self._looked + 1, 0)):
                for _, row in cursor.iternext():
                    size, at = read_varint(row, HISTORY_SIZE + 1)
                    if size > SHORT_KEY_BYTES or len(self._keys) >= CHANGES_MAX:
                        return False
                    add(row[at : at + size])
        finally:
            cursor.close()
        self._looked = store.current()
        return True


def _overtaken_step(store: Store, key: bytes, range_end: bytes, since: _Since, wanted: int) -> Step | None:
    """At a revision that is not the newest any more, if that is not long ago: what did not change since is read as the newest, 0.25 us a key; only
    what did is looked up, 2.5 us. A long range is overtaken by whatever is written meanwhile, and the pages of a list are read at the revision of
    its first. None: that does not work here."""
    changed = since.keys()
    if changed is None or len(key) > SHORT_KEY_BYTES or not range_end:
        return None
    keys: list[bytes] = []
    kvs: list[EncodedKeyValue] = []
    add, add_kv, apart = keys.append, cast(Callable[[bytes], None], kvs.append), store.version_apart
    border = REVISION.pack(since.revision + 1, 0)
    endless = range_end == FROM_KEY
    most = KEYS_PER_STEP if wanted < 0 else wanted
    looked, go_on_at = 0, None
    cursor = store.txn.cursor(db=store.tables.newest)
    try:
        for stored_key, row in cursor.iternext() if cursor.set_range(key) else ():
            if len(stored_key) > SHORT_KEY_BYTES:
                return None
            if stored_key >= range_end and not endless:
                break
            if row < border:  # it begins with its revision
                add(stored_key)
                if len(kvs) < most:  # of the others the values, which may be large, are nobody's
                    add_kv(row[NEWEST_SIZE:] or apart(row))
            looked += 1
            if looked == KEYS_PER_STEP:
                go_on_at = stored_key + b"\x00"
                break
    finally:
        cursor.close()
    end = len(changed) if go_on_at is None and endless else bisect_left(changed, go_on_at or range_end)
    before = [(each, kv) for each in changed[bisect_left(changed, key) : end] if (kv := version_at(store, each, since.revision)) is not None]
    if before and wanted:
        kvs = [kv for _, kv in sorted([*zip(keys, kvs, strict=False), *before])]
    return Step(kvs if wanted < 0 else kvs[:wanted], len(keys) + len(before), go_on_at)


def _counting_step(store: Store, key: bytes, range_end: bytes) -> Step:
    """Keys alone, without copying what belongs to them: 0.06 us each."""
    if len(key) > SHORT_KEY_BYTES or not range_end:
        return _with_long_keys(store, key, range_end, 0)
    count, size = 0, min(KEYS_COUNTED_FIRST, KEYS_COUNTED_PER_STEP)
    cursor = store.txn.cursor(db=store.tables.newest)
    try:
        found = cursor.set_range(key)
        following = cursor.iternext(values=False)
        while found and count < KEYS_COUNTED_PER_STEP:
            asked = min(size, KEYS_COUNTED_PER_STEP - count)
            keys = list(islice(following, asked))
            if max(map(len, keys), default=0) > SHORT_KEY_BYTES:
                return _with_long_keys(store, key, range_end, 0)
            if keys and range_end != FROM_KEY and keys[-1] >= range_end:
                return Step([], count + bisect_left(keys, range_end), None)
            count += len(keys)
            if len(keys) < asked:
                return Step([], count, None)
            last = keys[-1]
            size *= 4
    finally:
        cursor.close()
    return Step([], count, last + b"\x00" if found else None)
