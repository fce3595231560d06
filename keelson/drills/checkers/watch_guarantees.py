"""etcd's published guarantees of a watch, one function each (etcd.io, learning/api_guarantees).

A record is one watcher on one member: what was asked and every update that came. A resumed watch is a chain of records, each asking from
behind what the one before was told. The reference is the sequence of changes as the members applied them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from keelson.drills.checkers.reference import Change, ChangedKey
from keelson.drills.checkers.violation import Violation
from kvstore.encoding import KeyValue, decode_key_value, read_varint
from kvstore.ids import MemberId
from kvstore.model import WatchSpec, WatchUpdate

Reference = Mapping[int, Change]


class WatchRecord(Struct, eq=False):
    member: MemberId
    spec: WatchSpec
    created_revision: int
    """The member's revision when the watcher was made: start_revision 0 means "after this"."""
    updates: list[WatchUpdate]
    chain: int = 0
    """Records of one resumed watch share this number."""

    @property
    def first_revision(self) -> int:
        return self.spec.start_revision or self.created_revision + 1

    @property
    def told(self) -> int:
        """The last revision up to which this watcher was told everything."""
        told = self.first_revision - 1
        for update in self.updates:
            if update.events:
                told = max(told, revision_of(update.events[-1]))
            elif not update.compact_revision:
                told = max(told, update.revision)
        return told

    @property
    def ended(self) -> bool:
        return bool(self.updates) and self.updates[-1].compact_revision > 0


def decode_event(encoded: bytes) -> tuple[bool, KeyValue, KeyValue | None]:
    """(deleted, the version, the one before) of an encoded `mvccpb.Event`."""
    at, deleted, kv, prev_kv = 0, False, None, None
    while at < len(encoded):
        tag = encoded[at]
        number, at = read_varint(encoded, at + 1)
        if tag == 0x08:
            deleted = bool(number)
            continue
        part = decode_key_value(encoded[at : at + number])
        at += number
        if tag == 0x12:
            kv = part
        else:
            assert tag == 0x1A, f"unknown tag {tag} in an event"
            prev_kv = part
    assert kv is not None
    return deleted, kv, prev_kv


def revision_of(encoded: bytes) -> int:
    return decode_event(encoded)[1].mod_revision


def ordered(record: WatchRecord) -> None:
    """Events are ordered by revision; an event never appears if it is before, in time, something already told."""
    last = 0
    for update in record.updates:
        for event in update.events:
            revision = revision_of(event)
            if revision < last:
                raise Violation("watch: ordered", f"{_who(record)} was told of revision {revision} after {last}")
            last = revision
        if update.events and update.revision < last:
            raise Violation("watch: ordered", f"{_who(record)}: header revision {update.revision} is before its event's {last}")


def unique(record: WatchRecord) -> None:
    """An event never appears twice."""
    seen: set[tuple[int, bytes]] = set()
    for update in record.updates:
        for event in update.events:
            _, kv, _ = decode_event(event)
            if (kv.mod_revision, kv.key) in seen:
                raise Violation("watch: unique", f"{_who(record)} was told twice of {kv.key!r} at revision {kv.mod_revision}")
            seen.add((kv.mod_revision, kv.key))


def atomic(record: WatchRecord) -> None:
    """All events of one revision come in one update."""
    last = 0
    for update in record.updates:
        revisions = [revision_of(event) for event in update.events]
        if revisions and revisions[0] == last:
            raise Violation("watch: atomic", f"{_who(record)} was told of revision {last} in two updates")
        last = revisions[-1] if revisions else last


def reliable(record: WatchRecord, reference: Reference, compacted: int = 0) -> None:
    """No event is missing up to the last that was told, and each is what really happened.

    An event may lack the version before it if history was compacted (up to `compacted`) meanwhile.
    """
    told = [event for update in record.updates for event in update.events]
    changes = [reference[revision] for revision in range(record.first_revision, record.told + 1) if revision in reference]
    expected = [(change.revision, event) for change in changes for event in change.events if _wanted(record.spec, event)]
    for position, (revision, event) in enumerate(expected):
        if position >= len(told):
            raise Violation("watch: reliable", f"{_who(record)} was never told of {event.key!r} at revision {revision}, though of {record.told}")
        _compare(record, told[position], revision, event, compacted)
    if len(told) > len(expected):
        raise Violation("watch: reliable", f"{_who(record)} was told of {decode_event(told[len(expected)])}, which it should not be")


