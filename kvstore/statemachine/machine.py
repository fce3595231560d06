"""Apply one committed command: dispatch to keys, leases, alarms and members. See `statemachine/__init__.py` for the contract.

A failure that a client is told is a result, equal on every member. Anything else that goes wrong is a bug or a broken disk, and stops the
member before members can differ.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec.structs import astuple

from kvstore.accounts import BY_THE_CLUSTER, Caller
from kvstore.auth.store import Accounts
from kvstore.errors import Compacted, Corrupt, FutureRevision, LeaderChanged, NoSpace, StoreError
from kvstore.ids import NO_INDEX, NO_TERM, Index, LeaseId, MemberId, Revision, Term
from kvstore.model import (
    AlarmAction,
    AlarmChange,
    AlarmMember,
    AlarmResult,
    AlarmType,
    Compact,
    CompactResult,
    DeleteRange,
    DeleteRangeResult,
    EncodedKeyValue,
    LeaseGrant,
    LeaseGrantResult,
    LeaseRevoke,
    LeaseRevokeResult,
    Member,
    PublishMember,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from kvstore.mvcc import compaction, lease, write
from kvstore.mvcc import range as ranges
from kvstore.mvcc import txn as txns
from kvstore.mvcc.events import AppliedEvent, RevisionEvents
from kvstore.mvcc.record import HISTORY, HISTORY_SIZE, REVISION, key_of
from kvstore.mvcc.store import FIRST_REVISION, Counts, Store
from kvstore.statemachine import members
from kvstore.statemachine.accounts import AccountCommands
from kvstore.statemachine.commands import Command
from kvstore.statemachine.guard import Guard
from kvstore.storage.engine import Engine, ReadTxn, WriteTxn
from kvstore.storage.tables import open_state_tables

_COMPACTED_AT_ZERO = b"compacted_at_zero"

_encode = msgspec.msgpack.Encoder().encode
_decode_member = msgspec.msgpack.Decoder(Member).decode

_APPLIED, _REVISION, _COMPACTED, _COMPACTION_DONE, _CONF = b"applied", b"revision", b"compacted", b"compaction_done", b"conf"


class Machine:
    """The replicated state on an engine. Nothing of it grows in memory with the number of keys."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tables = open_state_tables(engine)
        txn = engine.begin_read()
        try:
            applied = txn.get(_APPLIED, db=self.tables.meta) or bytes(16)
            self.applied_index = Index(int.from_bytes(applied[:8], "big") or NO_INDEX)
            self.applied_term = Term(int.from_bytes(applied[8:], "big") or NO_TERM)
            self.conf: bytes = txn.get(_CONF, db=self.tables.meta) or b""
            """The configuration of consensus as of the applied index, in the member's own encoding."""
            self._store = Store(
                self.tables,
                Revision(self._number(txn, _REVISION) or FIRST_REVISION),
                Revision(self._number(txn, _COMPACTED)),
                Revision(self._number(txn, _COMPACTION_DONE)),
            )
            self._store.compacted_at_zero = txn.get(_COMPACTED_AT_ZERO, db=self.tables.meta) is not None
            rows = txn.cursor(db=self.tables.members)
            self.members: dict[MemberId, Member] = {}
            if rows.first():
                for _, row in rows.iternext():
                    member = _decode_member(row)
                    self.members[member.id] = member
            rows.close()
            rows = txn.cursor(db=self.tables.removed_members)
            self.removed_members: set[MemberId] = set()
            """Ids that are burnt (MB-4)."""
            if rows.first():
                for key, _ in rows.iternext():
                    self.removed_members.add(MemberId(int.from_bytes(key, "big")))
            rows.close()
            alarms = txn.cursor(db=self.tables.alarms)
            self.alarms: list[AlarmMember] = []
            if alarms.first():
                for key, _ in alarms.iternext():
                    self.alarms.append(AlarmMember(MemberId(int.from_bytes(key[:8], "big")), AlarmType(key[8])))
            alarms.close()
            self.accounts = Accounts(txn, self.tables)
        finally:
            txn.abort()
        self._apply: dict[type[Any], Callable[[Any], Any]] = {
            Put: self._put,
            DeleteRange: self._delete_range,
            Txn: self._txn,
            Compact: self._compact,
            LeaseGrant: self._lease_grant,
            LeaseRevoke: self._lease_revoke,
            AlarmChange: self._alarm_change,
            PublishMember: self._publish_member,
        }
        self.guard = Guard(self.accounts, self.lease_keys)
        commands = AccountCommands(self.accounts, lambda: self.applied_index)
        self._apply |= commands.apply
        self.account_answers = commands.answer
        """Functions by class of question (`accounts.AccountQuestion`, `PasswordAsked`); they raise StoreError."""
        self._no_space = self._corrupt = False
        self._note_alarms()

    def _number(self, txn: ReadTxn, name: bytes) -> int:
        return int.from_bytes(txn.get(name, db=self.tables.meta) or b"", "big")

    def begin(self, txn: WriteTxn) -> None:
        """Work in this write transaction from now on."""
        first = not hasattr(self._store, "txn")
        self._store.begin(txn)
        self.accounts.txn = txn
        if first:
            lease.load(self._store)

    @property
    def transaction(self) -> WriteTxn:
        """The write transaction under way."""
        return self._store.txn

    def reopen(self, engine: Engine) -> None:
        """The same state in another file (defragmented, or opened again): only the handles change. `begin` must follow."""
        self.engine = engine
        self.tables = open_state_tables(engine)
        self._store.tables = self.accounts.tables = self.tables

    def seal(self) -> None:
        """Write what only memory knows into the transaction; the caller commits it then."""
        store = self._store
        put = store.txn.put
        meta = self.tables.meta
        put(_APPLIED, self.applied_index.to_bytes(8, "big") + self.applied_term.to_bytes(8, "big"), db=meta)
        put(_REVISION, store.revision.to_bytes(8, "big"), db=meta)
        put(_COMPACTED, store.compacted.to_bytes(8, "big"), db=meta)
        put(_COMPACTION_DONE, store.compaction_done.to_bytes(8, "big"), db=meta)
        if store.compacted_at_zero:
            put(_COMPACTED_AT_ZERO, b"\x01", db=meta)
        put(_CONF, self.conf, db=meta)

    # --- what is there ----------------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The keys, for whoever fills a state with another's."""
        return self._store

    @property
    def revision(self) -> Revision:
        return self._store.revision

    @property
    def compact_revision(self) -> int:
        """For HashKV: -1 if it was never compacted."""
        return self._store.compact_revision

    @property
    def compacted_revision(self) -> Revision:
        """Reads below are refused; 0: never compacted."""
        return self._store.compacted

    @property
    def leases(self) -> dict[int, int]:
        """Lease id to granted TTL in seconds."""
        return self._store.leases

    def bytes_in_use(self) -> int:
        """Pages of all tables, what is not committed included. About 8 us."""
        stat = self._store.txn.stat
        rows = [stat(table) for table in astuple(self.tables)]
        return sum(row["psize"] * (row["branch_pages"] + row["leaf_pages"] + row["overflow_pages"]) for row in rows)

    @property
    def counts(self) -> Counts:
        """For the metrics."""
        return self._store.counts

    def go_on_counting(self, counts: Counts) -> None:
        """This machine takes the place of the one that counted so far."""
        self._store.counts = counts

    @property
    def compaction_pending(self) -> bool:
        return compaction.pending(self._store)

    def compaction_step(self, versions_max: int) -> bool:
        """Delete a bounded part of what was compacted; True if there is more."""
        return compaction.step(self._store, versions_max)

    # --- applying -----------------------------------------------------------------------------------------------------------

    def apply(self, index: Index, term: Term, command: Command, user: str = "", auth_revision: int = BY_THE_CLUSTER) -> Any:
        """The result, or a StoreError as a value. Everything it changed is in the transaction, with the applied index.

        `user` and `auth_revision` say for whom it is done and what was known of him then; he needs the permission now."""
        assert index == self.applied_index + 1, f"entry {index} applied after {self.applied_index}"
        self.applied_index, self.applied_term = index, term
        try:
            if self.accounts.enabled:
                self.guard.check(command, Caller(user, auth_revision))
            return self._apply[type(command)](command)
        except StoreError as error:
            assert error.deterministic, "applying says only what every member says"
            assert not self._store.changes, "a failed command changes nothing"
            return error

    def note_applied(self, index: Index, term: Term) -> None:
        """An entry that says nothing to the state: a leader's first, or a change of membership handled by the member."""
        assert index == self.applied_index + 1, f"entry {index} applied after {self.applied_index}"
        self.applied_index, self.applied_term = index, term

    def take_events(self) -> list[RevisionEvents]:
        """Changes since last asked, in revision order."""
        told = self._store.told
        if told:
            self._store.told = []
        return told

    def _put(self, request: Put) -> PutResult:
        if self._no_space or self._corrupt:
            raise Corrupt if self._corrupt else NoSpace
        store = self._store
        if request.lease or request.ignore_value or request.ignore_lease:
            write.check_put(store, request)
        result = write.put(store, request)
        store.finish()
        return result

    def _delete_range(self, request: DeleteRange) -> DeleteRangeResult:
        self._refuse_if_corrupt()
        result = write.delete_range(self._store, request)
        self._store.finish()
        return result

    def _txn(self, request: Txn) -> TxnResult:
        self._refuse_if_corrupt()
        if self._no_space and _has_put(request):
            raise NoSpace
        result = txns.execute(self._store, request)
        self._store.finish()
        return result

    def _compact(self, request: Compact) -> CompactResult:
        self._refuse_if_corrupt()
        compaction.compact(self._store, request.revision)
        return CompactResult(self._store.revision)

    def _lease_grant(self, request: LeaseGrant) -> LeaseGrantResult:
        if self._no_space or self._corrupt:
            raise Corrupt if self._corrupt else NoSpace
        lease.grant(self._store, request.id, request.ttl_s)
        return LeaseGrantResult(self._store.revision, LeaseId(request.id), request.ttl_s)

    def _lease_revoke(self, request: LeaseRevoke) -> LeaseRevokeResult:
        self._refuse_if_corrupt()
        write.delete_keys(self._store, lease.revoke(self._store, request.id))
        return LeaseRevokeResult(self._store.finish())

    def _publish_member(self, request: PublishMember) -> None:
        known = self.members.get(MemberId(request.member_id))
        if known is not None:
            self.put_member(Member(known.id, request.name, known.peer_urls, request.client_urls, known.is_learner))

    # --- alarms -------------------------------------------------------------------------------------------------------------

    def _alarm_change(self, request: AlarmChange) -> AlarmResult:
        """Raise or lift. The answer names what stands now or is lifted; lifting what does not stand is answered with nothing."""
        alarm = AlarmMember(MemberId(request.member_id), AlarmType(request.alarm))
        key = alarm.member_id.to_bytes(8, "big") + bytes([alarm.alarm])
        changed = []
        if alarm.alarm != AlarmType.NONE:
            if request.action == AlarmAction.ACTIVATE:
                if alarm not in self.alarms:
                    self._store.txn.put(key, b"\x01", db=self.tables.alarms)
                    self.alarms = sorted([*self.alarms, alarm], key=lambda raised: (raised.member_id, raised.alarm))
                changed = [alarm]
            elif request.action == AlarmAction.DEACTIVATE and alarm in self.alarms:
                self._store.txn.delete(key, db=self.tables.alarms)
                self.alarms = [raised for raised in self.alarms if raised != alarm]
                changed = [alarm]
        self._note_alarms()
        return AlarmResult(self._store.revision, changed)

    def _note_alarms(self) -> None:
        raised = {alarm.alarm for alarm in self.alarms}
        self._no_space = AlarmType.NOSPACE in raised
        self._corrupt = AlarmType.CORRUPT in raised

    def _refuse_if_corrupt(self) -> None:
        if self._corrupt:
            raise Corrupt

    # --- members --------------------------------------------------------------------------------------------------------------

    def put_member(self, member: Member) -> None:
        self.members[member.id] = member
        self._store.txn.put(member.id.to_bytes(8, "big"), _encode(member), db=self.tables.members)

    def forget_member(self, member_id: MemberId) -> None:
        if self.members.pop(member_id, None) is not None:
            self._store.txn.delete(member_id.to_bytes(8, "big"), db=self.tables.members)

    def remove_member(self, member_id: MemberId) -> None:
        """For good: its id never comes back."""
        self.forget_member(member_id)
        self.removed_members.add(member_id)
        self._store.txn.put(member_id.to_bytes(8, "big"), b"\x01", db=self.tables.removed_members)

    def change_members(self, action: int, subject: MemberId, peer_urls: tuple[str, ...]) -> list[Member] | StoreError:
        """A committed change of the membership. All members afterwards, or why nothing changed; `note_applied` follows."""
        try:
            members.check(self.members, self.removed_members, action, subject, peer_urls)
        except StoreError as error:
            return error
        if action == members.Action.REMOVE:
            self.remove_member(subject)
        else:
            self.put_member(members.changed(self.members.get(subject), action, subject, peer_urls))
        return self.listed_members()

    def listed_members(self) -> list[Member]:
        """As clients see them: by rising id (MB-8)."""
        return sorted(self.members.values(), key=lambda member: member.id)

    # --- another cluster's ------------------------------------------------------------------------------------------------------

    def found_cluster(self, founders: list[Member], conf: bytes, index: Index, term: Term) -> None:
        """This state, restored from a backup, is where a new cluster begins: of the old one's members and log nothing stays."""
        for known in list(self.members):
            self.forget_member(known)
        for burnt in self.removed_members:
            self._store.txn.delete(burnt.to_bytes(8, "big"), db=self.tables.removed_members)
        self.removed_members.clear()
        for member in founders:
            self.put_member(member)
        self.conf, self.applied_index, self.applied_term = conf, index, term

    def bump_revision(self, by: int) -> None:
        """Go on `by` revisions higher and count all before as compacted: who saw revisions that the backup does not hold must not take new ones
        for those, and whoever watches from one of them is told that it is gone."""
        self._store.revision = self._store.compacted = Revision(self._store.revision + by)

    # --- reading --------------------------------------------------------------------------------------------------------------

    def range(self, request: Range) -> RangeResult:
        """Raises StoreError."""
        return ranges.read_range(self._store, request)

    def range_steps(self, request: Range) -> Iterator[RangeResult | None] | None:
        """None: one key, use `range`. Else an iterator that gives None as long as there is more to read, and the answer last; entries may
        be applied between its steps. A limit makes no range small: all of it is counted (RNG-4), half a second for a million keys."""
        if not request.range_end:
            return None
        self._store.counts.ranges += 1
        return self._unless_replaced(ranges.range_in_steps(self._store, request))

    def _unless_replaced(self, steps: Iterator[RangeResult | None]) -> Iterator[RangeResult | None]:
        """A snapshot may put another state, and another machine, in the place of this one while a range is read. What is left to read is then
        gone with the old file: the client hears of a moment's inability and asks again, LMDB is not touched."""
        result = None
        while result is None:
            if self.engine.closed:
                raise LeaderChanged
            result = next(steps)
            yield result

    def read_txn(self, request: Txn) -> TxnResult:
        """A transaction that only reads (`txns.is_read_only`)."""
        return txns.execute(self._store, request)

    def lease_keys(self, lease_id: int) -> list[bytes]:
        return lease.attached(self._store, lease_id)

    def check_hash_revision(self, revision: int) -> Revision:
        """The revision that HashKV is to cover; 0 asks for the current one."""
        if revision > self.revision:
            raise FutureRevision
        if 0 < revision < self.compacted_revision:
            raise Compacted
        return Revision(revision) if revision > 0 else self.revision

    def history(self, first_revision: Revision, revisions_max: int, bytes_max: int) -> list[RevisionEvents]:
        """Whole revisions from `first_revision` on, as they were when applied; at least one if there is any."""
        store = self._store
        batch: list[RevisionEvents] = []
        main, events, size = 0, list[AppliedEvent](), 0
        cursor = store.txn.cursor(db=self.tables.history)
        if cursor.set_range(REVISION.pack(first_revision, 0)):
            for at, row in cursor.iternext():
                entry_main = REVISION.unpack(at)[0]
                if entry_main != main:
                    if events:
                        batch.append(RevisionEvents(Revision(main), tuple(events)))
                        if len(batch) >= revisions_max or size >= bytes_max:
                            events = []
                            break
                    main, events = entry_main, []
                size += len(row)
                events.append(self._event(entry_main, row))
        cursor.close()
        if events:
            batch.append(RevisionEvents(Revision(main), tuple(events)))
        return batch

    def _event(self, main: int, row: bytes) -> AppliedEvent:
        prev_main, prev_sub, is_tombstone = HISTORY.unpack_from(row)
        kv = EncodedKeyValue(row[HISTORY_SIZE:])
        prev_kv = None
        # The version before is the state at main - 1, which is gone once that is compacted (W-15).
        if prev_main and main - 1 >= self._store.compacted:
            prev = self._store.txn.get(REVISION.pack(prev_main, prev_sub), db=self.tables.history)
            prev_kv = None if prev is None else EncodedKeyValue(prev[HISTORY_SIZE:])
        return AppliedEvent(key_of(kv), bool(is_tombstone), kv, prev_kv)


def _has_put(txn: Txn) -> bool:
    return any(isinstance(operation, Put) or (isinstance(operation, Txn) and _has_put(operation)) for operation in txn.success + txn.failure)
