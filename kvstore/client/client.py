"""`Client`: the store's API as coroutines, over all endpoints, with etcd's rules for trying again.

    async with Client(["127.0.0.1:2379"]) as client:
        await client.put(b"key", b"value")
        found = await client.get(b"key")

Answers are the API's own messages (`wire.messages`), so nothing of them is lost: `found.kvs[0].value`, `found.header.revision`. Failures are
`kvstore.errors` classes, or `client.errors.CallFailed` for what is none of the store's own.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from hashlib import sha256
from types import TracebackType
from typing import Any

import grpc
import grpc.aio

from kvstore.client.authentication import METADATA, NOBODY, Identity, LoginFailed, wants_new_token
from kvstore.client.endpoints import Channels, TlsFiles
from kvstore.client.errors import CallFailed, SnapshotDamaged, translate
from kvstore.client.lease import keep_alive
from kvstore.client.retry import backoff_s, may_repeat
from kvstore.client.watch import Watcher
from kvstore.errors import AuthNotEnabled, StoreError
from kvstore.wire import messages
from kvstore.wire.messages import METHODS
from kvstore.wire.status import CODES, Code

COMMAND_TIMEOUT_S = 5.0


TIMEOUT_MAX_S = 10 * 365 * 86400.0
"""Nobody waits longer, and gRPC's clock takes a deadline in 292 years for one that has passed."""


