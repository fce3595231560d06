"""Raft: one member's consensus, sans-IO (paper, 5; `raft/__init__.py` has the contract).

This file has what all roles share: terms and roles (5.1), inputs, and the making of a Ready. What a role does with a message or a tick is in
`follower.py`, `candidate.py` and `leader.py`; dispatch is a dict from message class to function.
"""

import enum
from collections.abc import Callable, Sequence

from msgspec import Struct

from kvstore.ids import NO_INDEX, NOBODY, Index, MemberId, Term
from kvstore.raft import candidate, follower, leader
from kvstore.raft.config import Config
from kvstore.raft.log import Log
from kvstore.raft.membership import Change, changed, encode_change
from kvstore.raft.messages import (
    AnyMessage,
    AppendReply,
    AppendRequest,
    ConfState,
    EntryKind,
    ForwardProposals,
    ForwardReadIndex,
    HardState,
    Heartbeat,
    InstallSnapshot,
    PreVoteReply,
    PreVoteRequest,
    ReadIndexReply,
    SnapshotMeta,
    VoteRequest,
)
from kvstore.raft.progress import Progress, Sending
from kvstore.raft.reads import ReadRounds
from kvstore.raft.ready import PersistMark, ReadReady, Ready, Role, SnapshotChunk, SnapshotWanted
from kvstore.raft.storage import SnapshotSource, Storage


class Proposed(enum.Enum):
    """What became of a proposal. Only ACCEPTED and FORWARDED say that it may be committed."""

    ACCEPTED = "accepted"
    FORWARDED = "forwarded"
    NO_LEADER = "no leader"
    TOO_MANY = "too many uncommitted bytes"
    TRANSFERRING = "leadership is being transferred"
    REFUSED = "another change of membership is under way, or the leader has not committed in its term"


class FollowerStatus(Struct, frozen=True):
    """What a leader knows of one member."""

    match: Index
    next: Index
    sending: Sending
    active: bool
    is_learner: bool
    pending_snapshot: Index


class RaftStatus(Struct, frozen=True):
    """For metrics and for decisions above consensus (is a learner ready to be promoted?). `followers` is empty unless we lead."""

    id: MemberId
    term: Term
    role: Role
    leader: MemberId
    commit: Index
    applied: Index
    last: Index
    followers: dict[MemberId, FollowerStatus]


# Messages that speak for a leader of their term: whoever gets one knows who leads.
_FROM_LEADER = (AppendRequest, Heartbeat, InstallSnapshot)


