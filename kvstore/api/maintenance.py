"""etcdserverpb.Maintenance."""

import asyncio
import contextlib
import re
from hashlib import sha256
from typing import TYPE_CHECKING

from kvstore.api.backend import Backend
from kvstore.api.health_service import NOT_SERVING, SERVING, Serving
from kvstore.api.rpc import Context, Requests, Send, Service, Settings
from kvstore.errors import InvalidDowngradeTargetVersion, WrongDowngradeVersionFormat
from kvstore.ids import MemberId, Revision
from kvstore.model import AlarmAction, AlarmType
from kvstore.wire import codec, messages
from kvstore.wire.limits import SNAPSHOT_BLOB_BYTES
from kvstore.wire.status import Code, RpcError

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

_DOWNGRADE_CANCEL = 2


def _blobs(digest: "HASH", remaining: int, piece: bytes, version: str) -> list[bytes]:
    """The responses that carry `piece`, behind which `remaining` bytes are left; it goes into the digest."""
    digest.update(piece)
    left = remaining + len(piece)
    responses = []
    for at in range(0, len(piece), SNAPSHOT_BLOB_BYTES):
        blob = piece[at : at + SNAPSHOT_BLOB_BYTES]
        left -= len(blob)
        responses.append(messages.SnapshotResponse(remaining_bytes=left, blob=blob, version=version).SerializeToString())
    return responses


class Maintenance(Service):
    def __init__(self, backend: Backend, settings: Settings, serving: Serving) -> None:
        super().__init__(backend, settings)
        self._serving = serving

    async def alarm(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.AlarmRequest, data)
        member_id = MemberId(request.memberID)
        if request.action == AlarmAction.GET:
            alarms = await self.backend.alarms(member_id, request.alarm, linearizable=True)  # with etcd the question goes through the log
        elif request.action in (AlarmAction.ACTIVATE, AlarmAction.DEACTIVATE) and request.alarm in (AlarmType.NOSPACE, AlarmType.CORRUPT):
            alarms = (await self.backend.change_alarm(request.action, member_id, request.alarm, context.credentials)).alarms
        else:
            alarms = []  # etcd takes "no alarm" and unknown actions as nothing to do
        response = messages.AlarmResponse(alarms=[messages.AlarmMember(memberID=raised.member_id, alarm=raised.alarm) for raised in alarms])
        return self.header() + response.SerializeToString()  # type: ignore[no-any-return]

    async def status(self, _context: Context, data: bytes) -> bytes:
        codec.parse(messages.StatusRequest, data)
        status = await self.backend.status()
        response = messages.StatusResponse(
            version=status.version,
            dbSize=status.db_size_bytes,
            leader=status.leader,
            raftIndex=status.raft_index,
            raftTerm=status.raft_term,
            raftAppliedIndex=status.raft_applied_index,
            errors=status.errors,
            dbSizeInUse=status.db_size_in_use_bytes,
            isLearner=status.is_learner,
            storageVersion=status.storage_version,
            dbSizeQuota=status.db_size_quota_bytes,
            downgradeInfo=messages.DowngradeInfo(),
        )
        return self.header() + response.SerializeToString()  # type: ignore[no-any-return]

    async def defragment(self, _context: Context, data: bytes) -> bytes:
        codec.parse(messages.DefragmentRequest, data)
        if self.settings.stop_serving_on_defrag:
            self._serving.set(NOT_SERVING, "defrag is active")
        try:
            await self.backend.defragment()
        finally:
            self._serving.set(SERVING, "defrag is finished")
        return b""

    async def hash(self, _context: Context, data: bytes) -> bytes:
        codec.parse(messages.HashRequest, data)
        response = messages.HashResponse(hash=await self.backend.hash())
        return self.header() + response.SerializeToString()  # type: ignore[no-any-return]

    async def hash_kv(self, _context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.HashKVRequest, data)
        result = await self.backend.hash_kv(Revision(request.revision))
        response = messages.HashKVResponse(hash=result.hash, compact_revision=result.compact_revision, hash_revision=result.hash_revision)
        return self.header(result.revision) + response.SerializeToString()  # type: ignore[no-any-return]

    async def snapshot(self, _context: Context, requests: Requests, send: Send) -> None:
        """The state in blobs, then their SHA-256 in a last one (M-5)."""
        version = self.settings.storage_version
        async for data in requests:
            codec.parse(messages.SnapshotRequest, data)
            digest = sha256()
            async with contextlib.aclosing(self.backend.snapshot()) as pieces:
                async for remaining, piece in pieces:
                    # Hashing is the most of it, and leaves the other threads alone: away from the event loop, which has others to serve.
                    await send(*await asyncio.to_thread(_blobs, digest, remaining, piece, version))
            await send(messages.SnapshotResponse(blob=digest.digest(), version=version).SerializeToString())
            return

    async def move_leader(self, _context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.MoveLeaderRequest, data)
        await self.backend.move_leader(MemberId(request.targetID))
        return b""

    async def downgrade(self, _context: Context, data: bytes) -> bytes:
        """There is no older release to go back to: refuse honestly, and let a cancel succeed (DG-2)."""
        request = codec.parse(messages.DowngradeRequest, data)
        if request.action == _DOWNGRADE_CANCEL:
            version = ".".join(self.settings.cluster_version.split(".")[:2])
            return self.header() + messages.DowngradeResponse(version=version).SerializeToString()  # type: ignore[no-any-return]
        if request.action > _DOWNGRADE_CANCEL:
            raise RpcError(Code.UNKNOWN, "etcdserver: unknown method")
        if not re.fullmatch(r"\d+\.\d+(\.\d+)?", request.version):
            raise WrongDowngradeVersionFormat
        raise InvalidDowngradeTargetVersion