class Client:
    """One client; safe to use from many tasks of one event loop. `timeout_s` bounds each call, tries included."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TlsFiles | None = None,
        timeout_s: float = COMMAND_TIMEOUT_S,
        keepalive_time_s: float = 0,
        keepalive_timeout_s: float = 20,
        identity: Identity = NOBODY,
        login_timeout_s: float | None = None,
        request_bytes_max: int = 0,
        response_bytes_max: int = 0,
    ) -> None:
        """`login_timeout_s` bounds logging in where that is to be shorter or longer than a call. Sizes of 0 leave the limit to the server."""
        self.channels = Channels(endpoints, tls, keepalive_time_s, keepalive_timeout_s, response_bytes_max)
        self.request_bytes_max = request_bytes_max
        self.timeout_s = min(timeout_s, TIMEOUT_MAX_S)
        self.login_timeout_s = self.timeout_s if login_timeout_s is None else min(login_timeout_s, TIMEOUT_MAX_S)
        self.identity = identity
        self._token = identity.token
        self._logged_in = not identity.logs_in
        self._login_lock = asyncio.Lock()
        self._calls: dict[tuple[int, str], Any] = {}

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        self._calls.clear()
        await self.channels.close()

    def callable(self, path: str) -> Any:
        """gRPC's own callable for a method at the present endpoint."""
        channel = self.channels.channel()
        call = self._calls.get((id(channel), path))
        if call is None:
            method = METHODS[path]
            make = {
                (False, False): channel.unary_unary,
                (False, True): channel.unary_stream,
                (True, False): channel.stream_unary,
                (True, True): channel.stream_stream,
            }[method.client_streams, method.server_streams]
            serialize, parse = method.request.SerializeToString, method.response.FromString
            call = self._calls[id(channel), path] = make(path, request_serializer=serialize, response_deserializer=parse)
        return partial(call, metadata=((METADATA, self._token),)) if self._token else call

    async def call(self, path: str, request: Any, *, is_read: bool) -> Any:
        """A unary call, tried on the endpoints in turn as far as that is safe. Raises StoreError."""
        if not self._logged_in:  # Said here as well: this is the hot path.
            await self.login()
        try:
            return await self._call(path, request, self.timeout_s, is_read=is_read)
        except StoreError as error:
            if not await self.renew(error):
                raise
        return await self._call(path, request, self.timeout_s, is_read=is_read)

    async def ready(self) -> None:
        """Logged in, if there is somebody to log in: what a stream wants before it opens. Raises LoginFailed."""
        if not self._logged_in:
            await self.login()

    async def login(self) -> None:
        """Get a token for the identity's user, once for all tasks that want one. Raises LoginFailed."""
        before = self._token
        async with self._login_lock:
            if self._token != before:
                return
            request = messages.AuthenticateRequest(name=self.identity.user, password=self.identity.password)
            try:
                answer = await self._call("/etcdserverpb.Auth/Authenticate", request, self.login_timeout_s, is_read=True)
                self._token = answer.token
            except AuthNotEnabled:
                self._token = ""  # Nobody asks for one then; when that changes, the first refusal leads back here.
            except CallFailed as error:
                raise LoginFailed(error.code, str(error)) from error
            except StoreError as error:
                raise LoginFailed(CODES[type(error)], str(error)) from error
            self._logged_in = True

    async def renew(self, error: StoreError) -> bool:
        """Log in again if `error` says that the token is no good any more; True if the call may be tried once more."""
        if not wants_new_token(error) or not self.identity.logs_in:
            return False
        await self.login()
        return True

    async def _call(self, path: str, request: Any, timeout_s: float, *, is_read: bool) -> Any:
        if self.request_bytes_max and (size := request.ByteSize()) > self.request_bytes_max:
            text = f"trying to send message larger than max ({size} vs. {self.request_bytes_max})"
            raise CallFailed(Code.RESOURCE_EXHAUSTED, text)
        deadline = asyncio.get_running_loop().time() + timeout_s
        attempt = 0
        while True:
            left_s = deadline - asyncio.get_running_loop().time()
            asked = self.channels.current
            try:
                return await self.callable(path)(request, timeout=max(left_s, 0.001))
            except grpc.aio.AioRpcError as rpc_error:
                error = translate(rpc_error)
            self.channels.move_on(asked)
            attempt += 1
            pause_s = backoff_s(attempt, len(self.channels))
            if not may_repeat(error, is_read=is_read) or asyncio.get_running_loop().time() + pause_s >= deadline:
                raise error
            await asyncio.sleep(pause_s)

    # --- KV -----------------------------------------------------------------------------------------------------------------

    async def get(self, key: bytes, range_end: bytes = b"", **options: Any) -> Any:
        """A RangeResponse; `options` are RangeRequest's fields (limit, revision, serializable, keys_only, ...)."""
        request = messages.RangeRequest(key=key, range_end=range_end, **options)
        return await self.call("/etcdserverpb.KV/Range", request, is_read=True)

    async def get_prefix(self, prefix: bytes, **options: Any) -> Any:
        """Everything that begins with `prefix`."""
        return await self.get(prefix or b"\x00", prefix_end(prefix), **options)

    async def put(self, key: bytes, value: bytes, **options: Any) -> Any:
        """A PutResponse; `options` are PutRequest's fields (lease, prev_kv, ...)."""
        return await self.call("/etcdserverpb.KV/Put", messages.PutRequest(key=key, value=value, **options), is_read=False)

    async def delete(self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False) -> Any:
        request = messages.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv)
        return await self.call("/etcdserverpb.KV/DeleteRange", request, is_read=False)

    async def txn(self, request: Any) -> Any:
        """`request` is a TxnRequest; one that only reads is repeated like a read."""
        is_read = all(operation.WhichOneof("request") == "request_range" for operation in [*request.success, *request.failure])
        return await self.call("/etcdserverpb.KV/Txn", request, is_read=is_read)

    async def compact(self, revision: int, *, physical: bool = False) -> Any:
        return await self.call("/etcdserverpb.KV/Compact", messages.CompactionRequest(revision=revision, physical=physical), is_read=False)

    def watch(self, key: bytes, range_end: bytes = b"", **options: Any) -> Watcher:
        """Responses with events, resumed without gap or repeat when a connection breaks; see `client.watch`."""
        return Watcher(self, key, range_end, **options)

    # --- leases -------------------------------------------------------------------------------------------------------------

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Any:
        return await self.call("/etcdserverpb.Lease/LeaseGrant", messages.LeaseGrantRequest(TTL=ttl_s, ID=lease_id), is_read=False)

    async def lease_revoke(self, lease_id: int) -> Any:
        return await self.call("/etcdserverpb.Lease/LeaseRevoke", messages.LeaseRevokeRequest(ID=lease_id), is_read=False)

    async def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> Any:
        request = messages.LeaseTimeToLiveRequest(ID=lease_id, keys=keys)
        return await self.call("/etcdserverpb.Lease/LeaseTimeToLive", request, is_read=True)

    async def leases(self) -> Any:
        return await self.call("/etcdserverpb.Lease/LeaseLeases", messages.LeaseLeasesRequest(), is_read=True)

    def keep_alive(self, lease_id: int) -> AsyncGenerator[Any, None]:
        """Renew until the lease is gone (then raises LeaseNotFound), giving every answer; see `client.lease`."""
        return keep_alive(self, lease_id)

    async def keep_alive_once(self, lease_id: int) -> Any:
        """One renewal; an answer with TTL 0 says that there is no such lease."""
        await self.ready()
        stream = self.callable("/etcdserverpb.Lease/LeaseKeepAlive")(timeout=self.timeout_s)
        try:
            await stream.write(messages.LeaseKeepAliveRequest(ID=lease_id))
            return await stream.read()
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None
        finally:
            stream.cancel()

    # --- users and roles ----------------------------------------------------------------------------------------------------

    async def auth(self, method: str, *, is_read: bool = False, **fields: Any) -> Any:
        """A call of the Auth service by its name (UserAdd, RoleGet, AuthStatus, ...), whose request has `fields`."""
        path = f"/etcdserverpb.Auth/{method}"
        return await self.call(path, METHODS[path].request(**fields), is_read=is_read)

    # --- cluster and maintenance --------------------------------------------------------------------------------------------

    async def members(self, *, linearizable: bool = True) -> Any:
        return await self.call("/etcdserverpb.Cluster/MemberList", messages.MemberListRequest(linearizable=linearizable), is_read=True)

    async def member_add(self, peer_urls: Sequence[str], *, learner: bool = False) -> Any:
        """The answer has the new member, with its id, and all members. It is "unstarted" until its process joins."""
        request = messages.MemberAddRequest(peerURLs=peer_urls, isLearner=learner)
        return await self.call("/etcdserverpb.Cluster/MemberAdd", request, is_read=False)

    async def member_remove(self, member_id: int) -> Any:
        """Its process ends by itself, and its id never comes back."""
        return await self.call("/etcdserverpb.Cluster/MemberRemove", messages.MemberRemoveRequest(ID=member_id), is_read=False)

    async def member_update(self, member_id: int, peer_urls: Sequence[str]) -> Any:
        request = messages.MemberUpdateRequest(ID=member_id, peerURLs=peer_urls)
        return await self.call("/etcdserverpb.Cluster/MemberUpdate", request, is_read=False)

    async def member_promote(self, member_id: int) -> Any:
        """Raises LearnerNotReady as long as the learner has not caught up."""
        return await self.call("/etcdserverpb.Cluster/MemberPromote", messages.MemberPromoteRequest(ID=member_id), is_read=False)

    async def status(self) -> Any:
        return await self.call("/etcdserverpb.Maintenance/Status", messages.StatusRequest(), is_read=True)

    async def alarms(self, action: int = 0, member_id: int = 0, alarm: int = 0) -> Any:
        request = messages.AlarmRequest(action=action, memberID=member_id, alarm=alarm)
        return await self.call("/etcdserverpb.Maintenance/Alarm", request, is_read=action == 0)

    async def defragment(self) -> Any:
        return await self.call("/etcdserverpb.Maintenance/Defragment", messages.DefragmentRequest(), is_read=False)

    async def hash_kv(self, revision: int = 0) -> Any:
        return await self.call("/etcdserverpb.Maintenance/HashKV", messages.HashKVRequest(revision=revision), is_read=True)

    async def downgrade(self, action: int, version: str = "") -> Any:
        """`action`: 0 validates, 1 enables, 2 cancels."""
        request = messages.DowngradeRequest(action=action, version=version)
        return await self.call("/etcdserverpb.Maintenance/Downgrade", request, is_read=False)

    async def move_leader(self, target: int) -> Any:
        return await self.call("/etcdserverpb.Maintenance/MoveLeader", messages.MoveLeaderRequest(targetID=target), is_read=False)

    async def snapshot(self) -> AsyncGenerator[Any, None]:
        """SnapshotResponses; the last one is the checksum, checked here. Raises SnapshotDamaged."""
        await self.ready()
        stream = self.callable("/etcdserverpb.Maintenance/Snapshot")(messages.SnapshotRequest())
        digest = sha256()
        last = b""
        try:
            async for response in stream:
                digest.update(last)
                last = response.blob
                yield response
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None
        finally:
            stream.cancel()
        if last != digest.digest():
            raise SnapshotDamaged


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`: the prefix with its last byte raised; one zero byte for "no end"."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b"\x00"


__all__ = ["Client", "StoreError", "TlsFiles", "prefix_end"]
