"""Elections: pre-vote, vote, what ends a campaign (paper, 5.2; dissertation, 9.6)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvstore.ids import NOBODY, Term
from kvstore.raft.messages import EntryKind, Message, PreVoteReply, PreVoteRequest, TimeoutNow, VoteReply, VoteRequest
from kvstore.raft.quorum import vote_result
from kvstore.raft.ready import Role

if TYPE_CHECKING:
    from kvstore.raft.core import Raft


def campaign(raft: "Raft", *, forced: bool = False) -> None:
    """No leader was heard for too long, or (`forced`) the leader told us to take over. Only a voter that is not being rebuilt may win."""
    if not raft.is_voter or raft.installing is not None or awaits_change(raft):
        raft.reset_election_timeout()
        return
    if raft.config.pre_vote and not forced:
        _ask_first(raft)
    else:
        _ask_for_votes(raft, forced)


def awaits_change(raft: "Raft") -> bool:
    """Is a change of membership committed that is not applied here yet?

    Changes count when they are applied, so until then we would count votes by a configuration that others may have left behind by more than
    one member: its majority need not overlap with theirs. That it is enough to look at what we know to be committed: the leader
    proposes a change only when it has applied the one before, so whoever holds a change knows that all earlier ones are committed (the commit
    index comes with the entry and is written with it).
    """
    log = raft.log
    first = raft.applied_index + 1
    while first <= log.commit:
        entries = log.entries(first, raft.config.append_bytes_max, log.commit)
        if any(entry.kind == EntryKind.MEMBERSHIP for entry in entries):
            return True
        first = entries[-1].index + 1
    return False


def _ask_first(raft: "Raft") -> None:
    raft.become_pre_candidate()
    raft.votes[raft.id] = True
    term = Term(raft.term + 1)
    for voter in raft.conf.voters:
        if voter != raft.id:
            raft.messages.append(PreVoteRequest(raft.id, voter, term, raft.log.last_index, raft.log.last_term))
    _count(raft)


def _ask_for_votes(raft: "Raft", forced: bool) -> None:
    """Enter a new term. Requests wait for the disk: they speak of our log, and a crash must not leave votes about a log that we lost."""
    raft.become_candidate()
    for voter in raft.conf.voters:
        if voter != raft.id:
            request = VoteRequest(raft.id, voter, raft.term, raft.log.last_index, raft.log.last_term, forced)
            raft.messages_after_persist.append(request)


def own_vote_is_durable(raft: "Raft") -> None:
    """Our vote for ourselves counts once it is on disk, like anybody's."""
    raft.votes[raft.id] = True
    _count(raft)


def on_pre_vote_reply(raft: "Raft", reply: PreVoteReply) -> None:
    if raft.role is not Role.PRE_CANDIDATE or (reply.granted and reply.term != raft.term + 1):
        return
    raft.votes[reply.sender] = reply.granted
    _count(raft)


def on_vote_reply(raft: "Raft", reply: VoteReply) -> None:
    if raft.role is not Role.CANDIDATE or reply.term != raft.term:
        return
    raft.votes[reply.sender] = reply.granted
    _count(raft)


def _count(raft: "Raft") -> None:
    result = vote_result(raft.conf.voters, raft.votes)
    if result is None:
        return
    if not result:
        raft.become_follower(raft.term, NOBODY)
    elif raft.role is Role.PRE_CANDIDATE:
        _ask_for_votes(raft, forced=False)
    else:
        raft.become_leader()


def may_vote_for(raft: "Raft", request: VoteRequest) -> bool:
    """One vote a term, and only for a log that holds everything that may be committed (paper, 5.2 and 5.4.1)."""
    unbound = raft.vote == request.sender or (raft.vote == NOBODY and raft.leader == NOBODY)
    return unbound and raft.log.is_up_to_date(request.last_log_index, request.last_log_term)


def on_vote_request(raft: "Raft", request: VoteRequest) -> None:
    """Any role may be asked. The answer waits for the disk."""
    granted = raft.installing is None and may_vote_for(raft, request)
    if granted:
        raft.vote = request.sender
        raft.election_elapsed = 0
    raft.messages_after_persist.append(VoteReply(raft.id, request.sender, raft.term, granted))


def on_pre_vote_request(raft: "Raft", request: PreVoteRequest) -> None:
    """Say what we would do; promise nothing. (That we hear no leader was checked before.)"""
    granted = request.term > raft.term and raft.log.is_up_to_date(request.last_log_index, request.last_log_term)
    term = request.term if granted else raft.term
    raft.messages_after_persist.append(PreVoteReply(raft.id, request.sender, term, granted))


def on_timeout_now(raft: "Raft", _order: TimeoutNow) -> None:
    """The leader wants us to lead: campaign at once, without asking first and past everybody's stickiness. One that leaves because it was
    removed says so right behind the commit of that change: then as soon as the change is applied here."""
    if awaits_change(raft):
        raft.forced_campaign = True
    else:
        campaign(raft, forced=True)


HANDLERS: dict[type[Message], Callable[["Raft", Any], None]] = {
    PreVoteRequest: on_pre_vote_request,
    PreVoteReply: on_pre_vote_reply,
    VoteRequest: on_vote_request,
    VoteReply: on_vote_reply,
}
