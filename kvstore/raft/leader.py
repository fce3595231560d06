"""The leader: replication, commit, heartbeats, check-quorum, reads, snapshots, transfer of leadership (paper, 5.3 to 5.4, 7).

Nothing is sent from the handlers: they change what is known of a follower, and `flush`, called once when a Ready is made, sends each follower
all that it may be sent. So whatever arrives between two Readys becomes one append a follower.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kvstore.ids import NO_INDEX, NOBODY, Index, MemberId
from kvstore.raft import candidate
from kvstore.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    EntryKind,
    ForwardProposals,
    ForwardReadIndex,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    PreVoteRequest,
    TimeoutNow,
    VoteRequest,
)
from kvstore.raft.progress import Inflight, Progress, Sending
from kvstore.raft.quorum import committed_index, majority
from kvstore.raft.reads import ReadRequest
from kvstore.raft.ready import SnapshotWanted
from kvstore.raft.storage import SnapshotSource

if TYPE_CHECKING:
    from kvstore.raft.core import Raft


def start(raft: "Raft") -> None:
    """A new leader's first acts (paper, figure 2): an empty entry of its term, and heartbeats at once."""
    raft.uncommitted_bytes = 0
    raft.reads_before_first_commit = []
    # A change of membership may be among what our predecessor left uncommitted: wait for all of it before another.
    raft.pending_change_index = raft.log.last_index
    raft.change_index = _last_uncommitted_change(raft)
    conf_changed(raft)
    append(raft, [b""])
    _broadcast_heartbeat(raft)


def _last_uncommitted_change(raft: "Raft") -> Index:
    last = NO_INDEX
    first = raft.log.commit + 1
    while entries := raft.log.entries(first, raft.config.append_bytes_max):
        last = max([last, *(entry.index for entry in entries if entry.kind == EntryKind.MEMBERSHIP)])
        first = entries[-1].index + 1
    return last


def commit_to_tell(raft: "Raft") -> Index:
    """What others may be told to be committed. A removed member that hears of its removal goes away for good; so before anybody hears of a committed
    change we must know of it for good, too. Else, of two members, the one that is left could forget in a crash that it is alone now, and wait for
    the vote of the one that is gone."""
    commit, change = raft.log.commit, raft.change_index
    return commit if commit < change or raft.durable_commit >= change else Index(change - 1)


def append(raft: "Raft", datas: Sequence[bytes], kind: EntryKind = EntryKind.COMMAND) -> None:
    term, index = raft.term, raft.log.last_index
    raft.log.append([Entry(term, Index(index + offset), data, kind) for offset, data in enumerate(datas, 1)])


# --- time -------------------------------------------------------------------------------------------------------------


def tick(raft: "Raft") -> None:
    raft.heartbeat_elapsed += 1
    if raft.election_elapsed >= raft.config.election_ticks:
        raft.election_elapsed = 0
        if not _quorum_was_heard(raft):
            raft.become_follower(raft.term, NOBODY)
            return
    if raft.transferee != NOBODY:
        raft.transfer_elapsed += 1
        if raft.transfer_elapsed >= raft.config.election_ticks:
            raft.transferee = NOBODY  # whoever was to take over did not in time: serve again
    if raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        for progress in raft.progress.values():
            progress.may_ask_again = True
        _broadcast_heartbeat(raft)
    for peer, progress in raft.progress.items():
        progress.silent_ticks += 1
        if progress.source is not None:
            progress.ticks_waiting += 1
            if progress.ticks_waiting >= raft.config.snapshot_resend_ticks:
                _send_chunk(raft, peer, progress)


def _quorum_was_heard(raft: "Raft") -> bool:
    """Check-quorum: did a majority answer within the last election timeout? Begins the next period."""
    heard = sum(voter == raft.id or raft.progress[voter].active for voter in raft.conf.voters)
    for progress in raft.progress.values():
        progress.active = False
    return heard >= majority(raft.conf.voters)


def _broadcast_heartbeat(raft: "Raft") -> None:
    commit, number = commit_to_tell(raft), raft.rounds.last_number
    for peer, progress in raft.progress.items():
        if peer != raft.id:
            raft.messages.append(Heartbeat(raft.id, peer, raft.term, min(progress.match, commit), number))


