"""The model of etcd behind the services' `Backend` protocol, with the switches that tests of services need: no leader, a learner, held answers."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from kvstore.accounts import AccountChange, AccountQuestion, Caller, PasswordAsked, UserAdd, UserChangePassword, Who
from kvstore.api.backend import Answer, Deliver
from kvstore.auth import access
from kvstore.errors import AuthFailed, MemberNotFound, MemberNotLearner, PeerUrlExists, StoreError
from kvstore.ids import ClusterId, Index, LeaseId, MemberId, Revision, Term
from kvstore.model import (
    AlarmChange,
    AlarmMember,
    AlarmResult,
    Compact,
    CompactResult,
    DeleteRange,
    DeleteRangeResult,
    HashKVResult,
    Header,
    LeaseGrantResult,
    LeaseRevokeResult,
    LeaseTimeToLive,
    Member,
    Put,
    PutResult,
    Range,
    RangeResult,
    Status,
    Txn,
    TxnResult,
    WatchSpec,
    WatchUpdate,
)
from kvstore.statemachine.machine import Machine
from kvstore.storage.memory_engine import MemoryDisk
from tests.model.model import Model, ModelEvent
from tests.model.state import covers

T = TypeVar("T")

CLUSTER, MEMBER, TERM = ClusterId(0xCDF8_1818_6E2C_9F1A), MemberId(0x8E9E_05C5_2164_694D), Term(2)
SNAPSHOT = bytes(range(256)) * 300
"""What the model pretends its state's file to be: three blobs."""
BLOB_BYTES = 32 << 10


class _Watcher:
    def __init__(self, spec: WatchSpec, current: int) -> None:
        self.spec = spec
        self.next_revision = spec.start_revision or current + 1
        self.behind = self.next_revision <= current
        """Has history to catch up with: its answers then carry the current revision (W-13)."""

    def wants(self, event: ModelEvent) -> bool:
        deleted = not event.kv.version
        return not (self.spec.no_delete if deleted else self.spec.no_put) and covers(self.spec.key, self.spec.range_end, event.kv.key)


class ModelWatchStream:
    """Looks at the whole history for each watcher each time."""

    def __init__(self, backend: "ModelBackend", deliver: Deliver) -> None:
        self._backend = backend
        self._deliver = deliver
        self._blocked = False
        self.watchers: dict[int, _Watcher] = {}

    def check(self, spec: WatchSpec) -> None:
        pass

    def create(self, spec: WatchSpec) -> Revision:
        assert spec.watch_id not in self.watchers, "ids are the caller's"
        current = self._backend.model.revision
        self.watchers[spec.watch_id] = _Watcher(spec, current)
        asyncio.get_running_loop().call_soon(self.tell)
        return current

    def cancel(self, watch_id: int) -> None:
        self.watchers.pop(watch_id, None)

    def request_progress(self) -> None:
        if self.watchers and all(self._synced(watcher) for watcher in self.watchers.values()):
            self._deliver(WatchUpdate(-1, self._backend.model.revision))

    def progress(self, watch_id: int) -> None:
        watcher = self.watchers.get(watch_id)
        if watcher is not None and self._synced(watcher):
            self._deliver(WatchUpdate(watch_id, self._backend.model.revision))

    def _synced(self, watcher: _Watcher) -> bool:
        return watcher.next_revision == self._backend.model.revision + 1

    def resume(self) -> None:
        self._blocked = False
        asyncio.get_running_loop().call_soon(self.tell)

    def close(self) -> None:
        self.watchers.clear()
        self._backend.streams.discard(self)

    def tell(self) -> None:
        """Everything that the watchers have not been told, as long as the client takes it."""
        for watch_id, watcher in list(self.watchers.items()):
            while not self._blocked and self.watchers.get(watch_id) is watcher and self._tell_next(watcher):
                pass

    def _tell_next(self, watcher: _Watcher) -> bool:
        """Whether there may be more to tell."""
        model, spec = self._backend.model, watcher.spec
        current = model.revision
        if watcher.next_revision < model.compact_revision:
            if self._offer(WatchUpdate(spec.watch_id, current, (), model.compact_revision)):
                del self.watchers[spec.watch_id]
            return False
        if watcher.next_revision > current:
            watcher.behind = False
            return False
        last = current if watcher.behind else watcher.next_revision
        found = [event for event in model.history if watcher.next_revision <= event.kv.mod_revision <= last and watcher.wants(event)]
        shown = tuple(event.encoded(spec.prev_kv) for event in found)
        if shown and not self._offer(WatchUpdate(spec.watch_id, Revision(last), shown)):
            watcher.behind = True
            return False
        watcher.next_revision = last + 1
        return True

    def _offer(self, update: WatchUpdate) -> bool:
        taken = self._deliver(update)
        self._blocked = not taken
        return taken


