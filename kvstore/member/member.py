"""The whole member, pure: requests, peer messages, ticks and reports of the disk in; effects out (`effects.py`).

The owner calls inputs as they come and `pump()` once after a batch of them (the server: once a turn of its event loop), then performs
`take_effects()`. Batching is all in there: proposals that arrive before a pump are one append and one disk write, reads are one round.

The life of a put: `propose` encodes it; `pump` hands the batch to Raft, whose Ready gives appends to send at once and entries to write
(`driver.LogWriter`); `persisted` and the followers' replies commit it; `_apply_committed` applies it to the machine, gives its events to the
watchers and its outcome to the token that waits.

The state machine's write transaction stays open over many entries. Committing it is a piece of work for the state thread
(`CommitState`), and from handing that out until its answer nothing here touches the machine: applying, reads and catching up wait, while
consensus goes on. So the state on disk is behind what was applied, never ahead of the log on disk (Raft gives out only entries
that this member has durable), and the log is cut only behind the state on disk.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from kvstore.accounts import CLUSTER, Caller, Who
from kvstore.auth import access
from kvstore.errors import (
    BadLeaderTransferee,
    Compacted,
    DiskTrouble,
    LeaderTransferTimeout,
    LeaseTtlTooLarge,
    NoLeader,
    NoSpace,
    NotLeader,
    NotSupportedForLearner,
    RequestTimeout,
    Stopped,
    StoreError,
    TimeoutLeaderFailed,
    TooManyRequests,
)
from kvstore.ids import NOBODY, Index, LeaseId, MemberId, RequestId, Revision, Term
from kvstore.member.compactor import make_compactor
from kvstore.member.config import MemberConfig
from kvstore.member.corruption_rounds import CorruptionRounds
from kvstore.member.delivery import Deliver, Delivery, Stream
from kvstore.member.driver import Durable, LogWriter
from kvstore.member.effects import (
    REMOVED,
    CommitState,
    CutLog,
    DefragmentState,
    Effects,
    ExportState,
    HashState,
    InspectState,
    InstallState,
    Note,
    StateWork,
    StoreChunk,
    Token,
)
from kvstore.member.first_election import FirstElection
from kvstore.member.gate import Gate
from kvstore.member.leases import LeaseQuestions, OwnToken, PeerToken
from kvstore.member.lessor import Lessor
from kvstore.member.messages import AnyPeerMessage, ChangeAnswer, ChangeQuestion, HashAnswer, HashQuestion, LeaseAnswer, LeaseQuestion
from kvstore.member.proposals import Proposals
from kvstore.member.quota import Quota
from kvstore.member.raising import Raising
from kvstore.member.reads import Reads
from kvstore.member.reconfiguration import Reconfiguration
from kvstore.member.requests import AskLease, Barrier, Guarded, HashAt, LeaseTime, LeaseWithKeys, ListLeases, ListMembers, RenewLease
from kvstore.model import (
    AlarmAction,
    AlarmChange,
    AlarmMember,
    AlarmType,
    Compact,
    HashKVResult,
    Header,
    LeaseGrant,
    LeaseRevoke,
    LeaseTimeToLive,
    PublishMember,
    Put,
    Range,
    RangeResult,
    Status,
    Txn,
)
from kvstore.mvcc.inspection import Inspection
from kvstore.mvcc.scan import KEYS_PER_STEP
from kvstore.raft.core import Proposed, Raft
from kvstore.raft.membership import Change, decode_change
from kvstore.raft.messages import ConfState, Entry, EntryKind, ForwardProposals, SnapshotMeta
from kvstore.raft.ready import Ready, Role
from kvstore.raft.storage import SnapshotSource, Storage
from kvstore.statemachine.commands import Command, Envelope, UnknownCommand, decode_command, encode_command, is_command
from kvstore.statemachine.machine import Machine
from kvstore.statemachine.members import Action, ChangeDetails, decode_details

APPLY_ENTRIES_PER_PUMP = 256
"""Entries applied before the owner gets its turn back: about 3 ms."""

LISTED_KEYS_PER_PUMP = 2 * KEYS_PER_STEP
"""Keys that ranges of more than one key look at before the owner gets its turn back: about a millisecond."""
LIST_COSTS_KEYS = 100
"""What beginning such a range costs, in keys."""

COMPACTION_VERSIONS_PER_STEP = 500
"""Versions that physical compaction looks at in one step: about 2 ms."""

Apply = Callable[[Machine, Index, Term, Envelope], Any]
CompactionStep = Callable[[Machine, int], bool]

HAND_OVERS_MAX = 3
"""How often a leader that is to be removed tries to hand over first."""

UNCOMMITTED_BYTES_MAX = 256 << 20
"""Of entries that are applied while no commit can be made because the state is copied or hashed: LMDB keeps in memory what is not committed. With
more, applying waits, too."""

HASHES_MAX = 4
"""Hashes being computed or waiting for it: each takes seconds of a large state, and no commit is made meanwhile. More are refused."""

LEASE_TTL_MAX_S = 9_000_000_000
PUBLISH_RETRY_TICKS = 10
DAMAGE_TEXT_MAX = 500

_ACTIONS = frozenset(map(int, Action))

encode_conf = msgspec.msgpack.Encoder().encode
decode_conf = msgspec.msgpack.Decoder(ConfState).decode


def _apply(machine: Machine, index: Index, term: Term, envelope: Envelope) -> Any:
    return machine.apply(index, term, envelope.command, envelope.user, envelope.auth_revision)


def _compact(machine: Machine, versions_max: int) -> bool:
    return machine.compaction_step(versions_max)


def _told(result: Any) -> Any:
    """What a client hears of work on the state: its result, or what a disk had to say."""
    return DiskTrouble(str(result)) if isinstance(result, Exception) and not isinstance(result, StoreError) else result


class Member:
    """One member. `storage` is its log, `machine` its state with a write transaction begun; `draw(low, high)` is the only chance,
    `first_request_id` a random 64-bit number, new at every start."""

    def __init__(
        self,
        config: MemberConfig,
        storage: Storage,
        machine: Machine,
        *,
        draw: Callable[[int, int], int],
        first_request_id: int,
        now_s: float,
    ) -> None:
        self.config = config
        self.id = config.raft.id
        self.now_s = now_s
        self.machine = machine
        self.storage = storage
        conf = decode_conf(machine.conf)
        self.raft = Raft(config.raft, storage, machine.applied_index, conf, draw)
        self.delivery = Delivery(machine)
        self._writer = LogWriter(storage.hard_state())
        self.proposals = Proposals(first_request_id, config.request_timeout_s)
        self.reads = Reads(config.request_timeout_s, first_request_id)
        self.lessor = Lessor()
        self.quota = Quota(config.quota_bytes)
        self._raising = Raising(config.request_timeout_s)
        self._compactor = make_compactor(config.auto_compaction, now_s, config.request_timeout_s)
        self._auto_compaction: RequestId | None = None
        self._corruption = CorruptionRounds(self, config.corruption_checks, now_s)
        self.check_initially = self._corruption.check_initially
        self.gate = Gate(config.auth_token_ttl_s)
        self._effects = Effects([], [], [], [])

        self._committed: deque[Entry] = deque()
        self._forwarded: list[ForwardProposals] = []
        self._forwarded_ticks = 0
        self._state_busy: StateWork | None = None
        self._state_wanted: deque[StateWork] = deque()
        self._state_out: list[StateWork] = []
        """Copies and hashes that the state thread is at, or has before it."""
        self._commit_forced = False
        self._commit_entries = min(config.commit_entries, config.snapshot_entries + config.catchup_entries)
        self._dirty_entries = 0
        self._dirty_bytes = 0
        self._ticks_since_commit = 0
        self._durable = SnapshotMeta(machine.applied_index, machine.applied_term, conf)
        self._committing = self._durable
        self._readings_out = 0
        """Copies and hashes of the last commit that the state thread is at, or has before it."""
        self._log_cut_out = False
        self._install: SnapshotMeta | None = None

        self._long_reads: deque[tuple[Any, Token]] = deque()
        self._serializable: list[tuple[Any, Token]] = []
        self._physical_compactions: list[tuple[Revision, Any, Token]] = []
        self._leases = LeaseQuestions(self)
        self._transfer: tuple[MemberId, Token, float] | None = None
        self._reconfiguration = Reconfiguration(self, config.reconfiguration)
        self._first_election = FirstElection(self.raft, wanted=config.first_election_early)
        self._leaving_ticks = 0
        """We were removed, and stop when these have passed (etcd waits a second, too). Until then a member that has not heard of the removal can
        still get our vote, which by its configuration it may need."""

        self._leader = NOBODY
        self._leader_term = Term(0)
        self._leader_lost_at_s = float("-inf")
        self.leader_changes = 0
        self.proposals_failed = 0
        # The owner may put functions that also look at a clock in the place of these two.
        self.apply: Apply = _apply
        self.compact: CompactionStep = _compact
        self._published = False
        self._publish_id = RequestId(0)
        self._publish_in_ticks = 0
        self._stopped = False

    # --- what the owner may look at ---------------------------------------------------------------------------------

    @property
    def leader(self) -> MemberId:
        return self.raft.leader

    @property
    def is_leader(self) -> bool:
        return self.raft.role is Role.LEADER

    @property
    def is_learner(self) -> bool:
        return self.id in self.raft.conf.learners

    @property
    def is_leaving(self) -> bool:
        """Removed, and about to stop."""
        return self._leaving_ticks > 0

    @property
    def is_ready(self) -> bool:
        """Published since this start: so everything acknowledged before the start has been applied again."""
        return self._published

    @property
    def proposals_pending(self) -> int:
        return len(self.proposals)

    @property
    def read_rounds_failed(self) -> int:
        return self.reads.rounds_failed

    @property
    def read_rounds_timed_out(self) -> int:
        return self.reads.rounds_timed_out

    @property
    def lease_renewals(self) -> int:
        return self.lessor.renewals

    @property
    def lease_expirations(self) -> int:
        return self.lessor.expirations

    @property
    def installing(self) -> bool:
        """A received state is taking the place of the present one."""
        return type(self._state_busy) is InstallState

    @property
    def requests_waiting(self) -> int:
        """Clients' requests that are not answered yet."""
        return len(self.proposals) + len(self.reads)

    @property
    def has_work(self) -> bool:
        """More to do without further input: pump again soon."""
        if self._state_busy is not None:
            return False
        return bool(
            (self._committed and not self._holds_enough)
            or self._long_reads
            or self.reads.has_due(self.machine.applied_index)
            or self.machine.compaction_pending
            or self.delivery.behind
        )

    def header(self) -> Header:
        return Header(self.config.cluster_id, self.id, self.machine.revision, self.raft.term)

    def status(self, db_size_bytes: int, db_size_in_use_bytes: int) -> Status:
        errors = [f"memberID:{alarm.member_id} alarm:{alarm.alarm.name} " for alarm in self.machine.alarms]
        if self.raft.leader == NOBODY:
            errors.append(NoLeader.text)
        return Status(
            self.config.version,
            self.config.storage_version,
            db_size_bytes,
            db_size_in_use_bytes,
            self.config.quota_bytes,
            self.raft.leader,
            self.raft.term,
            self.raft.commit_index,
            self.machine.applied_index,
            self.is_learner,
            errors,
        )

    def alarms(self, member_id: int, alarm: int) -> list[AlarmMember]:
        """Active alarms; 0 means any."""
        return [raised for raised in self.machine.alarms if member_id in (0, raised.member_id) and alarm in (0, raised.alarm)]

    # --- requests -----------------------------------------------------------------------------------------------------

    def propose(self, command: Command, token: Token, caller: Caller = CLUSTER) -> None:
        """Write through the log. Answered with the outcome of applying it, or an error that says why not: the caller's permission is looked at
        when it is applied."""
        if self.refuse(token):
            return
        if self.raft.commit_index - self.machine.applied_index > self.config.unapplied_entries_max:
            self.reply(token, TooManyRequests())
            return
        if self.quota.near and not self._has_room(command, unsure=True):
            self._refuse_for_space(token)
            return
        request_id = self.proposals.next_id()
        self.proposals.wait(request_id, token, self.now_s)
        self.proposals.unsent.append(encode_command(request_id, command, caller.name, caller.revision))

    def grant_lease(self, lease_id: int, ttl_s: int, token: Token, caller: Caller = CLUSTER) -> None:
        """Lease id 0: this member picks one. A TTL below the minimum is raised to it."""
        if ttl_s > LEASE_TTL_MAX_S:
            self.reply(token, LeaseTtlTooLarge())
            return
        while lease_id == 0:
            # Positive int63, as etcd's are; taken from the request ids, which are unique over members.
            lease_id = self.proposals.next_id() & ((1 << 63) - 1)
        self.propose(LeaseGrant(lease_id, max(ttl_s, self.config.lease_ttl_min_s)), token, caller)

    def read(self, request: Any, token: Token) -> None:
        """A linearizable read: a Range, a Txn that only reads, a question about accounts, or a request of `requests.py`; `Guarded` for a client
        who is known."""
        if not self.refuse(token):
            self.reads.add(request, token, self.now_s)

    def read_serializable(self, request: Any, token: Token) -> None:
        """From what this member has applied, without asking anybody: may be stale, works without a quorum and on learners."""
        if self._stopped:
            self.reply(token, Stopped())
        elif self._state_busy is None:
            self._perform(request, token)
        else:
            self._serializable.append((request, token))

    def range_now(self, request: Range) -> RangeResult | None:
        """The answer to a serializable read of one key by nobody in particular, without token and turn; None: ask with `read_serializable`.
        Raises StoreError."""
        if request.range_end or self._state_busy is not None or self._stopped or self.machine.accounts.enabled:
            return None
        return self.machine.range(request)

    def ask_lease(self, request: RenewLease | LeaseTime, token: Token, who: Who = CLUSTER) -> None:
        """Only the leader counts lease time: answer here if we lead, else ask the leader, again and again until the client's deadline."""
        if self.refuse(token):
            return
        if self.machine.accounts.enabled and who is not CLUSTER:
            self.read_serializable(Guarded(AskLease(request), who), token)  # which comes back to `LeaseQuestions.ask` if he may
        else:
            self._leases.ask(request, who, token)

    def move_leader(self, target: MemberId, token: Token) -> None:
        if not self.is_leader:
            self.reply(token, NotLeader())
        elif target == self.id:
            self.reply(token, None)
        elif target not in self.raft.conf.voters or not self.raft.transfer_leadership(target):
            self.reply(token, BadLeaderTransferee())
        else:
            if self._transfer is not None:
                self.reply(self._transfer[1], LeaderTransferTimeout())  # a later order takes the place of an earlier one
            self._transfer = (target, token, self.now_s + self.config.election_timeout_s)

    def change_members(self, action: Action, subject: MemberId, peer_urls: tuple[str, ...], token: Token) -> None:
        """Add (as voter or learner), remove, update or promote `subject`. Answered, when it is applied here, with all members by rising id, or with
        the error that says why not (`member/changes.py`)."""
        if self.refuse(token):
            return
        request_id = self.proposals.next_id()
        self.proposals.wait(request_id, token, self.now_s)
        self._reconfiguration.ask(request_id, action, subject, peer_urls)

    def hash_kv(self, revision: Revision, token: Token) -> None:
        """HashKV at `revision` (0: current), computed off to the side over committed state."""
        self.read_serializable(HashAt(revision), token)

    def hash_everything(self, token: Token) -> None:
        self._want_hash(Revision(-1), Revision(0), token)

    def _want_hash(self, revision: Revision, compacted: Revision, token: Token) -> None:
        if sum(isinstance(work, HashState) for work in self.state_works()) >= HASHES_MAX:
            self.reply(token, TooManyRequests())
        else:
            self.want(HashState(revision, compacted, token))

    def export_state(self, token: Token) -> None:
        """A consistent copy of the whole state, for a backup; the answer is an `Export`."""
        self.want(ExportState(self._durable, NOBODY, token))

    def defragment(self, token: Token) -> None:
        """Nobody is served meanwhile: who asks while another's is still to begin shares it."""
        waiting = next((work for work in self._state_wanted if isinstance(work, DefragmentState)), None)
        if waiting is None:
            self.want(DefragmentState([token]))
        else:
            waiting.tokens.append(token)

    def identify(self, who: Who) -> Caller:
        """Whom a write is proposed for. Raises InvalidAuthToken; a name that comes of it need not be allowed anything."""
        return self.gate.identify(self.machine, who, self.now_s)

    def check_root(self, who: Who) -> None:
        """For what a member does by itself and without the log. Raises StoreError unless root asks, or authentication is off."""
        access.check_root(self.machine.accounts, self.identify(who))

    def check_user(self, who: Who) -> None:
        """The same for what every user may have."""
        access.check_user(self.machine.accounts, self.identify(who))

    def check_watch(self, key: bytes, range_end: bytes, who: Who) -> None:
        """May this caller watch that? Looked at once, when the watcher is made (W-7, W-27)."""
        access.check_read(self.machine.accounts, self.identify(who), key, range_end)

    def open_stream(self, deliver: Deliver) -> Stream:
        return self.delivery.open_stream(deliver)

    # --- inputs of the world --------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Time passes: call every `config.tick_s`."""
        self.now_s = now_s
        self.raft.tick()
        self._ticks_since_commit += 1
        self._expire()
        self._leases.tick()
        self._publish_in_ticks -= 1
        if self._publish_in_ticks <= 0:
            self._publish()
        self._compact_automatically()
        self._leave()
        self._corruption.tick()
        self._drop_forwarded()
        if self.lessor.active:
            for lease_id in self.lessor.expired(now_s):
                self._revoke_expired(lease_id)

    def step(self, message: AnyPeerMessage) -> None:
        """A message from a peer."""
        if isinstance(message, LeaseQuestion):
            self._leases.on_question(message)
        elif isinstance(message, LeaseAnswer):
            self._leases.on_answer(message)
        elif isinstance(message, ForwardProposals):
            # What no member can read would be committed, and then stop every member.
            if all(map(is_command, message.datas)):
                self._forwarded.append(message)
        elif isinstance(message, ChangeQuestion):
            self._reconfiguration.on_question(message)
        elif isinstance(message, ChangeAnswer):
            self._reconfiguration.on_answer(message)
        elif isinstance(message, HashQuestion):
            self._corruption.on_question(message)
        elif isinstance(message, HashAnswer):
            self._corruption.on_answer(message)
        else:
            self.raft.step(message)

    def persisted(self) -> None:
        """The `Persist` that was out is on disk."""
        self._release(self._writer.finish())

    def log_cut(self) -> None:
        """The `CutLog` that was out is done."""
        self._log_cut_out = False
        self.raft.compacted()

    def state_measured(self, size_bytes: int, in_use_bytes: int) -> None:
        """The state's file, after a commit or after it was replaced: call it before the report of that."""
        self.quota.measured(size_bytes, in_use_bytes)

    def state_committed(self) -> None:
        """The `CommitState` that was out is on disk, and the machine has its next write transaction."""
        self._durable = self._committing
        self._state_busy = None
        for revision, outcome, token in self._physical_compactions:
            if not self.machine.compaction_pending or self.machine.compacted_revision > revision:
                self.reply(token, outcome)
        self._physical_compactions = [
            waiting for waiting in self._physical_compactions if self.machine.compaction_pending and self.machine.compacted_revision <= waiting[0]
        ]

    def state_exported(self, export: ExportState, result: Any) -> None:
        """`result`: an Export (with `meta` set to export.meta for a follower's) or an exception."""
        self._readings_out -= 1
        self._state_out.remove(export)
        if export.receiver == NOBODY:
            self.reply(export.token, _told(result))
        elif isinstance(result, Exception):
            self.note("failed to copy the state for a follower", is_warning=True, to=f"{export.receiver:x}", error=str(result))
            self.raft.snapshot_failed(export.receiver)
        else:
            source: SnapshotSource = result
            self.raft.snapshot_ready(export.receiver, source)

    def state_hashed(self, work: HashState, result: int | Exception) -> None:
        self._readings_out -= 1
        self._state_out.remove(work)
        if isinstance(result, Exception) or work.revision == -1:
            self.reply(work.token, _told(result))
            return
        compacted = work.compacted_revision
        self.reply(work.token, HashKVResult(self.machine.revision, result, compacted or self.machine.compact_revision, work.revision))

    def state_inspected(self, work: InspectState, result: Inspection | Exception) -> None:
        self._state_out.remove(work)
        if isinstance(result, Exception):
            self.note("failed to inspect the state", is_warning=True, error=str(result))
        elif result.damage:
            self.note("the state of this member is corrupt", is_warning=True, damage=result.damage)
        self._corruption.inspected(work.token, result)

    def state_installed(self, meta: SnapshotMeta, machine: Machine) -> None:
        """The received state is in place and on disk, the log begins behind it, and `machine` has it open with a write transaction."""
        self._state_busy = None
        self._install = None
        machine.go_on_counting(self.machine.counts)
        self.gate.state_replaced(self.machine, machine)
        self.machine = machine
        self._durable = SnapshotMeta(machine.applied_index, machine.applied_term, decode_conf(machine.conf))
        self._committed = deque(entry for entry in self._committed if entry.index > meta.index)
        self._dirty_entries = self._dirty_bytes = 0
        self.raft.snapshot_installed(meta)
        self.delivery.on_state_replaced(machine)

    def state_refused(self, meta: SnapshotMeta) -> None:
        """What was received is damaged or could not be stored; nothing was changed."""
        self._state_busy = None
        self._install = None
        self.raft.snapshot_refused(meta)

    def state_defragmented(self, work: DefragmentState, machine: Machine, error: Exception | None) -> None:
        self._state_out.remove(work)
        self._state_busy = None
        if machine is not self.machine:
            self.machine = machine
            self.delivery.on_state_replaced(machine)
        for token in work.tokens:
            self.reply(token, _told(error))

    def report_connected(self, peer: MemberId) -> None:
        """There is a connection to `peer`, on which it is welcome to answer."""
        self._first_election.reached(peer)
        if self._reconfiguration.connected(peer):
            self.raft.report_connected(peer)
            if peer == self.raft.leader:
                self._publish()  # an announcement before this would not have reached it

    def report_heard(self, peer: MemberId) -> None:
        """`peer` made a connection to us: what it says arrives here."""
        self._first_election.heard(peer)

    def report_unreachable(self, peer: MemberId) -> None:
        self._reconfiguration.unreachable(peer)
        self._first_election.lost(peer)
        self.raft.report_unreachable(peer)

    def stop(self) -> None:
        """Answer everybody who waits, and nothing any more from now on."""
        self._stopped = True
        tokens = self.proposals.drain() + self.reads.drain() + self._raising.drain()
        tokens += [token for _, token in self._serializable] + [token for _, token in self._long_reads]
        tokens += self._leases.drain() + self._corruption.drain()
        tokens += [token for _, _, token in self._physical_compactions]
        # Work for a follower's snapshot has no token.
        tokens += [work.token for work in self.state_works() if isinstance(work, ExportState | HashState) and work.token is not None]
        tokens += [token for work in self.state_works() if isinstance(work, DefragmentState) for token in work.tokens]
        if self._transfer is not None:
            tokens.append(self._transfer[1])
        for token in tokens:
            if not isinstance(token, PeerToken | OwnToken):
                self.reply(token, Stopped())
        self._serializable.clear()
        self._long_reads.clear()
        self._physical_compactions.clear()
        self._state_wanted.clear()
        self._state_out.clear()
        self._transfer = None

    # --- the turn -------------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Do everything that the inputs since the last pump made possible, as far as one turn allows (`has_work` says if more is left)."""
        if self._stopped:
            return
        self._take_forwarded()
        self._send_proposals()
        if self._reconfiguration.pending:
            self._reconfiguration.advance()
        context = self.reads.next_round()
        if context is not None:
            self.raft.read_index(context)
        self._take_readys()
        if self._state_busy is None:
            self._work_on_state()
            self._take_readys()
        if self._notice_leader() and not self._published:
            self._publish()
            self._send_proposals()
            self._take_readys()

    def take_effects(self) -> Effects:
        effects, self._effects = self._effects, Effects([], [], [], [])
        return effects

    def _take_forwarded(self) -> None:
        """After all else that came with them: a leader that was paused may hear in the same turn that it leads no more, and would have taken them
        into a log that nobody follows. While leadership is being handed over they wait: dropped, they would be lost to clients that wait for them
        elsewhere."""
        if self._forwarded and self.raft.takes_proposals:
            forwarded, self._forwarded, self._forwarded_ticks = self._forwarded, [], 0
            for message in forwarded:
                self.raft.step(message)

    def _drop_forwarded(self) -> None:
        """What has found no leader for long is given up: whoever waits for it is told by a time-out."""
        if self._forwarded:
            self._forwarded_ticks += 1
            if self._forwarded_ticks > 2 * self.config.raft.election_ticks:
                self._forwarded, self._forwarded_ticks = [], 0

    def _send_proposals(self) -> None:
        while (batch := self.proposals.next_batch()) and self.raft.leader != NOBODY:
            proposed = self.raft.propose(batch)
            if proposed is Proposed.TOO_MANY:
                self._refuse_proposals(batch)
            elif proposed is not Proposed.ACCEPTED and proposed is not Proposed.FORWARDED:
                return  # no leader, or it is changing: they wait for a later pump, and for their time-out
            del self.proposals.unsent[: len(batch)]

    def _refuse_proposals(self, datas: list[bytes]) -> None:
        for data in datas:
            token = self.proposals.complete(decode_command(data).request_id)
            if token is not None:
                self.proposals_failed += 1
                self.reply(token, TooManyRequests())

    def _take_readys(self) -> None:
        """Hand over what Raft has to say until it has nothing more, starting the next write of the log when the last one is done."""
        effects = self._effects
        while True:
            # While a received state is about to take the place of the log nothing more may be queued for it: what is, is written first.
            while self._install is None and (ready := self.raft.ready()) is not None:
                self._take(ready, effects)
            work = self._writer.start()
            if isinstance(work, Durable):
                self._release(work)
                continue
            if work is not None:
                effects.log_work.append(work)
            elif self._install is not None:
                self._start_install()
            return

    def _release(self, durable: Durable) -> None:
        self._effects.messages += durable.messages
        for mark in durable.marks:
            self.raft.persisted(mark)

    def _take(self, ready: Ready, effects: Effects) -> None:
        effects.messages += ready.messages
        self._writer.add(ready)
        if ready.committed:
            self._committed += ready.committed
        for read in ready.reads_ready:
            self.reads.confirmed(read.context, read.index)
        for context in ready.reads_failed:
            self.reads.failed(context)
        for wanted in ready.snapshot_wanted:
            self.want(ExportState(self._durable, wanted.receiver))
        for chunk in ready.snapshot_chunks:
            effects.state_work.append(StoreChunk(chunk))
            if chunk.done:
                self._install = chunk.meta

    def _notice_leader(self) -> bool:
        """React to a change of leader or of term, and say whether there was one: leases, waiting transfers, metrics, questions on their way to the
        old one."""
        leader, term = self.raft.leader, self.raft.term
        lead_now = self.is_leader
        if lead_now and (not self.lessor.active or term != self._leader_term):
            self.lessor.promote(self.machine.leases, self.now_s, self.config.election_timeout_s)
        elif not lead_now and self.lessor.active:
            self.lessor.demote()
        if leader == self._leader and term == self._leader_term:
            return False
        if leader == NOBODY and self._leader != NOBODY:
            self._leader_lost_at_s = self.now_s
        if leader not in (NOBODY, self._leader):
            self.leader_changes += 1
            self._leases.leader_changed()
        self._tell_of_leader(leader, term)
        self._leader, self._leader_term = leader, term
        if self._transfer is not None and leader == self._transfer[0]:
            self.reply(self._transfer[1], None)
            self._transfer = None
        return True

    def _tell_of_leader(self, leader: MemberId, term: Term) -> None:
        """In the words of etcd's raft/node.go, which operators look for."""
        before = self._leader
        if leader == NOBODY and before != NOBODY:
            self.note(f"raft.node: {self.id:x} lost leader {before:x} at term {term}")
        elif leader != NOBODY and before == NOBODY:
            self.note(f"raft.node: {self.id:x} elected leader {leader:x} at term {term}")
        elif leader not in (NOBODY, before):
            self.note(f"raft.node: {self.id:x} changed leader from {before:x} to {leader:x} at term {term}")

    # --- the state ----------------------------------------------------------------------------------------------------

    def _work_on_state(self) -> None:
        """What one turn may do with the machine, while the state thread does not have it."""
        if self._state_wanted and self._dirty_entries == 0:
            # What waits for the committed state goes first, right behind the commit: under a steady load it is never clean but now.
            self._start_state_work()
            if self._state_busy is not None:
                return
        if self._committed and not self._holds_enough:
            self._apply_committed()
        applied = self.machine.applied_index
        if self.reads.has_due(applied):
            for request, token, _ in self.reads.due(applied):
                self._perform(request, token)
        if self._serializable:
            waiting, self._serializable = self._serializable, []
            for request, token in waiting:
                self._perform(request, token)
        if self._long_reads:
            self._continue_long_reads()
        if self.machine.compaction_pending:
            self.compact(self.machine, COMPACTION_VERSIONS_PER_STEP)
            self._dirty_entries += 1
            self._commit_forced |= bool(self._physical_compactions) and not self.machine.compaction_pending
        if self.delivery.behind:
            self.delivery.catch_up()
        self._start_state_work()
        self._maybe_cut_log()

    @property
    def _holds_enough(self) -> bool:
        return self._readings_out > 0 and self._dirty_bytes >= UNCOMMITTED_BYTES_MAX

    def _apply_committed(self) -> None:
        committed = self._committed
        machine = self.machine
        for _ in range(min(len(committed), APPLY_ENTRIES_PER_PUMP)):
            entry = committed.popleft()
            if entry.kind == EntryKind.COMMAND and entry.data:
                self._apply_command(machine, entry)
            elif entry.kind == EntryKind.MEMBERSHIP:
                self._apply_change(entry)
            else:
                machine.note_applied(entry.index, entry.term)
            self._dirty_bytes += len(entry.data)
            self._dirty_entries += 1
            if self._effects.stop is not None:
                return
        self.raft.applied(machine.applied_index)
        events = machine.take_events()
        if events:
            self.delivery.on_applied(events)

    def _apply_command(self, machine: Machine, entry: Entry) -> None:
        try:
            envelope = decode_command(entry.data)
        except UnknownCommand as error:
            self._effects.stop = str(error)
            return
        command = envelope.command
        outcome = self.apply(machine, entry.index, entry.term, envelope)
        token = self.proposals.complete(envelope.request_id)
        if self.quota.near:
            token = self._check_space(command, len(entry.data), outcome, token)
        if type(command) is not Put and type(command) is not Txn:
            token = self._after_command(envelope.request_id, command, outcome, token)
        if token is not None:
            self.reply(token, outcome)

    def _after_command(self, request_id: int, command: Command, outcome: Any, token: Token) -> Token:
        """What applying a rarer command means beyond the state. Returns the token, or None if it is not to be answered yet."""
        failed = isinstance(outcome, StoreError)
        if isinstance(command, Compact) and request_id == self._auto_compaction:
            self._auto_compacted(Revision(command.revision), outcome)
        if isinstance(command, LeaseGrant) and not failed and self.lessor.active:
            self.lessor.granted(command.id, command.ttl_s + self.config.tick_s, self.now_s)
        elif isinstance(command, LeaseRevoke) and not failed:
            self.lessor.revoked(command.id)
        elif isinstance(command, Compact) and not failed:
            self.delivery.on_compacted(Revision(command.revision))
            if command.physical and token is not None:
                self._physical_compactions.append((Revision(command.revision), outcome, token))
                self._commit_forced = True
                return None
        elif isinstance(command, AlarmChange) and command.action == AlarmAction.ACTIVATE:
            for refused in self._raising.stands(command.member_id, command.alarm):
                self.reply(refused, NoSpace())
        elif isinstance(command, PublishMember) and request_id == self._publish_id:
            self._published = True
        else:
            self.gate.applied(command, outcome, self.now_s)
        return token

    def _check_space(self, command: Command, entry_bytes: int, outcome: Any, token: Token) -> Token:
        """What was let in before the file was full has been applied, on every member alike; but its client is told that there is no room, and
        the member that has none raises its alarm (etcd A-3). Returns the token, or None if it is not to be answered yet."""
        fits = self._has_room(command, unsure=False)
        self.quota.written(entry_bytes)
        if fits or isinstance(outcome, StoreError):
            return token
        self._refuse_for_space(token)
        return None

    def _has_room(self, command: Command, *, unsure: bool) -> bool:
        """`unsure` is the answer when the state thread has the machine, so that nobody can look whether a guess is right."""
        quota = self.quota
        if not quota.allows(command) and quota.is_guess:
            if self._state_busy is not None:
                return unsure
            quota.looked(self.machine.bytes_in_use())
        return quota.allows(command)

    def _refuse_for_space(self, token: Token) -> None:
        """Raise our alarm, then tell whoever waits; while it stands already, tell at once."""
        if token is not None and AlarmMember(self.id, AlarmType.NOSPACE) in self.machine.alarms:
            self.reply(token, NoSpace())
        else:
            self._commit_forced = True  # so that the size which the operator is shown is the one that was found too large
            self.raise_alarm(self.id, AlarmType.NOSPACE, token)

    def raise_alarm(self, member_id: MemberId, alarm: AlarmType, token: Token = None) -> None:
        if self._raising.wanted(member_id, alarm, token, self.now_s):
            command = AlarmChange(AlarmAction.ACTIVATE, member_id, alarm)
            self.proposals.unsent.append(encode_command(self.proposals.next_id(), command))

    def _apply_change(self, entry: Entry) -> None:
        change: Change = decode_change(entry.data)
        details: ChangeDetails = decode_details(change.context)
        outcome = self.machine.change_members(change.kind, change.member_id, details.peer_urls)
        if not isinstance(outcome, StoreError):
            conf = self.raft.apply_change(change)
            self.machine.conf = encode_conf(conf)
            if change.kind == Action.REMOVE and change.member_id == self.id:
                self._leaving_ticks = 2 * self.config.raft.election_ticks
        self.machine.note_applied(entry.index, entry.term)
        token = self.proposals.complete(details.request_id)
        self._reconfiguration.applied(details.request_id)
        if token is not None:
            self.reply(token, outcome)

    def want(self, work: StateWork) -> None:
        """Queue work for the state thread that needs the last commit to hold everything applied so far."""
        self._state_wanted.append(work)
        self._commit_forced = True

    def _start_state_work(self) -> None:
        """Commit if it is time or if somebody wants it; then hand out what waited for the commit."""
        if self._install is not None:
            return
        clean = self._dirty_entries == 0
        while self._state_wanted and clean:
            self._hand_out(self._state_wanted.popleft())
            if self._state_busy is not None:
                return
        due = (
            self._dirty_entries >= self._commit_entries
            or self._dirty_bytes >= self.config.commit_bytes
            or (self._ticks_since_commit >= self.config.commit_ticks and not clean)
            or (self._commit_forced and not clean)
        )
        # An export reads the last commit by its meta, which no commit must get ahead of. And one that waited behind copies or hashes in the thread
        # would keep everybody from the machine as long as they take: so it is the commit that waits, and applying goes on.
        if due and not self._readings_out:
            self._begin_commit()
        elif clean:
            self._commit_forced = False

    def _begin_commit(self) -> None:
        self.machine.seal()
        self._committing = SnapshotMeta(self.machine.applied_index, self.machine.applied_term, self.raft.conf)
        self._dirty_entries = self._dirty_bytes = self._ticks_since_commit = 0
        self._commit_forced = False
        self._state_busy = CommitState()
        self._effects.state_work.append(self._state_busy)

    def _hand_out(self, work: StateWork) -> None:
        if isinstance(work, HashState) and work.revision >= 0:
            # Compaction may have gone on since it was asked for.
            if work.revision < self.machine.compacted_revision:
                self.reply(work.token, Compacted())
                return
            work = HashState(work.revision, self.machine.compacted_revision, work.token)
        if isinstance(work, ExportState) and work.receiver != NOBODY and self._corruption.is_corrupt():
            self.raft.snapshot_failed(work.receiver)  # a healthy leader will send its own
            return
        if isinstance(work, ExportState):
            work = ExportState(self._durable, work.receiver, work.token)
            self._readings_out += 1
        elif isinstance(work, HashState):
            self._readings_out += 1
        elif isinstance(work, DefragmentState):
            self._state_busy = work
        self._state_out.append(work)
        self._effects.state_work.append(work)

    def _start_install(self) -> None:
        """Replace the state by the one received, when neither log nor state is being written."""
        assert self._install is not None
        if self._writer.busy or self._state_busy is not None or self._log_cut_out:
            return
        self._state_busy = InstallState(self._install)
        self._effects.state_work.append(self._state_busy)

    def _maybe_cut_log(self) -> None:
        """Cut the log behind what the state has on disk, keeping entries for followers that are a little behind."""
        first = self.storage.snapshot().index
        durable = self._durable.index
        keep = self.config.catchup_entries
        if self._log_cut_out or durable - first < self.config.snapshot_entries + keep:
            return
        cut = Index(durable - keep)
        sending = self.raft.snapshot_floor()
        if sending is not None and cut - sending < self.config.retained_entries_max:
            cut = min(cut, sending)
        if cut <= first:
            return
        term = self.storage.term_at(cut)
        assert term is not None, "entries behind the durable state and after the last cut are in the log"
        self._log_cut_out = True
        self._effects.log_work.append(CutLog(SnapshotMeta(cut, term, self._durable.conf)))

    # --- reads --------------------------------------------------------------------------------------------------------

    def _perform(self, request: Any, token: Token) -> None:
        """Answer a read from the machine as it is now."""
        machine = self.machine
        try:
            if machine.accounts.enabled or type(request) is Guarded:
                who = request.who if type(request) is Guarded else None
                request = self.gate.admit(machine, request, self.now_s)
                if type(request) is AskLease:
                    self._leases.ask(request.question, who, token)
                    return
            kind = type(request)
            if kind is Range:
                steps = machine.range_steps(request)
                if steps is None:
                    self.reply(token, machine.range(request))
                else:
                    self._long_reads.append((steps, token))
            elif kind is Txn:
                self.reply(token, machine.read_txn(request))
            else:
                self._perform_rare(request, token)
        except StoreError as error:
            self.reply(token, error)

    def _perform_rare(self, request: Any, token: Token) -> None:
        if isinstance(request, RenewLease | LeaseTime):
            self._leases.answer(request, token)
        elif isinstance(request, LeaseWithKeys):
            keys = self.machine.lease_keys(request.id)
            self.reply(token, LeaseTimeToLive(LeaseId(request.id), request.ttl_s, request.granted_ttl_s, keys))
        elif isinstance(request, HashAt):
            revision = self.machine.check_hash_revision(request.revision)
            self._want_hash(revision, self.machine.compacted_revision, token)
        elif isinstance(request, ListLeases):
            self.reply(token, sorted(self.machine.leases))
        elif type(request) in self.machine.account_answers:
            self.reply(token, self.machine.account_answers[type(request)](request))
        elif isinstance(request, ListMembers):
            self.reply(token, self.machine.listed_members())
        else:
            assert isinstance(request, Barrier), request
            self.reply(token, None)

    def _continue_long_reads(self) -> None:
        """A step each, one after the other, as far as one turn of ours allows: most lists are short, and many of them are read in a turn."""
        left = LISTED_KEYS_PER_PUMP
        while self._long_reads and left > 0:
            steps, token = self._long_reads.popleft()
            left -= LIST_COSTS_KEYS
            try:
                result = next(steps)
            except StoreError as error:
                self.reply(token, error)
                continue
            if result is None:
                self._long_reads.append((steps, token))
                left -= KEYS_PER_STEP
            else:
                self.reply(token, result)
                left -= min(result.count, KEYS_PER_STEP)

    # --- by itself ----------------------------------------------------------------------------------------------------

    def _compact_automatically(self) -> None:
        """As with expired leases: only into our own log. If we lead no more, the new leader's compactor says what is due."""
        if self._compactor is None:
            return
        revision = self._compactor.due(self.now_s, self.machine.revision, self.is_leader)
        if revision is not None:
            self._auto_compaction = self.proposals.next_id()
            self.raft.propose_as_leader([encode_command(self._auto_compaction, Compact(revision))])
            self.note(f"starting auto {self._compactor.mode} compaction", revision=revision)

    def _auto_compacted(self, revision: Revision, outcome: Any) -> None:
        assert self._compactor is not None, "nobody else proposes under this id"
        self._auto_compaction = None
        succeeded = not isinstance(outcome, StoreError) or isinstance(outcome, Compacted)
        self._compactor.finished(self.now_s, revision, succeeded)
        if succeeded:
            self.note(f"completed auto {self._compactor.mode} compaction", revision=revision)
        else:
            self.note(f"failed auto {self._compactor.mode} compaction", is_warning=True, revision=revision, error=str(outcome))

    def _revoke_expired(self, lease_id: int) -> None:
        """Only into our own log, never forwarded: if we lead no more the entry dies with our term, and the new leader's clock counts."""
        self.raft.propose_as_leader([encode_command(self.proposals.next_id(), LeaseRevoke(lease_id))])

    # --- the rest -----------------------------------------------------------------------------------------------------

    def refuse(self, token: Token) -> bool:
        if self._stopped:
            self.reply(token, Stopped())
        elif self.is_learner:
            self.reply(token, NotSupportedForLearner())
        else:
            return False
        return True

    def reply(self, token: Token, outcome: Any) -> None:
        self._effects.replies.append((token, outcome))

    def send(self, message: AnyPeerMessage) -> None:
        self._effects.messages.append(message)

    def state_works(self) -> list[StateWork]:
        """What the state thread is at or is to do."""
        return [*self._state_wanted, *self._state_out]

    def note(self, text: str, *, is_warning: bool = False, **fields: Any) -> None:
        self._effects.notes.append(Note(text, fields, is_warning))

    def timeout(self) -> StoreError:
        """Which of etcd's time-outs fits: a leader lost within the request's time explains it."""
        lost_recently = self.now_s - self._leader_lost_at_s <= self.config.request_timeout_s
        return TimeoutLeaderFailed() if lost_recently else RequestTimeout()

    def _expire(self) -> None:
        expired = self.proposals.expire(self.now_s)
        self.proposals_failed += len(expired)
        for token in expired + self.reads.tick(self.now_s):
            if not isinstance(token, PeerToken | OwnToken):  # those who asked about a lease have deadlines of their own
                self.reply(token, self.timeout())
        for token in self._raising.expire(self.now_s):
            self.reply(token, NoSpace())
        if self._transfer is not None and self._transfer[2] <= self.now_s:
            self.reply(self._transfer[1], LeaderTransferTimeout())
            self._transfer = None
        self._reconfiguration.tick()

    def _leave(self) -> None:
        if self._leaving_ticks:
            self._leaving_ticks -= 1
            if not self._leaving_ticks:
                self._effects.stop, self._effects.removed = REMOVED, True

    def _publish(self) -> None:
        """Tell the cluster our name and client URLs, again and again until the entry comes back to us: then we are up to date and ready."""
        if self._published or self.raft.leader == NOBODY:
            return
        self._publish_in_ticks = PUBLISH_RETRY_TICKS
        # The same id every time: any of them that comes back will do, however slow the cluster is.
        self._publish_id = self._publish_id or self.proposals.next_id()
        command = PublishMember(self.id, self.config.name, self.config.client_urls)
        self.proposals.unsent.append(encode_command(self._publish_id, command))