def greet(raft: "Raft", peer: MemberId, progress: Progress) -> None:
    """A heartbeat out of turn, whose answer sets replication going."""
    progress.may_ask_again = True
    raft.messages.append(Heartbeat(raft.id, peer, raft.term, min(progress.match, commit_to_tell(raft)), raft.rounds.last_number))


# --- replication (paper, 5.3) -------------------------------------------------------------------------------------------


def flush(raft: "Raft") -> None:
    """Send every follower what it may be sent now, and begin a round for the reads that wait."""
    if raft.rounds.waiting:
        _begin_read_round(raft)
    for peer, progress in raft.progress.items():
        if peer != raft.id:
            while progress.may_send and _send_append(raft, peer, progress):
                pass


def _send_append(raft: "Raft", peer: MemberId, progress: Progress) -> bool:
    """One append if there is something to tell; whether there may be more to send."""
    log = raft.log
    commit = commit_to_tell(raft)
    has_entries = progress.next <= log.last_index
    replicating = progress.sending is Sending.REPLICATE
    if not has_entries and progress.sent_commit >= commit and replicating and not progress.asking:
        return False
    prev_index = Index(progress.next - 1)
    prev_term = log.term_at(prev_index)
    if prev_term is None or (has_entries and progress.next < log.first_index()):
        _want_snapshot(raft, peer, progress)
        return False
    entries = tuple(log.entries(progress.next, raft.config.append_bytes_max)) if has_entries else ()
    if has_entries and not entries:
        _want_snapshot(raft, peer, progress)  # the log was cut while we looked
        return False
    # That only the commit index is new needs no answer: a turn of both event loops a put, when one client puts at a time.
    answer_wanted = has_entries or not replicating or progress.asking
    raft.messages.append(AppendRequest(raft.id, peer, raft.term, prev_index, prev_term, commit, entries, answer_wanted))
    progress.sent_commit = commit
    progress.asking = False
    if not replicating:
        progress.paused = True
        return False
    if entries:
        progress.next = Index(entries[-1].index + 1)
        progress.inflight.add(entries[-1].index, sum([len(entry.data) for entry in entries]))
    return progress.next <= log.last_index


def on_append_reply(raft: "Raft", reply: AppendReply) -> None:
    progress = raft.progress.get(reply.sender)
    if progress is None:
        return
    progress.active = True
    progress.silent_ticks = 0
    if not reply.success:
        _on_refusal(raft, reply, progress)
        return
    if reply.match_index > raft.log.last_index:
        return  # cannot be an answer to us
    advanced = progress.acknowledged(reply.match_index)
    if progress.sending is Sending.PROBE or (progress.sending is Sending.SNAPSHOT and _snapshot_is_done(raft, progress)):
        progress.become_replicate()
    if advanced:
        maybe_commit(raft)
        if reply.sender == raft.transferee and progress.match == raft.log.last_index:
            raft.messages.append(TimeoutNow(raft.id, reply.sender, raft.term))


def _snapshot_is_done(raft: "Raft", progress: Progress) -> bool:
    """Can a follower that was being sent a snapshot go on from the log, or has it at least all that this one can give? (If the log was cut
    further meanwhile, the next append finds out and asks for a new one.)"""
    has_it = progress.pending_snapshot != NO_INDEX and progress.match >= progress.pending_snapshot
    return has_it or progress.match + 1 >= raft.log.first_index()


def _on_refusal(raft: "Raft", reply: AppendReply, progress: Progress) -> None:
    """Their log does not have our entry before what we sent. Go back to where the logs may agree; old refusals change nothing."""
    if progress.sending is Sending.SNAPSHOT:
        return
    if progress.sending is Sending.REPLICATE:
        if reply.match_index <= progress.match:
            return
        progress.become_probe()
        return
    if reply.match_index != progress.next - 1:
        return
    if reply.match_index == NO_INDEX:
        _want_snapshot(raft, reply.sender, progress)  # every log agrees before its first entry: this one is of somebody who just joined
        return
    agreed, _ = raft.log.conflict_hint(min(reply.hint_index, raft.log.last_index), reply.hint_term)
    progress.next = Index(max(min(reply.match_index, agreed + 1), progress.match + 1))
    progress.paused = False


