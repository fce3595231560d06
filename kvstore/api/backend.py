"""Everything that a service may ask of a member, in model types. The server's member implements it; tests use the model of etcd.

Awaitables, not coroutines: an implementation hands back a future that it completes itself, so that a request costs no extra task.
Every method may raise (or complete with) a `kvstore.errors.StoreError`. Requests arrive checked by `api` (empty keys, enum ranges, number of
operations, duplicate keys): a backend checks only what needs state.

`who` is what is known of the caller: `accounts.Credentials` from his call, `accounts.CLUSTER` for what the server wants itself, None for nobody. The
backend finds out whether he may, of every method that takes it; the others are guarded by `api.admission` alone.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol

from kvstore.accounts import AccountChange, AccountQuestion, Who
from kvstore.ids import ClusterId, LeaseId, MemberId, Revision
from kvstore.model import (
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


class WatchStream(Protocol):
    """The watchers of one client stream. Calls never block; updates come through the `deliver` that the stream was opened with.

    Back-pressure: `deliver` returns False when the client's buffer is full and this update was therefore not taken; the member then lets
    that watcher catch up from history after `resume()` is called, so a slow client holds no memory here and delays nobody.
    `deliver` only buffers: it must not call the stream.
    """

    def check(self, spec: WatchSpec) -> None:
        """Raises unless whoever opened the stream may read what this watcher would tell of, as things are now (W-7, W-27)."""
        ...

    def create(self, spec: WatchSpec) -> Revision:
        """Start a watcher (ids are the caller's, unique in the stream) and return the current revision for the `created` answer.

        Raises as `check` does. No update of it is delivered before this returns. A start below the compacted revision is told by an update
        with compact_revision.
        """
        ...

    def cancel(self, watch_id: int) -> None:
        """End a watcher; no update of it is delivered after this returns. Unknown ids are ignored."""
        ...

    def request_progress(self) -> None:
        """Deliver one progress update with watch_id -1, if there are watchers and every one is synced; else do nothing (etcd W-20)."""
        ...

    def progress(self, watch_id: int) -> None:
        """Deliver a progress update for this watcher if it is synced and its start is reached; else do nothing (etcd W-19)."""
        ...

    def resume(self) -> None:
        """The client has taken what was buffered."""
        ...

    def close(self) -> None:
        """End all watchers."""
        ...


Deliver = Callable[[WatchUpdate], bool]


class Answer(Protocol):
    """Where an outcome goes; an asyncio.Future is one."""

    def done(self) -> bool:
        """Nobody waits any more."""
        ...

    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Backend(Protocol):
    cluster_id: ClusterId
    member_id: MemberId

    def header(self) -> Header:
        """Current revision and term; cheap, used for every answer."""
        ...

    # --- KV
    def range(self, request: Range, who: Who = None) -> Awaitable[RangeResult]: ...
    def put(self, request: Put, who: Who = None) -> Awaitable[PutResult]: ...
    def delete_range(self, request: DeleteRange, who: Who = None) -> Awaitable[DeleteRangeResult]: ...
    def txn(self, request: Txn, who: Who = None) -> Awaitable[TxnResult]: ...
    def compact(self, request: Compact, who: Who = None) -> Awaitable[CompactResult]: ...
    def start(self, request: Range | Put | DeleteRange | Txn, answer: Answer) -> None:
        """The same for a caller who is nobody, while authentication is off: the outcome goes to `answer`, once, at once or later."""
        ...

    # --- watch
    def open_watch_stream(self, deliver: Deliver, who: Who = None) -> WatchStream: ...

    # --- lease
    def lease_grant(self, lease_id: LeaseId, ttl_s: int, who: Who = None) -> Awaitable[LeaseGrantResult]:
        """Lease id 0: the member picks one."""
        ...

    def lease_revoke(self, lease_id: LeaseId, who: Who = None) -> Awaitable[LeaseRevokeResult]: ...
    def lease_keep_alive(self, lease_id: LeaseId, who: Who = None) -> Awaitable[int]:
        """The full TTL in seconds after renewal, 0 if there is no such lease. Forwarded to the leader."""
        ...

    def lease_time_to_live(self, lease_id: LeaseId, with_keys: bool, who: Who = None) -> Awaitable[LeaseTimeToLive]: ...
    def lease_leases(self, who: Who = None) -> Awaitable[list[LeaseId]]: ...

    # --- accounts
    def name_of(self, who: Who) -> str:
        """For the access log: whom these credentials name, "" for nobody or if they are not valid."""
        ...

    def auth_enabled(self) -> bool:
        """As this member knows it; cheap, asked for every request."""
        ...

    async def require_root(self, who: Who) -> None:
        """Raises what the caller is to be told unless he may do everything. So does `require_user` unless he is a user."""
        ...

    async def require_user(self, who: Who) -> None: ...
    def catch_up(self, who: Who) -> Awaitable[None]:
        """Wait until this member knows the caller's token, if it is young and the member late."""
        ...

    def authenticate(self, name: str, password: str) -> Awaitable[str]:
        """A token."""
        ...

    async def add_user(self, name: str, password: str, no_password: bool, who: Who = None) -> None: ...
    async def change_password(self, name: str, password: str, who: Who = None) -> None: ...
    def change_accounts(self, change: AccountChange, who: Who = None) -> Awaitable[None]: ...
    def ask_accounts(self, question: AccountQuestion, who: Who = None) -> Awaitable[Any]:
        """Roles of a user, permissions of a role, names of all, AuthState: see the questions."""
        ...

    # --- cluster
    def member_list(self, linearizable: bool, who: Who = None) -> Awaitable[list[Member]]:
        """By rising id."""
        ...

    def member_add(self, peer_urls: tuple[str, ...], is_learner: bool) -> Awaitable[tuple[MemberId, list[Member]]]:
        """The new member's id, and all members. Peer URLs come checked and sorted."""
        ...

    def member_remove(self, member_id: MemberId) -> Awaitable[list[Member]]:
        """All members that are left."""
        ...

    def member_update(self, member_id: MemberId, peer_urls: tuple[str, ...]) -> Awaitable[list[Member]]: ...
    def member_promote(self, member_id: MemberId) -> Awaitable[list[Member]]: ...

    # --- maintenance
    def status(self) -> Awaitable[Status]: ...
    def alarms(self, member_id: MemberId, alarm: int, *, linearizable: bool) -> Awaitable[list[AlarmMember]]:
        """Active alarms; 0 means any member, any alarm."""
        ...

    def change_alarm(self, action: int, member_id: MemberId, alarm: int, who: Who = None) -> Awaitable[AlarmResult]: ...
    def defragment(self) -> Awaitable[None]: ...
    def hash(self) -> Awaitable[int]:
        """CRC of the whole state file's content; members may differ."""
        ...

    def hash_kv(self, revision: Revision) -> Awaitable[HashKVResult]:
        """Revision 0: current."""
        ...

    def snapshot(self) -> AsyncGenerator[tuple[int, bytes], None]:
        """Pairs (bytes that remain behind this piece, piece) of a consistent copy of the state, without the checksum that the service adds. Close the
        generator, so that what the copy occupies is given back at once."""
        ...

    def move_leader(self, target: MemberId) -> Awaitable[None]: ...

    # --- health
    def leader(self) -> MemberId:
        """0 when this member knows of none."""
        ...

    def is_learner(self) -> bool: ...
    def is_ready(self) -> bool:
        """Has caught up with what it had acknowledged before a restart, and published itself."""
        ...
