"""One frozen type per message between members; field names follow the paper.

Every message names its sender, its receiver and the sender's term, and travels as a msgpack array whose first element is the tag: a new
field goes last and has a default, a tag is never reused. Inputs that never cross a network (proposals, ticks, disk done) are method
calls on the core and have no type here.
"""

import enum

from msgspec import Struct

from kvstore.ids import NO_INDEX, NO_TERM, Index, MemberId, Term


class EntryKind(enum.IntEnum):
    COMMAND = 0
    """`data` belongs to the state machine; empty data is the entry a new leader commits first."""
    MEMBERSHIP = 1
    """`data` is an encoded `membership.Change`, see `membership.py`."""


class Entry(Struct, frozen=True, gc=False, array_like=True):
    """One slot of the log."""

    term: Term
    index: Index
    data: bytes
    kind: int = EntryKind.COMMAND


class HardState(Struct, frozen=True, gc=False, array_like=True):
    """What must survive a crash beside the log (paper, figure 2). `commit` is a hint: losing it costs only time."""

    term: Term = NO_TERM
    vote: MemberId = MemberId(0)
    commit: Index = NO_INDEX


class ConfState(Struct, frozen=True, gc=False, array_like=True):
    """Who votes and who only listens, as of some index of the log."""

    voters: tuple[MemberId, ...] = ()
    learners: tuple[MemberId, ...] = ()


class SnapshotMeta(Struct, frozen=True, gc=False, array_like=True):
    """The state machine's state after applying `index`, and what the log needs to go on from there."""

    index: Index
    term: Term
    conf: ConfState


class Message(Struct, frozen=True, gc=False, array_like=True):
    """Base. `term` is the sender's current term, for pre-votes the term it would campaign in."""

    sender: MemberId
    receiver: MemberId
    term: Term


class PreVoteRequest(Message, frozen=True, gc=False, array_like=True, tag=1):
    """Would you vote for me in `term`? Changes nothing at the receiver (dissertation, 9.6)."""

    last_log_index: Index
    last_log_term: Term


class PreVoteReply(Message, frozen=True, gc=False, array_like=True, tag=2):
    """`term` is the term asked about if granted, the receiver's own if not."""

    granted: bool


class VoteRequest(Message, frozen=True, gc=False, array_like=True, tag=3):
    """`forced`: the leader itself asked for this election (leadership transfer), so leader stickiness does not apply."""

    last_log_index: Index
    last_log_term: Term
    forced: bool = False


class VoteReply(Message, frozen=True, gc=False, array_like=True, tag=4):
    granted: bool


class AppendRequest(Message, frozen=True, gc=False, array_like=True, tag=5):
    prev_log_index: Index
    prev_log_term: Term
    leader_commit: Index
    entries: tuple[Entry, ...] = ()
    answer_wanted: bool = True
    """False: only tells the commit index to a follower that is known to hold what it is about. Acceptance goes unsaid, a refusal never."""


class AppendReply(Message, frozen=True, gc=False, array_like=True, tag=6):
    """Success: the receiver's log equals the leader's up to `match_index`, on disk.

    Refusal (`success` False): `match_index` repeats the refused prev_log_index; the hint is the highest index at which the logs may still
    agree, with the receiver's term there, so that one round trip skips a whole term.
    """

    success: bool
    match_index: Index
    hint_index: Index = NO_INDEX
    hint_term: Term = NO_TERM


class Heartbeat(Message, frozen=True, gc=False, array_like=True, tag=7):
    """`leader_commit` never exceeds what the receiver is known to hold. `read_round` numbers the ReadIndex round to confirm."""

    leader_commit: Index
    read_round: int = 0


class HeartbeatReply(Message, frozen=True, gc=False, array_like=True, tag=8):
    """`persisted_index`: how far the receiver's disk is, so that a leader notices a follower whose last acknowledgement was lost."""

    read_round: int = 0
    persisted_index: Index = NO_INDEX


class InstallSnapshot(Message, frozen=True, gc=False, array_like=True, tag=9):
    """One chunk of a snapshot (paper, figure 13). `total_bytes` is the size of the whole."""

    meta: SnapshotMeta
    offset: int
    total_bytes: int
    data: bytes
    done: bool


class InstallSnapshotReply(Message, frozen=True, gc=False, array_like=True, tag=10):
    """The next offset wanted; the final answer to a snapshot is an AppendReply with match_index = meta.index."""

    index: Index
    next_offset: int
    refused: bool = False


class ForwardProposals(Message, frozen=True, gc=False, array_like=True, tag=11):
    """A follower's clients' proposals for the leader; dropped silently if the receiver is not leader and knows of none in a later term."""

    datas: tuple[bytes, ...]


class ForwardReadIndex(Message, frozen=True, gc=False, array_like=True, tag=12):
    """A follower asks for a read index; `context` is its own number for the batch."""

    context: int


class ReadIndexReply(Message, frozen=True, gc=False, array_like=True, tag=13):
    """Reads of batch `context` may be answered once `index` is applied. index 0: refused, ask again later."""

    context: int
    index: Index


class TimeoutNow(Message, frozen=True, gc=False, array_like=True, tag=14):
    """Campaign at once, you are to be leader (dissertation, 3.10)."""


AnyMessage = (
    PreVoteRequest
    | PreVoteReply
    | VoteRequest
    | VoteReply
    | AppendRequest
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | InstallSnapshot
    | InstallSnapshotReply
    | ForwardProposals
    | ForwardReadIndex
    | ReadIndexReply
    | TimeoutNow
)
