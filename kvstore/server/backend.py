"""The member as the services see it (`api.backend.Backend`): each request becomes an input of the member and a future for its answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from kvstore.ids import ClusterId, LeaseId, MemberId, Revision
from kvstore.member.delivery import Deliver, Stream
from kvstore.member.requests import LeaseTime, ListLeases, ListMembers, RenewLease
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
from kvstore.server.loop import Runner
from kvstore.storage.engine import Export
from kvstore.wire.limits import SNAPSHOT_BLOB_BYTES


class WakingStream:
    """A watch stream whose requests make the member take a turn: history to catch up with, progress to tell."""

    def __init__(self, runner: Runner, stream: Stream) -> None:
        self._runner = runner
        self._stream = stream
        self.cancel = stream.cancel
        self.request_progress = stream.request_progress
        self.progress = stream.progress
        self.close = stream.close

    def create(self, spec: WatchSpec) -> Revision:
        revision = self._stream.create(spec)
        self._runner.wake()
        return revision

    def resume(self) -> None:
        self._stream.resume()
        self._runner.wake()


class MemberBackend:
    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._member = runner.member
        self._new_future = runner.loop.create_future
        self.cluster_id: ClusterId = self._member.config.cluster_id
        self.member_id: MemberId = self._member.id
        self.header = self._member.header

    def _propose(self, command: Any) -> asyncio.Future[Any]:
        future = self._new_future()
        self._member.propose(command, future)
        self._runner.wake()
        return future

    def _read(self, request: Any) -> asyncio.Future[Any]:
        future = self._new_future()
        self._member.read(request, future)
        self._runner.wake()
        return future

    def _read_serializable(self, request: Any) -> asyncio.Future[Any]:
        future = self._new_future()
        self._member.read_serializable(request, future)
        self._runner.wake()
        return future

    # --- KV -----------------------------------------------------------------------------------------------------------------

    def range(self, request: Range) -> Awaitable[RangeResult]:
        return self._read_serializable(request) if request.serializable else self._read(request)

    def put(self, request: Put) -> Awaitable[PutResult]:
        return self._propose(request)

    def delete_range(self, request: DeleteRange) -> Awaitable[DeleteRangeResult]:
        return self._propose(request)

    def txn(self, request: Txn) -> Awaitable[TxnResult]:
        if not is_read_only(request):
            return self._propose(request)
        return self._read_serializable(request) if is_serializable(request) else self._read(request)

    def compact(self, request: Compact) -> Awaitable[CompactResult]:
        return self._propose(request)

    def open_watch_stream(self, deliver: Deliver) -> WakingStream:
        return WakingStream(self._runner, self._member.open_stream(deliver))

    # --- leases -------------------------------------------------------------------------------------------------------------

    def lease_grant(self, lease_id: LeaseId, ttl_s: int) -> Awaitable[LeaseGrantResult]:
        future = self._new_future()
        self._member.grant_lease(lease_id, ttl_s, future)
        self._runner.wake()
        return future

    def lease_revoke(self, lease_id: LeaseId) -> Awaitable[LeaseRevokeResult]:
        return self._propose(LeaseRevoke(lease_id))

    def _ask_lease(self, request: RenewLease | LeaseTime) -> asyncio.Future[Any]:
        future = self._new_future()
        self._member.ask_lease(request, future)
        self._runner.wake()
        return future

    def lease_keep_alive(self, lease_id: LeaseId) -> Awaitable[int]:
        return self._ask_lease(RenewLease(lease_id))

    def lease_time_to_live(self, lease_id: LeaseId, with_keys: bool) -> Awaitable[LeaseTimeToLive]:
        return self._ask_lease(LeaseTime(lease_id, with_keys))

    def lease_leases(self) -> Awaitable[list[LeaseId]]:
        return self._read(ListLeases())

    # --- cluster and maintenance --------------------------------------------------------------------------------------------

    def member_list(self, linearizable: bool) -> Awaitable[list[Member]]:
        return self._read(ListMembers()) if linearizable else self._read_serializable(ListMembers())

    async def status(self) -> Status:
        return self._member.status(*self._runner.sizes())

    async def alarms(self, member_id: MemberId, alarm: int) -> list[AlarmMember]:
        return self._member.alarms(member_id, alarm)

    def change_alarm(self, action: int, member_id: MemberId, alarm: int) -> Awaitable[AlarmResult]:
        return self._propose(AlarmChange(action, member_id, alarm))

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

    async def snapshot(self) -> AsyncIterator[tuple[int, bytes]]:
        export: Export = await self._ask(self._member.export_state)
        try:
            offset = 0
            while offset < export.total_bytes:
                blob = export.read(offset, SNAPSHOT_BLOB_BYTES)
                offset += len(blob)
                yield export.total_bytes - offset, blob
        finally:
            export.close()

    def move_leader(self, target: MemberId) -> Awaitable[None]:
        return self._ask(self._member.move_leader, target)

    # --- health -------------------------------------------------------------------------------------------------------------

    def leader(self) -> MemberId:
        return self._member.leader

    def is_learner(self) -> bool:
        return self._member.is_learner

    def is_ready(self) -> bool:
        return self._member.is_ready
