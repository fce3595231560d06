"""etcd as a small pure model: requests in, results out, or the error that etcd answers. Slow and obvious, over `state.ModelState`.

Written from the published semantics (the ids in brackets), so that it can be held against the real thing. It has no clock: a lease lives until it
is revoked. Requests were checked before they come here, as everywhere behind `api`.
"""

from collections.abc import Callable, Iterator
from zlib import crc32

from msgspec import Struct

from kvstore import errors
from kvstore.encoding import KeyValue, encode_event, encode_key_value, encode_tombstone
from kvstore.ids import LeaseId, MemberId, Revision
from kvstore.model import (
    AlarmChange,
    AlarmMember,
    AlarmResult,
    AlarmType,
    Compact,
    CompactResult,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    DeleteRangeResult,
    EncodedEvent,
    EncodedKeyValue,
    HashKVResult,
    LeaseGrantResult,
    LeaseRevokeResult,
    LeaseTimeToLive,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    SortOrder,
    SortTarget,
    Txn,
    TxnResult,
)
from tests.model.state import ModelState

LEASE_TTL_MIN_S = 2
LEASE_TTL_MAX_S = 9_000_000_000

_Branch = tuple[Operation | None, ...]


class ModelEvent(Struct, frozen=True):
    """One change as history keeps it. A deletion has version 0."""

    kv: KeyValue
    before: KeyValue | None

    def encoded(self, with_before: bool) -> EncodedEvent:
        return encode_event(not self.kv.version, encoded(self.kv), encoded(self.before) if with_before and self.before else None)


def encoded(kv: KeyValue) -> EncodedKeyValue:
    if not kv.version:
        return encode_tombstone(kv.key, kv.mod_revision)
    return encode_key_value(kv.key, kv.create_revision, kv.mod_revision, kv.version, kv.value, kv.lease)


