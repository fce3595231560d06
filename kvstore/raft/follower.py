"""What a follower (or learner, or member without a role yet) does with each message and tick (paper, 5.2, 5.3, 7)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kvstore.ids import NO_INDEX, NO_TERM, NOBODY, Index, MemberId, Term
from kvstore.raft import candidate
from kvstore.raft.messages import (
    AppendReply,
    AppendRequest,
    ForwardProposals,
    ForwardReadIndex,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    PreVoteRequest,
    ReadIndexReply,
    SnapshotMeta,
    TimeoutNow,
    VoteRequest,
)
from kvstore.raft.ready import ReadReady, SnapshotChunk

if TYPE_CHECKING:
    from kvstore.raft.core import Raft


class Incoming(Struct):
    """A snapshot that is being received. Another leader, term or size is another snapshot, even with the same meta."""

    leader: MemberId
    term: Term
    meta: SnapshotMeta
    total_bytes: int
    next_offset: int


def tick(raft: "Raft") -> None:
    """Campaign when no leader was heard for long enough; give up reads whose question or answer was lost."""
    if raft.forwarded_reads:
        _age_reads(raft)
    if raft.election_elapsed >= raft.election_timeout:
        candidate.campaign(raft)


def _age_reads(raft: "Raft") -> None:
    for context in list(raft.forwarded_reads):
        raft.forwarded_reads[context] += 1
        if raft.forwarded_reads[context] >= raft.config.election_ticks:
            del raft.forwarded_reads[context]
            raft.reads_failed.append(context)


def heard_leader(raft: "Raft", leader: MemberId) -> None:
    assert raft.leader in (NOBODY, leader), f"two leaders in term {raft.term}: {raft.leader} and {leader}"
    raft.leader = leader
    raft.election_elapsed = 0


def on_append(raft: "Raft", request: AppendRequest) -> None:
    """Accept what fits our log, refuse with a hint what does not. Acknowledgements wait for the disk."""
    if not _is_one_piece(request):
        return
    heard_leader(raft, request.sender)
    if raft.installing is not None:
        return  # the log is about to be replaced; the leader hears of us when it is
    log = raft.log
    if not raft.conf.voters:
        # We joined and know no configuration yet: entries from the beginning on would have us make one up out of changes, with ourselves as the
        # only voter. Refused from any place, the first included: that says that only a snapshot will do.
        raft.messages_after_persist.append(AppendReply(raft.id, request.sender, raft.term, False, request.prev_log_index))
        return
    if request.prev_log_index < log.commit:
        # Everything up to our commit index agrees with the leader's log by definition.
        if request.answer_wanted:
            _acknowledge(raft, request.sender, log.commit)
        return
    agreed = log.accept(request.prev_log_index, request.prev_log_term, request.entries)
    if agreed is None:
        hint, hint_term = log.conflict_hint(min(request.prev_log_index, log.last_index), request.prev_log_term)
        refusal = AppendReply(raft.id, request.sender, raft.term, False, request.prev_log_index, hint, hint_term)
        raft.messages_after_persist.append(refusal)
        return
    log.commit_to(min(request.leader_commit, agreed))
    if request.answer_wanted:
        _acknowledge(raft, request.sender, agreed)


def _is_one_piece(request: AppendRequest) -> bool:
    """Indices without a gap, terms that never fall nor pass the leader's. What else comes is damaged or forged: it must reach neither the log nor an
    assertion. (About 50 ns an entry.)"""
    index, term = request.prev_log_index, request.prev_log_term
    if index < 0 or term < 0 or (index == NO_INDEX and term != NO_TERM):
        return False
    for entry in request.entries:
        index = Index(index + 1)
        if entry.index != index or entry.term < term:
            return False
        term = entry.term
    return term <= request.term


def _acknowledge(raft: "Raft", leader: MemberId, match: Index) -> None:
    raft.messages_after_persist.append(AppendReply(raft.id, leader, raft.term, True, match))


def on_heartbeat(raft: "Raft", beat: Heartbeat) -> None:
    heard_leader(raft, beat.sender)
    if raft.installing is None:
        raft.log.commit_to(beat.leader_commit)
    raft.messages.append(HeartbeatReply(raft.id, beat.sender, raft.term, beat.read_round, raft.log.persisted))


def on_install_snapshot(raft: "Raft", request: InstallSnapshot) -> None:
    """One chunk (paper, 7). Chunks are taken in order; whatever else comes is answered with the offset that is wanted."""
    heard_leader(raft, request.sender)
    if raft.installing is not None:
        return
    meta = request.meta
    if meta.index <= raft.log.commit:
        raft.incoming = None
        _acknowledge(raft, request.sender, raft.log.commit)
        return
    if raft.log.term_at(meta.index) == meta.term:
        # We hold what it stands for, and maybe more that we acknowledged: installing it would drop that (paper, figure 13, step 6).
        raft.incoming = None
        raft.log.commit_to(meta.index)
        _acknowledge(raft, request.sender, meta.index)
        return
    incoming = raft.incoming
    if incoming is None or not _same_snapshot(incoming, request):
        incoming = raft.incoming = Incoming(request.sender, request.term, meta, request.total_bytes, 0)
    if request.offset == incoming.next_offset:
        incoming.next_offset += len(request.data)
        raft.snapshot_chunks.append(SnapshotChunk(meta, request.offset, request.total_bytes, request.data, request.done))
        if request.done:
            raft.installing = meta
            return
    raft.messages.append(InstallSnapshotReply(raft.id, request.sender, raft.term, meta.index, incoming.next_offset))


def _same_snapshot(incoming: Incoming, request: InstallSnapshot) -> bool:
    return (incoming.leader, incoming.term, incoming.meta, incoming.total_bytes) == (
        request.sender,
        request.term,
        request.meta,
        request.total_bytes,
    )


def refuse_snapshot(raft: "Raft", meta: SnapshotMeta) -> None:
    """What we received did not hold together: ask for a new one."""
    raft.incoming = None
    if raft.leader != NOBODY:
        raft.messages.append(InstallSnapshotReply(raft.id, raft.leader, raft.term, meta.index, 0, True))


def on_forwarded_proposals(raft: "Raft", message: ForwardProposals) -> None:
    """The sender takes us for leader, which we are not any more: passed on to whom we follow, as etcd does (a leader that was paused finds many of
    these when it goes on); perhaps back to the sender, who leads by now. Only if we know of a later term than the sender did: so each passing on
    raises the term, and none goes round for ever."""
    if message.term < raft.term and raft.leader != NOBODY:
        raft.messages.append(ForwardProposals(raft.id, raft.leader, raft.term, message.datas))


def on_forwarded_read(raft: "Raft", message: ForwardReadIndex) -> None:
    raft.messages.append(ReadIndexReply(raft.id, message.sender, raft.term, message.context, NO_INDEX))


def on_read_index_reply(raft: "Raft", reply: ReadIndexReply) -> None:
    if raft.forwarded_reads.pop(reply.context, None) is None:
        return
    if reply.index == NO_INDEX:
        raft.reads_failed.append(reply.context)
    else:
        raft.reads_ready.append(ReadReady(reply.context, reply.index))


HANDLERS: dict[type[Message], Callable[["Raft", Any], None]] = {
    AppendRequest: on_append,
    Heartbeat: on_heartbeat,
    InstallSnapshot: on_install_snapshot,
    PreVoteRequest: candidate.on_pre_vote_request,
    VoteRequest: candidate.on_vote_request,
    TimeoutNow: candidate.on_timeout_now,
    ForwardProposals: on_forwarded_proposals,
    ForwardReadIndex: on_forwarded_read,
    ReadIndexReply: on_read_index_reply,
}
