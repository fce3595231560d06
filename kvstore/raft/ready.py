"""The core's output: everything the world has to do since the last Ready. The order owed is in `raft/__init__.py`."""

import enum

from msgspec import Struct

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.messages import AnyMessage, Entry, HardState, SnapshotMeta


class Role(enum.Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"


class PersistMark(Struct, frozen=True, gc=False):
    """What the disk holds once a Ready is synced. The term guards against the log having changed below the index meanwhile."""

    index: Index
    term: Term
    hard_state: HardState


class ReadReady(Struct, frozen=True, gc=False):
    """The reads under `context` see every write acknowledged before they were asked, once `index` is applied."""

    context: int
    index: Index


class SnapshotWanted(Struct, frozen=True, gc=False):
    """A follower needs what the log no longer has: export the state and call `snapshot_ready`."""

    receiver: MemberId


class SnapshotChunk(Struct, frozen=True, gc=False):
    """A received piece of a snapshot; offset 0 begins a new one and drops any unfinished other."""

    meta: SnapshotMeta
    offset: int
    total_bytes: int
    data: bytes
    done: bool


class Ready(Struct, frozen=True):
    mark: PersistMark | None
    """None when there is nothing to write and nothing that waits for the disk."""
    hard_state: HardState | None
    entries: list[Entry]
    messages: list[AnyMessage]
    messages_after_persist: list[AnyMessage]
    committed: list[Entry]
    reads_ready: list[ReadReady]
    reads_failed: list[int]
    snapshot_wanted: list[SnapshotWanted]
    snapshot_chunks: list[SnapshotChunk]