def on_heartbeat_reply(raft: "Raft", reply: HeartbeatReply) -> None:
    progress = raft.progress.get(reply.sender)
    if progress is None:
        return
    progress.active = True
    progress.silent_ticks = 0
    if progress.may_ask_again:
        # If the last append or its answer was lost, nothing else would tell: ask again from where the follower is. Once a heartbeat interval: the
        # heartbeats of reads come as often as reads do, and a follower with a slow disk must not be sent the same entries with each.
        progress.may_ask_again = False
        progress.paused = False
        if progress.sending is Sending.REPLICATE and progress.match < raft.log.last_index:
            progress.asking = True
            progress.inflight.free_first_if_full()
    if reply.read_round > progress.read_round:
        progress.read_round = reply.read_round
        _confirm_reads(raft)


# --- commit (paper, 5.3 and 5.4.2) --------------------------------------------------------------------------------------


def own_disk_advanced(raft: "Raft") -> None:
    """The leader counts itself like anybody: by what is on its disk."""
    own = raft.progress.get(raft.id)
    if own is not None and own.acknowledged(raft.log.persisted):
        maybe_commit(raft)


def may_commit(raft: "Raft", index: Index) -> bool:
    """Only entries of the current term are committed by counting; earlier ones are committed with them (paper, 5.4.2, figure 8)."""
    return index > raft.log.commit and raft.log.term_at(index) == raft.term


def maybe_commit(raft: "Raft") -> bool:
    index = committed_index(raft.conf.voters, {peer: progress.match for peer, progress in raft.progress.items()})
    if not may_commit(raft, index):
        return False
    raft.log.commit_to(index)
    if raft.reads_before_first_commit:
        waiting, raft.reads_before_first_commit = raft.reads_before_first_commit, []
        for requester, context in waiting:
            request_read(raft, requester, context)
    return True


def has_committed_in_term(raft: "Raft") -> bool:
    return raft.log.term_at(raft.log.commit) == raft.term


# --- reads (dissertation, 6.4) ------------------------------------------------------------------------------------------


def request_read(raft: "Raft", requester: MemberId, context: int) -> None:
    """A batch of reads of ours or of a follower. Before its first commit a new leader does not know how far the cluster had committed."""
    if not has_committed_in_term(raft):
        raft.reads_before_first_commit.append((requester, context))
    elif tuple(raft.conf.voters) == (raft.id,):
        raft.answer_read(requester, context, raft.log.commit)
    else:
        raft.rounds.waiting.append(ReadRequest(requester, context))


def _begin_read_round(raft: "Raft") -> None:
    if raft.rounds.begin(raft.log.commit) is not None:
        _broadcast_heartbeat(raft)
        if tuple(raft.conf.voters) == (raft.id,):
            _confirm_reads(raft)  # the others left while these reads waited for their round: nobody else would answer