class Model:
    def __init__(self) -> None:
        self.state = ModelState()
        self.compact_revision = -1
        self.history: list[ModelEvent] = []
        self.alarms: set[tuple[int, int]] = set()
        """(member, alarm)"""

    @property
    def revision(self) -> Revision:
        return Revision(self.state.revision)

    def _commit(self) -> None:
        at = self.state.revision
        for kv in self.state.commit():
            self.history.append(ModelEvent(kv, self.state.live(kv.key, at)))

    def _shown_revision(self) -> Revision:
        """What answers inside a transaction carry: the next revision once something was written (TXN-7)."""
        return Revision(self.state.revision + bool(self.state.changes))

    # --- range --------------------------------------------------------------------------------------------------------------

    def range(self, request: Range) -> RangeResult:
        self._check_revision(request.revision)
        found = self.state.range(request.key, request.range_end, request.revision if request.revision > 0 else None)
        count = len(found)
        if request.count_only:
            return RangeResult(self._shown_revision(), [], False, count)
        if request.limit > 0 and request.sort_order == SortOrder.NONE and not _filters(request):
            found = found[: request.limit + 1]  # and only then sorted: the quirk of RNG-7
        found = [kv for kv in found if _passes(request, kv)]
        found = _sorted(found, request)
        more = 0 < request.limit < len(found)
        found = found[: request.limit] if more else found
        if request.keys_only:
            found = [KeyValue(kv.key, kv.create_revision, kv.mod_revision, kv.version, b"", kv.lease) for kv in found]
        return RangeResult(self._shown_revision(), [encoded(kv) for kv in found], more, count)

    def _check_revision(self, revision: int) -> None:
        """RNG-2."""
        if revision > self.state.revision:
            raise errors.FutureRevision
        if 0 < revision < self.compact_revision:
            raise errors.Compacted

    # --- put and delete -----------------------------------------------------------------------------------------------------

    def put(self, request: Put) -> PutResult:
        self._check_writable()
        self._check_lease(request)
        self._check_previous(request)
        result = self._put(request)
        self._commit()
        return result

    def _check_lease(self, request: Put) -> None:
        if request.lease and request.lease not in self.state.leases:
            raise errors.LeaseNotFound

    def _check_previous(self, request: Put) -> None:
        if (request.ignore_value or request.ignore_lease) and self.state.live(request.key) is None:
            raise errors.KeyNotFound

    def _put(self, request: Put) -> PutResult:
        before = self.state.live(request.key)
        value, lease = request.value, request.lease
        if before is not None:
            value = before.value if request.ignore_value else value
            lease = before.lease if request.ignore_lease else lease
        self.state.write(request.key, value, lease)
        return PutResult(self._shown_revision(), encoded(before) if request.prev_kv and before else None)

    def delete_range(self, request: DeleteRange) -> DeleteRangeResult:
        self._check_sound()
        result = self._delete_range(request)
        self._commit()
        return result

    def _delete_range(self, request: DeleteRange) -> DeleteRangeResult:
        doomed = self.state.range(request.key, request.range_end)
        self.state.remove([kv.key for kv in doomed])
        return DeleteRangeResult(self._shown_revision(), len(doomed), [encoded(kv) for kv in doomed] if request.prev_kv else [])

    # --- transactions -------------------------------------------------------------------------------------------------------

    def txn(self, request: Txn) -> TxnResult:
        """Which way to go and whether it can be gone is known before the first write (TXN-6, TXN-11)."""
        if any(isinstance(operation, Put) for operation in _all_operations(request)):
            self._check_writable()
        else:
            self._check_sound()
        path: dict[int, bool] = {}
        self._decide(request, path)
        for put in _on_path(request, path, Put):
            self._check_previous(put)
            self._check_lease(put)
        for read in _on_path(request, path, Range):
            if read.revision < 0:
                raise errors.Compacted
            self._check_revision(read.revision)
        result = self._execute(request, path)
        self._commit()
        return result

    def _decide(self, txn: Txn, path: dict[int, bool]) -> None:
        path[id(txn)] = all(self._holds(compare) for compare in txn.compare)
        for operation in _taken(txn, path):
            if isinstance(operation, Txn):
                self._decide(operation, path)

    def _execute(self, txn: Txn, path: dict[int, bool]) -> TxnResult:
        responses: list[RangeResult | PutResult | DeleteRangeResult | TxnResult] = []
        for operation in _taken(txn, path):
            if isinstance(operation, Range):
                responses.append(self.range(operation))
            elif isinstance(operation, Put):
                responses.append(self._put(operation))
            elif isinstance(operation, DeleteRange):
                responses.append(self._delete_range(operation))
            else:
                assert operation is not None, "refused before it came here (TXN-12)"
                responses.append(self._execute(operation, path))
        return TxnResult(self._shown_revision(), path[id(txn)], responses)

    def _holds(self, compare: Compare) -> bool:
        found = self.state.range(compare.key, compare.range_end)
        if not found:
            if compare.target == CompareTarget.VALUE:
                return False  # TXN-3
            found = [KeyValue(compare.key)]
        return all(_compares(kv, compare) for kv in found)

    # --- leases -------------------------------------------------------------------------------------------------------------

    def lease_grant(self, lease_id: LeaseId, ttl_s: int) -> LeaseGrantResult:
        if ttl_s > LEASE_TTL_MAX_S:
            raise errors.LeaseTtlTooLarge
        chosen = lease_id or next(number for number in range(7_587_000_001, 1 << 62) if number not in self.state.leases)
        self._check_writable()
        granted_s = max(ttl_s, LEASE_TTL_MIN_S)
        if not self.state.grant(chosen, granted_s):
            raise errors.LeaseExists
        return LeaseGrantResult(self.revision, LeaseId(chosen), granted_s)

    def lease_revoke(self, lease_id: LeaseId) -> LeaseRevokeResult:
        self._check_sound()
        if lease_id not in self.state.leases:
            raise errors.LeaseNotFound
        self.state.remove(self.state.attached(lease_id))
        self._commit()
        del self.state.leases[lease_id]
        return LeaseRevokeResult(self.revision)

    def lease_keep_alive(self, lease_id: LeaseId) -> int:
        return self.state.leases.get(lease_id, 0)

    def lease_time_to_live(self, lease_id: LeaseId, with_keys: bool) -> LeaseTimeToLive:
        ttl_s = self.state.leases.get(lease_id)
        if ttl_s is None:
            return LeaseTimeToLive(lease_id, -1, 0, [])
        return LeaseTimeToLive(lease_id, ttl_s, ttl_s, self.state.attached(lease_id) if with_keys else [])

    # --- compaction, hash, alarms -------------------------------------------------------------------------------------------

    def compact(self, request: Compact) -> CompactResult:
        """C-1. History below is told to nobody any more; the versions stay, as nobody can ask for them."""
        self._check_sound()
        if request.revision <= self.compact_revision:
            raise errors.Compacted
        if request.revision > self.state.revision:
            raise errors.FutureRevision
        self.compact_revision = request.revision
        return CompactResult(self.revision)

    def hash_kv(self, revision: Revision) -> HashKVResult:
        self._check_revision(revision)
        at = revision or self.revision
        versions = [encoded(event.kv) for event in self.history if event.kv.mod_revision <= at]
        return HashKVResult(self.revision, crc32(b"".join(versions)), self.compact_revision, Revision(at))

    def raised(self, member_id: int = 0, alarm: int = 0) -> list[AlarmMember]:
        """0: any."""
        chosen = [pair for pair in sorted(self.alarms) if member_id in (0, pair[0]) and alarm in (0, pair[1])]
        return [AlarmMember(MemberId(member), AlarmType(kind)) for member, kind in chosen]

    def change_alarm(self, request: AlarmChange) -> AlarmResult:
        """Tells of what stands now, or was lifted; lifting what does not stand, of nothing."""
        pair = (request.member_id, request.alarm)
        if request.action == 1:
            self.alarms.add(pair)
        elif pair in self.alarms:
            self.alarms.remove(pair)
        else:
            return AlarmResult(self.revision, [])
        return AlarmResult(self.revision, [AlarmMember(MemberId(pair[0]), AlarmType(pair[1]))])

    def _check_sound(self) -> None:
        if self.raised(alarm=AlarmType.CORRUPT):
            raise errors.Corrupt

    def _check_writable(self) -> None:
        self._check_sound()
        if self.raised(alarm=AlarmType.NOSPACE):
            raise errors.NoSpace