def is_missing(record: WatchRecord, reference: Reference, revision: int) -> bool:
    """Is there an event up to `revision` that the watcher still has to be told of?"""
    changes = [reference[number] for number in range(record.told + 1, revision + 1) if number in reference]
    return any(_wanted(record.spec, event) for change in changes for event in change.events)


def bookmarkable(record: WatchRecord) -> None:
    """After a progress update of revision R no event of R or before comes."""
    bookmark = 0
    for update in record.updates:
        if update.events and (revision := revision_of(update.events[0])) <= bookmark:
            raise Violation("watch: bookmarkable", f"{_who(record)} was told of revision {revision} after progress {bookmark}")
        if not update.events and not update.compact_revision:
            bookmark = max(bookmark, update.revision)


def resumable(chain: Sequence[WatchRecord], reference: Reference, compacted: int = 0) -> None:
    """A broken watch resumed behind the last revision told gives, put together, what an unbroken one would have given."""
    for before, after in pairwise(chain):
        if not before.ended and after.spec.start_revision != before.told + 1:
            raise AssertionError(f"the workload resumed at {after.spec.start_revision}, not behind {before.told}: a mistake of the test")
    unbroken: list[WatchRecord] = []
    for record in chain:
        unbroken.append(record)
        if record.ended:
            _check_unbroken(unbroken, reference, compacted)
            unbroken = []
    _check_unbroken(unbroken, reference, compacted)


def ended_by_compaction_only(record: WatchRecord, compactions: set[int]) -> None:
    """A watcher is ended only if what it has to be told next was compacted, and hears nothing afterwards."""
    told = record.first_revision - 1
    for position, update in enumerate(record.updates):
        if update.events:
            told = revision_of(update.events[-1])
        if not update.compact_revision:
            continue
        if position != len(record.updates) - 1:
            raise Violation("watch: ended", f"{_who(record)} was told {record.updates[position + 1]} after it had ended")
        if update.compact_revision not in compactions:
            raise Violation("watch: ended", f"{_who(record)} was ended by a compaction at {update.compact_revision}, which nobody asked for")
        if told + 1 >= update.compact_revision:
            raise Violation("watch: ended", f"{_who(record)} was ended by a compaction at {update.compact_revision} though told up to {told}")


def check_all(records: Sequence[WatchRecord], reference: Reference, compactions: set[int]) -> None:
    """Every guarantee for every record and every chain."""
    compacted = max(compactions, default=0)
    chains: dict[int, list[WatchRecord]] = {}
    for record in records:
        ordered(record)
        unique(record)
        atomic(record)
        bookmarkable(record)
        reliable(record, reference, compacted)
        ended_by_compaction_only(record, compactions)
        chains.setdefault(record.chain, []).append(record)
    for chain in chains.values():
        resumable(chain, reference, compacted)


def _check_unbroken(chain: list[WatchRecord], reference: Reference, compacted: int) -> None:
    if not chain:
        return
    first = chain[0]
    whole = WatchRecord(first.member, first.spec, first.created_revision, [update for record in chain for update in record.updates])
    ordered(whole)
    unique(whole)
    reliable(whole, reference, compacted)


def _who(record: WatchRecord) -> str:
    return f"watcher of {record.spec.key!r}..{record.spec.range_end!r} from {record.first_revision} at member {record.member}"


def _wanted(spec: WatchSpec, event: ChangedKey) -> bool:
    key, end = spec.key, spec.range_end
    inside = event.key == key if not end else event.key >= key and (end == b"\0" or event.key < end)
    return inside and not (spec.no_delete if event.deleted else spec.no_put)


def _compare(record: WatchRecord, told: bytes, revision: int, event: ChangedKey, compacted: int) -> None:
    deleted, kv, prev_kv = decode_event(told)
    expected = (event.deleted, decode_key_value(event.kv))
    before = decode_key_value(event.prev_kv) if event.prev_kv is not None and record.spec.prev_kv else None
    if (deleted, kv) != expected or (prev_kv != before and not (prev_kv is None and revision - 1 < compacted)):
        raise Violation("watch: reliable", f"{_who(record)} was told {(deleted, kv, prev_kv)} where {(*expected, before)} happened")
