"""The words that state, services and client share: requests, results and facts; frozen records without behaviour.

Field names, defaults and enum numbers are etcd's (etcd v3 API, rpc.proto). Key-values travel as `EncodedKeyValue`:
the protobuf bytes of an `mvccpb.KeyValue`, made once when a version is written, kept in that form on disk, hashed in that
form and copied in that form into answers and watch events, so that a range of 10,000 keys costs 10,000 byte copies
and not 10,000 objects (see `kvstore.encoding`).

Requests are `array_like` and tagged, because they are also what log entries carry (`statemachine.commands`): a new field goes
last and has a default; a tag is never reused.
"""

import enum
from typing import NewType

from msgspec import Struct

from kvstore.ids import ClusterId, Index, LeaseId, MemberId, Revision, Term

EncodedKeyValue = NewType("EncodedKeyValue", bytes)
"""The protobuf encoding of one `mvccpb.KeyValue`."""

EncodedEvent = NewType("EncodedEvent", bytes)
"""The protobuf encoding of one `mvccpb.Event`."""


class SortOrder(enum.IntEnum):
    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(enum.IntEnum):
    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class CompareResult(enum.IntEnum):
    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(enum.IntEnum):
    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class AlarmType(enum.IntEnum):
    NONE = 0
    NOSPACE = 1
    CORRUPT = 2


class AlarmAction(enum.IntEnum):
    GET = 0
    ACTIVATE = 1
    DEACTIVATE = 2


class Record(Struct, frozen=True, gc=False):
    """Base of all records here: immutable, untracked by the garbage collector (records hold no cycles)."""


class Request(Record, frozen=True, gc=False, array_like=True):
    """Base of what a client can ask of the replicated state."""


# --- requests ---------------------------------------------------------------------------------------------------------


class Range(Request, frozen=True, gc=False, array_like=True, tag=1):
    """Read keys in [key, range_end). `range_end` b"" is the one key, b"\\0" is "from key on".

    Enum fields are plain integers here: a number outside the enum comes this far and is refused with etcd's error.
    """

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: int = 0
    sort_target: int = 0
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class Put(Request, frozen=True, gc=False, array_like=True, tag=2):
    key: bytes
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class DeleteRange(Request, frozen=True, gc=False, array_like=True, tag=3):
    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


class Compare(Request, frozen=True, gc=False, array_like=True):
    """`operand` is bytes for target VALUE and an integer for the others (0 or b"" when the client set none)."""

    result: int
    target: int
    key: bytes
    operand: int | bytes = 0
    range_end: bytes = b""


class Txn(Request, frozen=True, gc=False, array_like=True, tag=4):
    """If all of `compare` hold, do `success`, else `failure`. An operation None is one the client left empty."""

    compare: tuple[Compare, ...] = ()
    success: tuple["Range | Put | DeleteRange | Txn | None", ...] = ()
    failure: tuple["Range | Put | DeleteRange | Txn | None", ...] = ()


Operation = Range | Put | DeleteRange | Txn


class Compact(Request, frozen=True, gc=False, array_like=True, tag=5):
    """Forget versions superseded at `revision`. `physical`: answer only when they are gone from disk."""

    revision: int
    physical: bool = False


class LeaseGrant(Request, frozen=True, gc=False, array_like=True, tag=6):
    """Grant lease `id` (never 0 here: the member chose one if the client did not) for `ttl_s` seconds."""

    id: int
    ttl_s: int


class LeaseRevoke(Request, frozen=True, gc=False, array_like=True, tag=7):
    id: int


class AlarmChange(Request, frozen=True, gc=False, array_like=True, tag=8):
    """Raise or lift an alarm of one member (action ACTIVATE or DEACTIVATE)."""

    action: int
    member_id: int
    alarm: int


class PublishMember(Request, frozen=True, gc=False, array_like=True, tag=9):
    """A started member tells the cluster its name and client URLs (etcd's ClusterMemberAttrSet)."""

    member_id: int
    name: str
    client_urls: tuple[str, ...]


# --- results ----------------------------------------------------------------------------------------------------------


class RangeResult(Record, frozen=True, gc=False):
    """`revision` is the store's current revision (not the one asked for); `count` ignores limit and filters."""

    revision: Revision
    kvs: list[EncodedKeyValue]
    more: bool
    count: int


class PutResult(Record, frozen=True, gc=False):
    revision: Revision
    prev_kv: EncodedKeyValue | None = None


class DeleteRangeResult(Record, frozen=True, gc=False):
    revision: Revision
    deleted: int
    prev_kvs: list[EncodedKeyValue]


class TxnResult(Record, frozen=True, gc=False):
    """`responses` has one result an executed operation, in their order."""

    revision: Revision
    succeeded: bool
    responses: list["RangeResult | PutResult | DeleteRangeResult | TxnResult"]


class CompactResult(Record, frozen=True, gc=False):
    revision: Revision


class LeaseGrantResult(Record, frozen=True, gc=False):
    revision: Revision
    id: LeaseId
    ttl_s: int


class LeaseRevokeResult(Record, frozen=True, gc=False):
    revision: Revision


class LeaseTimeToLive(Record, frozen=True, gc=False):
    """`ttl_s` seconds remain of `granted_ttl_s`; an unknown lease has ttl_s -1 and granted_ttl_s 0."""

    id: LeaseId
    ttl_s: int
    granted_ttl_s: int
    keys: list[bytes]


class AlarmMember(Record, frozen=True, gc=False):
    member_id: MemberId
    alarm: AlarmType


class AlarmResult(Record, frozen=True, gc=False):
    revision: Revision
    alarms: list[AlarmMember]


class HashKVResult(Record, frozen=True, gc=False):
    """CRC-32C over the stored versions up to `hash_revision`. `compact_revision` is -1 if never compacted."""

    revision: Revision
    hash: int
    compact_revision: int
    hash_revision: Revision


# --- facts about cluster and member -----------------------------------------------------------------------------------


class Member(Record, frozen=True, gc=False):
    """A member as the replicated state knows it. A member that never started has no name and no client URLs."""

    id: MemberId
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool = False


class Header(Record, frozen=True, gc=False):
    """The part of an answer that says who answered, in which term, at which store revision."""

    cluster_id: ClusterId
    member_id: MemberId
    revision: Revision
    raft_term: Term


class Status(Record, frozen=True, gc=False):
    """One member's view of itself; no quorum is asked. `leader` is 0 when there is none."""

    version: str
    storage_version: str
    db_size_bytes: int
    db_size_in_use_bytes: int
    db_size_quota_bytes: int
    leader: MemberId
    raft_term: Term
    raft_index: Index
    raft_applied_index: Index
    is_learner: bool
    errors: list[str]


class WatchSpec(Record, frozen=True, gc=False):
    """One watcher. `range_end` as in Range; `start_revision` 0 is "from now on"; `watch_id` is unique in its stream."""

    watch_id: int
    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    progress_notify: bool = False
    no_put: bool = False
    no_delete: bool = False
    prev_kv: bool = False
    fragment: bool = False


class WatchUpdate(Record, frozen=True, gc=False):
    """Something a watcher must be told. Exactly one of these cases:

    * `events` not empty: they happened, all of each revision told of, in order; `revision` goes into the header;
    * `compact_revision` > 0: the watcher asked for history that is gone, and has ended (etcd: header.revision 0);
    * neither: progress; everything up to `revision` has been told. watch_id -1: for every watcher of the stream.
    """

    watch_id: int
    revision: Revision
    events: tuple[EncodedEvent, ...] = ()
    compact_revision: int = 0
