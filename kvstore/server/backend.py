"""The member as the services see it (`api.backend.Backend`): each request becomes an input of the member and a future for its answer."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from kvstore.accounts import NOBODY_KNOWN, AccountChange, AccountQuestion, Caller, UserAdd, UserChangePassword, Who
from kvstore.api.backend import Answer
from kvstore.errors import InvalidAuthToken, UserEmpty
from kvstore.ids import ClusterId, LeaseId, MemberId, Revision
from kvstore.member.changes import new_member_id
from kvstore.member.delivery import Deliver, Stream
from kvstore.member.requests import Barrier, Guarded, LeaseTime, ListLeases, ListMembers, RenewLease
from kvstore.model import (
    AlarmChange,
    AlarmMember,
    AlarmResult,
    Compact,
    CompactResult,
    DeleteRange,
    DeleteRangeResult,
    HashKVResult,
    LeaseGrantResult,
    LeaseRevoke,
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
)
from kvstore.mvcc.txn import is_read_only, is_serializable
from kvstore.server.backups import Backups
from kvstore.server.logins import Logins
from kvstore.server.loop import Runner
from kvstore.statemachine.members import Action


class WakingStream:
    """A watch stream whose requests make the member take a turn: history to catch up with, progress to tell."""

    def __init__(self, runner: Runner, stream: Stream, logins: Logins, who: Who) -> None:
        self._runner = runner
        self._stream = stream
        self._logins = logins
        self._who = who
        self.cancel = stream.cancel
        self.request_progress = stream.request_progress
        self.progress = stream.progress
        self.close = stream.close

    def check(self, spec: WatchSpec) -> None:
        """Whoever opened the stream must be allowed to read that now; what changes later does not end the watcher (W-27)."""
        member = self._runner.member
        if member.machine.accounts.enabled:
            member.check_watch(spec.key, spec.range_end, self._logins.known(self._who))

    def create(self, spec: WatchSpec) -> Revision:
        self.check(spec)
        revision = self._stream.create(spec)
        self._runner.wake()
        return revision

    def resume(self) -> None:
        self._stream.resume()
        self._runner.wake()


class MemberBackend:
    """`who` is what the services know of the caller. While authentication is off and nobody says who he is, it costs nothing."""

    def __init__(self, runner: Runner, logins: Logins) -> None:
        self._runner = runner
        self._member = runner.member
        self._logins = logins
        self._new_future = runner.loop.create_future
        self.cluster_id: ClusterId = self._member.config.cluster_id
        self.member_id: MemberId = self._member.id
        self.header = self._member.header
        self._backups = Backups(lambda: self._read(Barrier()), lambda: self._ask(self._member.export_state))

    def _propose(self, command: Any, who: Who = None) -> Awaitable[Any]:
        if who is not None or self._member.machine.accounts.enabled:
            return self._propose_for(who, command)
        future = self._new_future()
        self._member.propose(command, future, NOBODY_KNOWN)
        self._runner.wake()
        return future

    async def _propose_for(self, who: Who, command: Any) -> Any:
        caller = await self._caller(who)
        future = self._new_future()
        self._member.propose(command, future, caller)
        self._runner.wake()
        return await future

    async def _caller(self, who: Who) -> Caller:
        """Whose name goes into the entry. Where nobody's counts for nothing that is told here, so that it cannot fill the log."""
        caller = await self._logins.caller(who)
        if caller == NOBODY_KNOWN and self.auth_enabled():
            raise UserEmpty
        return caller

    def _read(self, request: Any, who: Who = None) -> Awaitable[Any]:
        if who is not None:
            return self._read_for(who, request, self._member.read)
        future = self._new_future()
        self._member.read(request, future)
        self._runner.wake()
        return future

    def _read_serializable(self, request: Any, who: Who = None) -> Awaitable[Any]:
        if who is not None:
            return self._read_for(who, request, self._member.read_serializable)
        future = self._new_future()
        self._member.read_serializable(request, future)
        self._runner.wake()
        return future

    async def _read_for(self, who: Who, request: Any, read: Any) -> Any:
        await self._logins.catch_up(who)
        future = self._new_future()
        read(Guarded(request, self._logins.known(who)), future)
        self._runner.wake()
        return await future

    # --- KV -----------------------------------------------------------------------------------------------------------------

    def range(self, request: Range, who: Who = None) -> Awaitable[RangeResult]:
        return self._read_serializable(request, who) if request.serializable else self._read(request, who)

    def put(self, request: Put, who: Who = None) -> Awaitable[PutResult]:
        return self._propose(request, who)

    def delete_range(self, request: DeleteRange, who: Who = None) -> Awaitable[DeleteRangeResult]:
        return self._propose(request, who)

    def txn(self, request: Txn, who: Who = None) -> Awaitable[TxnResult]:
        if not is_read_only(request):
            return self._propose(request, who)
        return self._read_serializable(request, who) if is_serializable(request) else self._read(request, who)

    def compact(self, request: Compact, who: Who = None) -> Awaitable[CompactResult]:
        return self._propose(request, who)

    def start(self, request: Range | Put | DeleteRange | Txn, answer: Answer) -> None:
        member = self._member
        if type(request) is Put or type(request) is DeleteRange:
            member.propose(request, answer, NOBODY_KNOWN)
        elif type(request) is Range:
            if not request.serializable:
                member.read(request, answer)
            elif (result := member.range_now(request)) is not None:
                answer.set_result(result)
                return
            else:
                member.read_serializable(request, answer)
        elif type(request) is Txn and not is_read_only(request):
            member.propose(request, answer, NOBODY_KNOWN)
        elif type(request) is Txn and is_serializable(request):
            member.read_serializable(request, answer)
        else:
            member.read(request, answer)
        self._runner.wake()

    def open_watch_stream(self, deliver: Deliver, who: Who = None) -> WakingStream:
        return WakingStream(self._runner, self._member.open_stream(deliver), self._logins, who)

    # --- leases -------------------------------------------------------------------------------------------------------------

    async def lease_grant(self, lease_id: LeaseId, ttl_s: int, who: Who = None) -> LeaseGrantResult:
        caller = await self._caller(who)
        future = self._new_future()
        self._member.grant_lease(lease_id, ttl_s, future, caller)
        self._runner.wake()
        return await future  # type: ignore[no-any-return]

    def lease_revoke(self, lease_id: LeaseId, who: Who = None) -> Awaitable[LeaseRevokeResult]:
        return self._propose(LeaseRevoke(lease_id), who)

    def _ask_lease(self, request: RenewLease | LeaseTime, who: Who) -> Awaitable[Any]:
        if who is not None:
            return self._ask_lease_for(who, request)
        future = self._new_future()
        self._member.ask_lease(request, future, None)
        self._runner.wake()
        return future

    async def _ask_lease_for(self, who: Who, request: RenewLease | LeaseTime) -> Any:
        await self._logins.catch_up(who)
        future = self._new_future()
        self._member.ask_lease(request, future, self._logins.known(who))
        self._runner.wake()
        return await future

    def lease_keep_alive(self, lease_id: LeaseId, who: Who = None) -> Awaitable[int]:
        return self._ask_lease(RenewLease(lease_id), who)

    def lease_time_to_live(self, lease_id: LeaseId, with_keys: bool, who: Who = None) -> Awaitable[LeaseTimeToLive]:
        return self._ask_lease(LeaseTime(lease_id, with_keys), who)

    def lease_leases(self, who: Who = None) -> Awaitable[list[LeaseId]]:
        return self._read(ListLeases(), who)

    # --- accounts -----------------------------------------------------------------------------------------------------------

    def name_of(self, who: Who) -> str:
        try:
            return self._member.identify(self._logins.known(who)).name
        except InvalidAuthToken:
            return ""

    def auth_enabled(self) -> bool:
        return self._member.machine.accounts.enabled

    async def require_root(self, who: Who) -> None:
        await self._logins.catch_up(who)
        self._member.check_root(self._logins.known(who))

    async def require_user(self, who: Who) -> None:
        await self._logins.catch_up(who)
        self._member.check_user(self._logins.known(who))

    def catch_up(self, who: Who) -> Awaitable[None]:
        return self._logins.catch_up(who)

    def authenticate(self, name: str, password: str) -> Awaitable[str]:
        return self._logins.authenticate(name, password)

    async def add_user(self, name: str, password: str, no_password: bool, who: Who = None) -> None:
        password_hash = b"" if no_password else await self._logins.make_hash(password)
        await self._propose(UserAdd(name, password_hash, no_password), who)

    async def change_password(self, name: str, password: str, who: Who = None) -> None:
        """An empty one is no password: with etcd nobody gets in by it after that, and so it is here."""
        await self._propose(UserChangePassword(name, await self._logins.make_hash(password) if password else b""), who)

    def change_accounts(self, change: AccountChange, who: Who = None) -> Awaitable[None]:
        return self._propose(change, who)

    def ask_accounts(self, question: AccountQuestion, who: Who = None) -> Awaitable[Any]:
        return self._read(question, who)

    # --- cluster and maintenance --------------------------------------------------------------------------------------------

    def member_list(self, linearizable: bool, who: Who = None) -> Awaitable[list[Member]]:
        return self._read(ListMembers(), who) if linearizable else self._read_serializable(ListMembers(), who)

    async def member_add(self, peer_urls: tuple[str, ...], is_learner: bool) -> tuple[MemberId, list[Member]]:
        added = new_member_id(peer_urls, "", int(time.time()))
        return added, await self._change_members(Action.ADD_LEARNER if is_learner else Action.ADD, added, peer_urls)

    def member_remove(self, member_id: MemberId) -> Awaitable[list[Member]]:
        return self._change_members(Action.REMOVE, member_id)

    def member_update(self, member_id: MemberId, peer_urls: tuple[str, ...]) -> Awaitable[list[Member]]:
        return self._change_members(Action.UPDATE, member_id, peer_urls)

    def member_promote(self, member_id: MemberId) -> Awaitable[list[Member]]:
        return self._change_members(Action.PROMOTE, member_id)

    def _change_members(self, action: Action, subject: MemberId, peer_urls: tuple[str, ...] = ()) -> Awaitable[list[Member]]:
        return self._ask(self._member.change_members, action, subject, peer_urls)

    async def status(self) -> Status:
        return self._member.status(*self._runner.sizes())

    async def alarms(self, member_id: MemberId, alarm: int, *, linearizable: bool) -> list[AlarmMember]:
        if linearizable:
            await self._read(Barrier())
        return self._member.alarms(member_id, alarm)

    def change_alarm(self, action: int, member_id: MemberId, alarm: int, who: Who = None) -> Awaitable[AlarmResult]:
        return self._propose(AlarmChange(action, member_id, alarm), who)

    def _ask(self, question: Any, *arguments: Any) -> asyncio.Future[Any]:
        future = self._new_future()
        question(*arguments, future)
        self._runner.wake()
        return future

    def defragment(self) -> Awaitable[None]:
        return self._ask(self._member.defragment)

    def hash(self) -> Awaitable[int]:
        return self._ask(self._member.hash_everything)

    def hash_kv(self, revision: Revision) -> Awaitable[HashKVResult]:
        return self._ask(self._member.hash_kv, revision)

    def snapshot(self) -> AsyncGenerator[tuple[int, bytes], None]:
        return self._backups.pieces()

    def move_leader(self, target: MemberId) -> Awaitable[None]:
        return self._ask(self._member.move_leader, target)

    # --- health -------------------------------------------------------------------------------------------------------------

    def leader(self) -> MemberId:
        return self._member.leader

    def is_learner(self) -> bool:
        return self._member.is_learner

    def is_ready(self) -> bool:
        return self._member.is_ready