# --- parts of a range -------------------------------------------------------------------------------------------------------


def _filters(request: Range) -> bool:
    return bool(request.min_mod_revision or request.max_mod_revision or request.min_create_revision or request.max_create_revision)


def _passes(request: Range, kv: KeyValue) -> bool:
    bounds = (
        (kv.mod_revision, request.min_mod_revision, request.max_mod_revision),
        (kv.create_revision, request.min_create_revision, request.max_create_revision),
    )
    return all((not low or number >= low) and (not high or number <= high) for number, low, high in bounds)


_SORT_KEYS: dict[int, Callable[[KeyValue], bytes | int]] = {
    SortTarget.KEY: lambda kv: kv.key,
    SortTarget.VERSION: lambda kv: kv.version,
    SortTarget.CREATE: lambda kv: kv.create_revision,
    SortTarget.MOD: lambda kv: kv.mod_revision,
    SortTarget.VALUE: lambda kv: kv.value,
}


def _sorted(found: list[KeyValue], request: Range) -> list[KeyValue]:
    return sorted(found, key=_SORT_KEYS[request.sort_target], reverse=request.sort_order == SortOrder.DESCEND)


# --- parts of a transaction -------------------------------------------------------------------------------------------------


def _taken(txn: Txn, path: dict[int, bool]) -> _Branch:
    return txn.success if path[id(txn)] else txn.failure


def _on_path(txn: Txn, path: dict[int, bool], kind: type) -> Iterator[Put | Range]:
    for operation in _taken(txn, path):
        if isinstance(operation, Txn):
            yield from _on_path(operation, path, kind)
        elif isinstance(operation, kind):
            yield operation


def _all_operations(txn: Txn) -> Iterator[Operation | None]:
    for operation in txn.success + txn.failure:
        yield operation
        if isinstance(operation, Txn):
            yield from _all_operations(operation)


_COMPARED: dict[int, Callable[[KeyValue], bytes | int]] = {
    CompareTarget.VERSION: lambda kv: kv.version,
    CompareTarget.CREATE: lambda kv: kv.create_revision,
    CompareTarget.MOD: lambda kv: kv.mod_revision,
    CompareTarget.VALUE: lambda kv: kv.value,
    CompareTarget.LEASE: lambda kv: kv.lease,
}


def _compares(kv: KeyValue, compare: Compare) -> bool:
    """Of an unknown target every stored value equals the given one; an unknown result holds (TXN-5)."""
    read = _COMPARED.get(compare.target)
    stored = read(kv) if read else 0
    given = compare.operand if read else 0
    if isinstance(stored, bytes) != isinstance(given, bytes):
        given = type(stored)()
    outcomes = {
        CompareResult.EQUAL: stored == given,
        CompareResult.NOT_EQUAL: stored != given,
        CompareResult.GREATER: stored > given,
        CompareResult.LESS: stored < given,
    }
    return outcomes.get(compare.result, True)