class ModelBackend:
    """`kvstore.api.backend.Backend`.

    `gate`: while it is not set, answers of puts and transactions wait, as those of a member without quorum do; `waiting` counts those waits,
    `given_up` the ones whose caller left meanwhile.
    """

    def __init__(self) -> None:
        self.model = Model()
        self.cluster_id, self.member_id, self.term = CLUSTER, MEMBER, TERM
        self.leader_id = MEMBER
        self.learner = False
        self.ready = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = self.given_up = 0
        self.defragmented = 0
        self.moved_to: list[MemberId] = []
        self.added: dict[MemberId, Member] = {}
        self.streams: set[ModelWatchStream] = set()
        self._started: set[asyncio.Task[None]] = set()
        self.asked_by: list[Who] = []
        """Who wanted something that needs permission."""
        engine = MemoryDisk().open_state()
        self.book = Machine(engine)
        """Users and roles are the state machine's own: the model has no other idea of them."""
        self.book.begin(engine.begin_write())

    def header(self) -> Header:
        return Header(self.cluster_id, self.member_id, self.model.revision, self.term)

    def tell(self) -> None:
        for stream in self.streams:
            stream.tell()

    def _changed(self, result: T) -> T:
        self.tell()
        return result

    # --- KV -----------------------------------------------------------------------------------------------------------------

    async def range(self, request: Range, who: Who = None) -> RangeResult:
        return self.model.range(request)

    async def put(self, request: Put, who: Who = None) -> PutResult:
        await self._pass_gate()
        return self._changed(self.model.put(request))

    async def _pass_gate(self) -> None:
        self.waiting += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.waiting -= 1

    async def delete_range(self, request: DeleteRange, who: Who = None) -> DeleteRangeResult:
        return self._changed(self.model.delete_range(request))

    async def txn(self, request: Txn, who: Who = None) -> TxnResult:
        await self._pass_gate()
        return self._changed(self.model.txn(request))

    def start(self, request: Range | Put | DeleteRange | Txn, answer: Answer) -> None:
        task = asyncio.get_running_loop().create_task(self._perform(request, answer))
        self._started.add(task)
        task.add_done_callback(self._started.discard)

    async def _perform(self, request: Range | Put | DeleteRange | Txn, answer: Answer) -> None:
        methods: dict[type, Any] = {Range: self.range, Put: self.put, DeleteRange: self.delete_range, Txn: self.txn}
        try:
            result = await methods[type(request)](request)
        except StoreError as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(result)

    async def compact(self, request: Compact, who: Who = None) -> CompactResult:
        return self._changed(self.model.compact(request))

    def open_watch_stream(self, deliver: Deliver, who: Who = None) -> ModelWatchStream:
        stream = ModelWatchStream(self, deliver)
        self.streams.add(stream)
        return stream

    # --- leases -------------------------------------------------------------------------------------------------------------

    async def lease_grant(self, lease_id: LeaseId, ttl_s: int, who: Who = None) -> LeaseGrantResult:
        return self.model.lease_grant(lease_id, ttl_s)

    async def lease_revoke(self, lease_id: LeaseId, who: Who = None) -> LeaseRevokeResult:
        return self._changed(self.model.lease_revoke(lease_id))

    async def lease_keep_alive(self, lease_id: LeaseId, who: Who = None) -> int:
        return self.model.lease_keep_alive(lease_id)

    async def lease_time_to_live(self, lease_id: LeaseId, with_keys: bool, who: Who = None) -> LeaseTimeToLive:
        return self.model.lease_time_to_live(lease_id, with_keys)

    async def lease_leases(self, who: Who = None) -> list[LeaseId]:
        return [LeaseId(lease) for lease in sorted(self.model.state.leases)]

    # --- accounts -----------------------------------------------------------------------------------------------------------

    def name_of(self, who: Who) -> str:
        return who.name if isinstance(who, Caller) else "" if who is None else who.token or who.common_name

    def auth_enabled(self) -> bool:
        return self.book.accounts.enabled

    def caller(self, who: Who) -> Caller:
        """In the model a token is the name of its user."""
        self.asked_by.append(who)
        if isinstance(who, Caller):
            return who
        name = "" if who is None else who.token if who.token is not None else who.common_name
        return Caller(name, self.book.accounts.revision if name else 0)

    async def require_root(self, who: Who) -> None:
        access.check_root(self.book.accounts, self.caller(who))

    async def require_user(self, who: Who) -> None:
        access.check_user(self.book.accounts, self.caller(who))

    async def catch_up(self, who: Who) -> None:
        pass

    async def authenticate(self, name: str, password: str) -> str:
        check = self.book.account_answers[PasswordAsked](PasswordAsked(name))
        if check.password_hash != password.encode():
            raise AuthFailed
        return name

    async def add_user(self, name: str, password: str, no_password: bool, who: Who = None) -> None:
        await self.change_accounts(UserAdd(name, password.encode(), no_password), who)

    async def change_password(self, name: str, password: str, who: Who = None) -> None:
        await self.change_accounts(UserChangePassword(name, password.encode()), who)

    async def change_accounts(self, change: AccountChange, who: Who = None) -> None:
        caller = self.caller(who)
        outcome = self.book.apply(Index(self.book.applied_index + 1), self.term, change, caller.name, caller.revision)
        if isinstance(outcome, StoreError):
            raise outcome

    async def ask_accounts(self, question: AccountQuestion, who: Who = None) -> Any:
        if self.auth_enabled():
            self.book.guard.check(question, self.caller(who))
        return self.book.account_answers[type(question)](question)

    # --- cluster and maintenance --------------------------------------------------------------------------------------------

    async def member_list(self, linearizable: bool, who: Who = None) -> list[Member]:
        return self._listed()

    def _listed(self) -> list[Member]:
        own = Member(self.member_id, "m1", ("http://127.0.0.1:2380",), ("http://127.0.0.1:2379",), self.learner)
        return sorted([own, *self.added.values()], key=lambda member: member.id)

    async def member_add(self, peer_urls: tuple[str, ...], is_learner: bool) -> tuple[MemberId, list[Member]]:
        if any(set(peer_urls).intersection(member.peer_urls) for member in self._listed()):
            raise PeerUrlExists
        added = MemberId(len(self.added) + 1)
        self.added[added] = Member(added, "", peer_urls, (), is_learner)
        return added, self._listed()

    async def member_remove(self, member_id: MemberId) -> list[Member]:
        self._added(member_id)
        del self.added[member_id]
        return self._listed()

    async def member_update(self, member_id: MemberId, peer_urls: tuple[str, ...]) -> list[Member]:
        known = self._added(member_id)
        self.added[member_id] = Member(known.id, known.name, peer_urls, known.client_urls, known.is_learner)
        return self._listed()

    async def member_promote(self, member_id: MemberId) -> list[Member]:
        known = self._added(member_id)
        if not known.is_learner:
            raise MemberNotLearner
        self.added[member_id] = Member(known.id, known.name, known.peer_urls, known.client_urls)
        return self._listed()

    def _added(self, member_id: MemberId) -> Member:
        if member_id not in self.added:
            raise MemberNotFound
        return self.added[member_id]

    async def status(self) -> Status:
        return Status("3.6.0", "3.6.0", 20_480, 16_384, 2 << 30, self.leader_id, self.term, Index(9), Index(8), self.learner, [])

    async def alarms(self, member_id: MemberId, alarm: int, *, linearizable: bool) -> list[AlarmMember]:
        return self.model.raised(member_id, alarm)

    async def change_alarm(self, action: int, member_id: MemberId, alarm: int, who: Who = None) -> AlarmResult:
        return self.model.change_alarm(AlarmChange(action, member_id, alarm))

    async def defragment(self) -> None:
        self.defragmented += 1

    async def hash(self) -> int:
        return self.model.hash_kv(Revision(0)).hash

    async def hash_kv(self, revision: Revision) -> HashKVResult:
        return self.model.hash_kv(revision)

    async def snapshot(self) -> AsyncGenerator[tuple[int, bytes], None]:
        for at in range(0, len(SNAPSHOT), BLOB_BYTES):
            blob = SNAPSHOT[at : at + BLOB_BYTES]
            yield len(SNAPSHOT) - at - len(blob), blob

    async def move_leader(self, target: MemberId) -> None:
        self.moved_to.append(target)

    # --- health -------------------------------------------------------------------------------------------------------------

    def leader(self) -> MemberId:
        return self.leader_id

    def is_learner(self) -> bool:
        return self.learner

    def is_ready(self) -> bool:
        return self.ready