def confirmed_round(raft: "Raft") -> int:
    """The newest round that a majority of the voters answered; we answer ourselves."""
    rounds = [raft.rounds.last_number if voter == raft.id else raft.progress[voter].read_round for voter in raft.conf.voters]
    rounds.sort(reverse=True)
    return rounds[len(rounds) // 2]


def _confirm_reads(raft: "Raft") -> None:
    for done in raft.rounds.confirmed_through(confirmed_round(raft)):
        for request in done.requests:
            raft.answer_read(request.requester, request.context, done.index)


def fail_reads(raft: "Raft") -> None:
    """We lead no more: nobody's waiting reads can be confirmed here."""
    unanswered = [(request.requester, request.context) for request in raft.rounds.drain()]
    for requester, context in unanswered + raft.reads_before_first_commit:
        raft.answer_read(requester, context, NO_INDEX)
    raft.reads_before_first_commit = []


def on_forwarded_read(raft: "Raft", message: ForwardReadIndex) -> None:
    request_read(raft, message.sender, message.context)


def on_forwarded_proposals(raft: "Raft", message: ForwardProposals) -> None:
    """If they cannot be taken they are dropped; whoever waits for them is told by a time-out."""
    raft.propose_as_leader(message.datas)


# --- snapshots (paper, 7) -----------------------------------------------------------------------------------------------


def _want_snapshot(raft: "Raft", peer: MemberId, progress: Progress) -> None:
    if not progress.active:
        return  # nobody there to take it; found out again when it answers
    progress.become_snapshot()
    raft.snapshot_wanted.append(SnapshotWanted(peer))


def send_snapshot(raft: "Raft", peer: MemberId, source: SnapshotSource) -> None:
    """An exported state is there: send its first chunk."""
    progress = raft.progress.get(peer)
    if progress is None or progress.sending is not Sending.SNAPSHOT:
        return
    progress.source = source
    progress.pending_snapshot = source.meta.index
    progress.offset = 0
    _send_chunk(raft, peer, progress)


def _send_chunk(raft: "Raft", peer: MemberId, progress: Progress) -> None:
    source = progress.source
    assert source is not None, "chunks are sent of what was exported"
    progress.ticks_waiting = 0
    data = source.read(progress.offset, raft.config.snapshot_chunk_bytes)
    done = progress.offset + len(data) >= source.total_bytes
    raft.messages.append(InstallSnapshot(raft.id, peer, raft.term, source.meta, progress.offset, source.total_bytes, data, done))


def on_install_snapshot_reply(raft: "Raft", reply: InstallSnapshotReply) -> None:
    progress = raft.progress.get(reply.sender)
    if progress is None:
        return
    progress.active = True
    progress.silent_ticks = 0
    if progress.source is None or reply.index != progress.source.meta.index:
        return
    if reply.refused:
        progress.become_probe()
        progress.next = Index(progress.match + 1)
    elif reply.next_offset < progress.source.total_bytes and reply.next_offset != progress.offset:
        progress.offset = reply.next_offset
        _send_chunk(raft, reply.sender, progress)


# --- membership and transfer ----------------------------------------------------------------------------------------------


def may_change_membership(raft: "Raft") -> bool:
    """No earlier change may still be unapplied, and we must have committed in our term (dissertation, 4.1, corrected 2015)."""
    return raft.pending_change_index <= raft.applied_index and has_committed_in_term(raft)


def conf_changed(raft: "Raft") -> None:
    """Know exactly the members of the configuration; a smaller majority may commit more; a leader outside of it steps down."""
    members = raft.conf.voters + raft.conf.learners
    if raft.progress and raft.id not in members:
        _leave(raft)
        return
    config = raft.config
    for peer in [peer for peer in raft.progress if peer not in members]:
        del raft.progress[peer]
    for peer in members:
        progress = raft.progress.get(peer)
        if progress is None:
            inflight = Inflight(config.inflight_appends_max, config.inflight_bytes_max)
            progress = raft.progress[peer] = Progress(Index(raft.log.last_index + 1), inflight, peer in raft.conf.learners)
        progress.is_learner = peer in raft.conf.learners
    own = raft.progress.get(raft.id)
    if own is not None:
        own.acknowledged(raft.log.persisted)
    if raft.transferee not in raft.conf.voters:
        raft.transferee = NOBODY
    maybe_commit(raft)
    _confirm_reads(raft)


def _leave(raft: "Raft") -> None:
    """We were removed. The others hear that it is committed, or they would still wait for our vote when we are gone; it is not they who would
    leave for good, so our own disk need not know first (`commit_to_tell`). And whoever is furthest is to campaign at once: the others would only
    do so when they have missed us for long enough."""
    for peer in raft.conf.voters + raft.conf.learners:
        progress = raft.progress.get(peer)
        if progress is not None:
            raft.messages.append(Heartbeat(raft.id, peer, raft.term, min(progress.match, raft.log.commit), raft.rounds.last_number))
    furthest = max(raft.conf.voters, key=lambda voter: raft.progress[voter].match if voter in raft.progress else NO_INDEX)
    term = raft.term
    raft.become_follower(term, NOBODY)
    raft.messages.append(TimeoutNow(raft.id, furthest, term))


def start_transfer(raft: "Raft", to: MemberId) -> None:
    """Stop taking proposals, and tell `to` to campaign once it has everything (dissertation, 3.10). The period of check-quorum goes on: whoever asks
    for this again and again must not keep a leader in office that nobody follows."""
    if raft.transferee == to:
        return
    raft.transferee = to
    raft.transfer_elapsed = 0
    if raft.progress[to].match == raft.log.last_index:
        raft.messages.append(TimeoutNow(raft.id, to, raft.term))


HANDLERS: dict[type[Message], Callable[["Raft", Any], None]] = {
    AppendReply: on_append_reply,
    HeartbeatReply: on_heartbeat_reply,
    InstallSnapshotReply: on_install_snapshot_reply,
    ForwardProposals: on_forwarded_proposals,
    ForwardReadIndex: on_forwarded_read,
    PreVoteRequest: candidate.on_pre_vote_request,
    VoteRequest: candidate.on_vote_request,
}
