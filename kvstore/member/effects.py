"""All that a member can ask of the world. `Member.take_effects()` hands them over in batches; each is performed once.

Three queues, each performed in its order, independent of one another:

* `messages` to peers: may be lost, never needs an answer;
* `log_work`, for the thread that owns the log environment: at most one `Persist` is out at a time;
* `state_work`, for the thread that owns the state environment: at most one is out at a time, and the member does not touch the state
  machine from handing it out until its answer (`state_committed`, ...), except for `ExportState` and `HashState`, which read a committed snapshot.

`replies` complete what clients wait for: (the token that came with the request, a result of `kvstore.model` or a StoreError instance).
"""

from typing import Any

from msgspec import Struct

from kvstore.errors import StoreError
from kvstore.ids import MemberId, Revision
from kvstore.member.messages import AnyPeerMessage
from kvstore.raft.messages import Entry, HardState, SnapshotMeta
from kvstore.raft.ready import SnapshotChunk

REMOVED = "the member has been permanently removed from the cluster"
"""etcd's words for the end of a removed member."""

Token = Any
"""Whatever the caller gave with a request to recognise its answer by; the member never looks inside."""


class Persist(Struct, frozen=True):
    """Write both in one synced transaction of the log, then call `Member.persisted()`. Fault points: before, in and after the write."""

    hard_state: HardState | None
    entries: list[Entry]


class CutLog(Struct, frozen=True):
    """Forget entries up to and including meta.index, then call `Member.log_cut()`. Safe: the state has them on disk."""

    meta: SnapshotMeta


LogWork = Persist | CutLog


class CommitState(Struct, frozen=True):
    """Commit the state's write transaction (synced), begin the next, and call `Member.state_committed(next_transaction)`."""


class ExportState(Struct, frozen=True):
    """Copy the last committed state, then call `Member.state_exported(self, Export | EngineError)`. `meta` describes that state.

    For a follower (`receiver` not 0) or for a client (`token`).
    """

    meta: SnapshotMeta
    receiver: MemberId
    token: Token = None


class HashState(Struct, frozen=True):
    """Compute HashKV over the committed state (or, `revision` -1, a CRC of everything), then `Member.state_hashed(self, int | EngineError)`."""

    revision: Revision
    compacted_revision: Revision
    token: Token


class InspectState(Struct, frozen=True):
    """Inspect the committed state at `revision` (0: its newest) and call `Member.state_inspected(self, Inspection | EngineError)`. Reads the file
    for itself and may take long: other work on the state goes on meanwhile."""

    revision: Revision
    thorough: bool
    token: Token


class StoreChunk(Struct, frozen=True):
    """Keep this piece of an incoming state; offset 0 begins anew. Needs no answer; what goes wrong shows at `InstallState`."""

    chunk: SnapshotChunk


class InstallState(Struct, frozen=True):
    """Check what `StoreChunk` collected, put it in the place of the state, reset the log to `meta`, all synced; then call
    `Member.state_installed(meta, machine)` with the reopened state, or `Member.state_refused(meta)` having changed nothing.

    The order on disk: first the state, then the log. A crash in between leaves a state ahead of the log, which a start repairs by
    resetting the log to what the state says.
    """

    meta: SnapshotMeta


class DefragmentState(Struct, frozen=True):
    """Rewrite the state compactly and reopen it, then call `Member.state_defragmented(self, machine, error or None)`."""

    tokens: list[Token]
    """Of all who asked before it began."""


StateWork = CommitState | ExportState | HashState | InspectState | StoreChunk | InstallState | DefragmentState


class Note(Struct, frozen=True):
    """A line for the log about something that the member did by itself."""

    text: str
    fields: dict[str, Any]
    is_warning: bool = False


class Effects(Struct):
    messages: list[AnyPeerMessage]
    log_work: list[LogWork]
    state_work: list[StateWork]
    replies: list[tuple[Token, Any | StoreError]]
    stop: str | None = None
    """Not None: the member cannot go on (it found something impossible, or was removed); says why."""
    removed: bool = False
    """With `stop`: it was removed from the cluster, which is no failure."""
    notes: list[Note] = []