class Raft:
    """One member. `conf` is the configuration as of `applied`; `draw(low, high)`, both inclusive, is the only chance."""

    def __init__(self, config: Config, storage: Storage, applied: Index, conf: ConfState, draw: Callable[[int, int], int]) -> None:
        config.check()
        self.config = config
        self.id = config.id
        self.storage = storage
        self.conf = conf
        self.draw = draw
        hard_state = storage.hard_state()
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.log = Log(storage, applied, hard_state.commit, config.tail_bytes_max)
        self.applied_index = applied
        self.role = Role.FOLLOWER
        self.leader = NOBODY
        self.trace: Callable[[str], None] | None = None

        self.election_elapsed = 0
        self.election_timeout = 0
        self.heartbeat_elapsed = 0
        self.votes: dict[MemberId, bool] = {}
        self.forced_campaign = False
        """Told to lead while a change of membership was not applied yet: campaign as soon as it is."""

        self.progress: dict[MemberId, Progress] = {}
        self.rounds = ReadRounds()
        self.reads_before_first_commit: list[tuple[MemberId, int]] = []
        self.transferee = NOBODY
        self.transfer_elapsed = 0
        self.uncommitted_bytes = 0
        self.pending_change_index = NO_INDEX
        self.change_index = NO_INDEX
        """Leader: the last change of membership that was not committed when it was proposed or inherited; see `leader.commit_to_tell`."""

        self.forwarded_reads: dict[int, int] = {}
        """Follower: context to ticks since it was forwarded."""
        self.incoming: follower.Incoming | None = None
        self.installing: SnapshotMeta | None = None

        self._settled = False
        """There is nothing for a Ready until the next input: most turns ask twice, and find that out without looking (2 us warm)."""
        self._durable_hard_state = hard_state
        self._marks: list[PersistMark] = []
        self.messages: list[AnyMessage] = []
        self.messages_after_persist: list[AnyMessage] = []
        self.reads_ready: list[ReadReady] = []
        self.reads_failed: list[int] = []
        self.snapshot_wanted: list[SnapshotWanted] = []
        self.snapshot_chunks: list[SnapshotChunk] = []
        self.reset_election_timeout()

    # --- inputs -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """One unit of time passed."""
        self._settled = False
        self.election_elapsed += 1
        if self.role is Role.LEADER:
            leader.tick(self)
        else:
            follower.tick(self)

    def step(self, message: AnyMessage) -> None:
        """A message from a peer. Stale, duplicated and unexpected ones are harmless."""
        self._settled = False
        if message.receiver != self.id or message.sender == self.id:
            return
        term = message.term
        if term > self.term:
            if not self._accept_higher_term(message):
                return
        elif term < self.term and not self._outdated(message):
            return
        if self.role is Role.LEADER:
            handler = leader.HANDLERS.get(type(message))
        elif self.role is Role.FOLLOWER:
            handler = follower.HANDLERS.get(type(message))
        else:
            if isinstance(message, _FROM_LEADER):
                self.become_follower(self.term, message.sender)
                handler = follower.HANDLERS.get(type(message))
            else:
                handler = candidate.HANDLERS.get(type(message))
        if handler is not None:
            handler(self, message)

    def propose(self, datas: Sequence[bytes]) -> Proposed:
        """Put commands into the log if we lead, else pass them on to the leader. All or none."""
        self._settled = False
        if self.role is Role.LEADER:
            return self.propose_as_leader(datas)
        if self.leader == NOBODY:
            return Proposed.NO_LEADER
        self.messages.append(ForwardProposals(self.id, self.leader, self.term, tuple(datas)))
        return Proposed.FORWARDED

    def propose_as_leader(self, datas: Sequence[bytes]) -> Proposed:
        """As `propose`, but never passed on: for decisions that only the leader of this very term may take."""
        self._settled = False
        if self.role is not Role.LEADER or self.id not in self.progress:
            return Proposed.NO_LEADER
        if self.transferee != NOBODY:
            return Proposed.TRANSFERRING
        if not datas:
            return Proposed.ACCEPTED
        size = sum([len(data) for data in datas])
        # An empty leader always takes one batch, however large, or it could never be proposed.
        if self.uncommitted_bytes and self.uncommitted_bytes + size > self.config.uncommitted_bytes_max:
            return Proposed.TOO_MANY
        self.uncommitted_bytes += size
        leader.append(self, datas)
        return Proposed.ACCEPTED

    @property
    def takes_proposals(self) -> bool:
        """Whether proposals have somewhere to go: our log, or a leader that we know of."""
        return self.transferee == NOBODY if self.role is Role.LEADER else self.leader != NOBODY

    def propose_change(self, change: Change) -> Proposed:
        """Change the membership; only at the leader, one at a time (dissertation, 4.1)."""
        self._settled = False
        if self.role is not Role.LEADER:
            return Proposed.NO_LEADER
        if self.transferee != NOBODY:
            return Proposed.TRANSFERRING
        if not leader.may_change_membership(self):
            return Proposed.REFUSED
        leader.append(self, [encode_change(change)], EntryKind.MEMBERSHIP)
        self.pending_change_index = self.change_index = self.log.last_index
        return Proposed.ACCEPTED

    def apply_change(self, change: Change) -> ConfState:
        """A committed change is applied: from now on it counts. Returns the configuration in force."""
        self._settled = False
        assert self.conf.voters, "whoever does not know the configuration takes a snapshot first, and makes none up from changes"
        conf = changed(self.conf, change)
        if conf != self.conf:
            self.set_conf(conf)
        return self.conf

    def read_index(self, context: int) -> None:
        """Ask from which applied index on a linearizable read may be answered; see Ready.reads_ready and reads_failed."""
        self._settled = False
        if self.role is Role.LEADER:
            leader.request_read(self, self.id, context)
        elif self.leader == NOBODY:
            self.reads_failed.append(context)
        else:
            self.forwarded_reads[context] = 0
            self.messages.append(ForwardReadIndex(self.id, self.leader, self.term, context))

    def transfer_leadership(self, to: MemberId) -> bool:
        """Make `to` leader as soon as it has the whole log; False if we do not lead or it cannot lead. Aborted after an election timeout."""
        self._settled = False
        if self.role is not Role.LEADER or to == self.id or to not in self.conf.voters:
            return False
        leader.start_transfer(self, to)
        return True

    def persisted(self, mark: PersistMark) -> None:
        """The disk has what the Ready with this mark asked for; marks come back in the order of their Readys."""
        self._settled = False
        assert self._marks and self._marks[0] is mark, "writes are reported in the order of their Readys"
        self._marks.pop(0)
        self.log.note_persisted()
        self._durable_hard_state = mark.hard_state
        if self.role is Role.LEADER:
            leader.own_disk_advanced(self)
        elif self.role is Role.CANDIDATE and mark.hard_state.term == self.term:
            candidate.own_vote_is_durable(self)

    def applied(self, index: Index) -> None:
        """The state machine has applied everything up to `index`."""
        assert self.applied_index <= index <= self.log.given_out, "applied in order, and only what was given out"
        self.applied_index = index
        if self.forced_campaign and self.role is Role.FOLLOWER and not candidate.awaits_change(self):
            self._settled = False
            candidate.campaign(self, forced=True)

    def compacted(self) -> None:
        """The storage was cut. Followers that needed what is gone will be sent a snapshot: found out when they are next served."""

    def campaign(self) -> None:
        """Ask for votes now instead of when the time-out comes: for a start at which there is no leader to wait for."""
        if self.role is Role.FOLLOWER and self.leader == NOBODY:
            candidate.campaign(self)

    def count_as_waited(self, ticks: int) -> None:
        """So many ticks more without a leader: for a start, when time passed before anybody could be heard."""
        if self.role is Role.FOLLOWER and self.leader == NOBODY:
            self.election_elapsed += max(0, ticks)

    def report_connected(self, peer: MemberId) -> None:
        """There is a connection to `peer` again: a leader is heard there at once, and goes on from where its log ends."""
        self._settled = False
        progress = self.progress.get(peer)
        if self.role is Role.LEADER and progress is not None and peer != self.id:
            leader.greet(self, peer, progress)

    def report_unreachable(self, peer: MemberId) -> None:
        """The connection to `peer` broke: what was on its way is probably lost."""
        self._settled = False
        progress = self.progress.get(peer)
        if self.role is Role.LEADER and progress is not None and progress.sending is Sending.REPLICATE:
            progress.become_probe()

    def snapshot_ready(self, receiver: MemberId, source: SnapshotSource) -> None:
        """The exported state that `SnapshotWanted` asked for."""
        self._settled = False
        if self.role is Role.LEADER:
            leader.send_snapshot(self, receiver, source)

    def snapshot_failed(self, receiver: MemberId) -> None:
        """There will be no exported state for `receiver` this time."""
        self._settled = False
        progress = self.progress.get(receiver)
        if self.role is Role.LEADER and progress is not None and progress.sending is Sending.SNAPSHOT:
            progress.become_probe()
            progress.paused = True  # until its next heartbeat answer: do not ask for exports in a tight loop

    def snapshot_installed(self, meta: SnapshotMeta) -> None:
        """State and log now begin at `meta`, on disk."""
        self._settled = False
        assert self.installing == meta, "only what was received is installed"
        assert not self._marks, "no write of the log is out while a snapshot is installed"
        self.installing = None
        self.incoming = None
        self.log.restore(meta)
        self.applied_index = meta.index
        self.set_conf(meta.conf)
        if self.leader != NOBODY:
            # The state is on disk, but our term may not be yet.
            self.messages_after_persist.append(AppendReply(self.id, self.leader, self.term, True, meta.index))

    def snapshot_refused(self, meta: SnapshotMeta) -> None:
        """What was received is not usable; nothing was changed."""
        self._settled = False
        assert self.installing == meta, "only what was received is refused"
        self.installing = None
        follower.refuse_snapshot(self, meta)

    # --- what the driver may look at -----------------------------------------------------------------------------------

    @property
    def commit_index(self) -> Index:
        return self.log.commit

    @property
    def durable_commit(self) -> Index:
        """As far as our disk knows of it."""
        return self._durable_hard_state.commit

    @property
    def last_index(self) -> Index:
        return self.log.last_index

    @property
    def is_voter(self) -> bool:
        return self.id in self.conf.voters

    def snapshot_floor(self) -> Index | None:
        """The lowest index at which a follower that is being sent a snapshot will go on; None if none is."""
        pending = [
            progress.pending_snapshot
            for progress in self.progress.values()
            if progress.sending is Sending.SNAPSHOT and progress.pending_snapshot != NO_INDEX
        ]
        return min(pending, default=None)

    def status(self) -> RaftStatus:
        followers = {
            peer: FollowerStatus(known.match, known.next, known.sending, known.active, known.is_learner, known.pending_snapshot)
            for peer, known in self.progress.items()
        }
        return RaftStatus(self.id, self.term, self.role, self.leader, self.log.commit, self.applied_index, self.log.last_index, followers)

    # --- output -------------------------------------------------------------------------------------------------------

    def ready(self) -> Ready | None:
        """Everything to do since the last Ready, or None. The driver may take the next one before this one's write is done."""
        if self._settled:
            return None
        if self.role is Role.LEADER:
            leader.flush(self)
        log = self.log
        entries = log.hand_over()
        waiting = self.messages_after_persist
        hard_state = self._hard_state_to_write(bool(entries))
        committed = () if self.installing is not None else log.give_out(self.config.committed_bytes_max)
        mark = None
        if entries or waiting or hard_state is not None:
            log.note_handed()
            mark = PersistMark(log.last_index, log.last_term, hard_state or self._handed_hard_state)
            self._marks.append(mark)
        if committed and self.role is Role.LEADER:
            self.uncommitted_bytes = max(0, self.uncommitted_bytes - sum([len(entry.data) for entry in committed]))
        if mark is None and not (committed or self.messages or self.reads_ready or self.reads_failed or self.snapshot_wanted or self.snapshot_chunks):
            self._settled = True
            return None
        # All that was to be sent, written and read is in this one; only of what is committed there may be more than one Ready holds.
        self._settled = log.given_out >= min(log.commit, log.persisted)
        ready = Ready(
            mark,
            hard_state,
            entries,
            self.messages,
            waiting,
            list(committed),
            self.reads_ready,
            self.reads_failed,
            self.snapshot_wanted,
            self.snapshot_chunks,
        )
        self.messages, self.messages_after_persist = [], []
        self.reads_ready, self.reads_failed = [], []
        self.snapshot_wanted, self.snapshot_chunks = [], []
        return ready

    def _hard_state_to_write(self, with_entries: bool) -> HardState | None:
        """Term and vote when they changed. The commit index rides along with whatever is written: losing it costs only time. But a leader that
        committed a change of membership must not lose that (`leader.commit_to_tell`)."""
        handed = self._handed_hard_state
        change_committed = self.role is Role.LEADER and handed.commit < self.change_index <= self.log.commit
        if with_entries or handed.term != self.term or handed.vote != self.vote or change_committed:
            return HardState(self.term, self.vote, self.log.commit)
        return None

    @property
    def _handed_hard_state(self) -> HardState:
        """What the disk has, or was given to write."""
        return self._marks[-1].hard_state if self._marks else self._durable_hard_state

    # --- terms and roles (paper, 5.1) -----------------------------------------------------------------------------------

    def _accept_higher_term(self, message: AnyMessage) -> bool:
        """A message of a later term than ours; False if it is to be ignored altogether."""
        if isinstance(message, PreVoteRequest | VoteRequest):
            forced = isinstance(message, VoteRequest) and message.forced
            if not forced and self.hears_leader():
                # Leader stickiness (dissertation, 4.2.3): while we hear a leader, someone who does not must not depose it.
                return False
            if isinstance(message, PreVoteRequest):
                return True  # asking changes nothing
        if isinstance(message, PreVoteReply) and message.granted:
            return True  # it names the term that we would campaign in
        self.become_follower(message.term, message.sender if isinstance(message, _FROM_LEADER) else NOBODY)
        return True

    def _outdated(self, message: AnyMessage) -> bool:
        """A message of an earlier term than ours; True if it is still to be handled."""
        if isinstance(message, _FROM_LEADER):
            # A leader that does not know of our term (we may be the only one in it, having been alone): tell it, so that it steps down
            # and an election brings everybody to one term.
            self.messages_after_persist.append(AppendReply(self.id, message.sender, self.term, False, NO_INDEX))
        elif isinstance(message, PreVoteRequest):
            self.messages_after_persist.append(PreVoteReply(self.id, message.sender, self.term, False))
        return isinstance(message, ForwardProposals | ForwardReadIndex)

    def hears_leader(self) -> bool:
        """Did a leader speak within the last election timeout? (A leader that lost its quorum steps down by itself within that time.)"""
        return self.leader != NOBODY and self.election_elapsed < self.config.election_ticks

    def become_follower(self, term: Term, leader_id: MemberId) -> None:
        """Follow `leader_id` (NOBODY: not known yet) in `term`."""
        self._enter(term, Role.FOLLOWER)
        self.leader = leader_id

    def become_pre_candidate(self) -> None:
        """Ask whether a campaign could be won; the term does not change."""
        self._enter(self.term, Role.PRE_CANDIDATE)
        self.leader = NOBODY

    def become_candidate(self) -> None:
        """A new term, and our vote in it is ours."""
        self._enter(Term(self.term + 1), Role.CANDIDATE)
        self.vote = self.id
        self.leader = NOBODY

    def become_leader(self) -> None:
        """We won `term`: know nothing of the others' logs, and commit an empty entry first, so that our own commit index is known."""
        assert self.role is Role.CANDIDATE, "only who was voted for leads"
        self._enter(self.term, Role.LEADER)
        self.leader = self.id
        leader.start(self)

    def _enter(self, term: Term, role: Role) -> None:
        assert term >= self.term, "terms never go back"
        if self.trace is not None:
            self.trace(f"{self.role.value}@{self.term} => {role.value}@{term}")
        if term != self.term:
            self.term = term
            self.vote = NOBODY
        was_leader = self.role is Role.LEADER
        self.role = role
        self.votes = {}
        self.forced_campaign = False
        self.transferee = NOBODY
        self.progress = {}
        self.heartbeat_elapsed = 0
        self.reset_election_timeout()
        if was_leader:
            leader.fail_reads(self)
        self.reads_failed += self.forwarded_reads
        self.forwarded_reads = {}

    def reset_election_timeout(self) -> None:
        """Draw anew between one and two election timeouts, so that two members seldom campaign at once (paper, 5.2)."""
        self.election_elapsed = 0
        self.election_timeout = self.config.election_ticks + self.draw(0, self.config.election_ticks - 1)

    def set_conf(self, conf: ConfState) -> None:
        """A configuration comes into force."""
        self.conf = conf
        if self.role is Role.LEADER:
            leader.conf_changed(self)

    def answer_read(self, requester: MemberId, context: int, index: Index) -> None:
        """`index` 0 refuses."""
        if requester != self.id:
            self.messages.append(ReadIndexReply(self.id, requester, self.term, context, index))
        elif index == NO_INDEX:
            self.reads_failed.append(context)
        else:
            self.reads_ready.append(ReadReady(context, index))
