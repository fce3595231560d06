"""A whole member in a process: does what `kvstore.server` does for one, with a disk in memory and virtual time.

Two disks work in parallel, each on one thing at a time, as the server's two threads do. What is on its way to a disk when the process crashes
got there as a whole or not at all; but what the log's journal has written and not flushed gets there as chance has it, sector by sector, if the
power goes, and stays in the system's memory until then, if only the process dies.
"""

import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from kvstore.accounts import BY_THE_CLUSTER
from kvstore.errors import StoreError
from kvstore.ids import ClusterId, Index, MemberId, Revision, Term
from kvstore.member.changes import Rules
from kvstore.member.config import MemberConfig
from kvstore.member.effects import CommitState, CutLog, ExportState, HashState, InspectState, InstallState, LogWork, Persist, StateWork, StoreChunk
from kvstore.member.member import Member, decode_conf, encode_conf
from kvstore.model import LeaseRevoke
from kvstore.model import Member as MemberRecord
from kvstore.mvcc.events import RevisionEvents
from kvstore.mvcc.hash import hash_kv
from kvstore.mvcc.inspection import inspect
from kvstore.raft.messages import ConfState, Message, SnapshotMeta
from kvstore.raft.ready import Ready
from kvstore.statemachine.commands import Command
from kvstore.statemachine.machine import Machine
from kvstore.storage.engine import DiskFull, EngineError, Importer
from kvstore.storage.memory_engine import MemoryDisk, MemoryExport
from kvstore.storage.raftlog import RaftLog
from tests.simulation.process import TICK_S
from tests.simulation.world import RaftProcess

if TYPE_CHECKING:
    from tests.simulation.store import StoreWorld

_encode = msgspec.msgpack.Encoder(enc_hook=repr).encode

EPSILON_S = 0.0002
"""A turn of the event loop: what arrives within it is one batch."""


class ObservedMachine(Machine):
    """Tells the checkers what it applied."""

    observer: "MemberProcess"

    def apply(self, index: Index, term: Term, command: Command, user: str = "", auth_revision: int = BY_THE_CLUSTER) -> Any:
        outcome = super().apply(index, term, command, user, auth_revision)
        self.observer.on_applied(index, command, outcome)
        return outcome

    def note_applied(self, index: Index, term: Term) -> None:
        super().note_applied(index, term)
        self.observer.on_applied(index, None, None)

    def take_events(self) -> list[RevisionEvents]:
        events = super().take_events()
        if events:
            self.observer.world.reference.on_changes(events)
        return events


class FollowerExport:
    """`raft.storage.SnapshotSource` over an export."""

    def __init__(self, meta: SnapshotMeta, export: MemoryExport) -> None:
        self.meta = meta
        self.read = export.read
        self.total_bytes = export.total_bytes


class MemberProcess(RaftProcess):
    world: "StoreWorld"
    member: Member
    machine: ObservedMachine
    log: RaftLog

    def __init__(self, world: "StoreWorld", member: MemberId, bootstrap: ConfState) -> None:
        self.disk = MemoryDisk(world.options.journal_bytes)
        self._disk_rng = world.timeline.random(f"disk {member}")
        self._begin_disk(bootstrap)
        super().__init__(world, member, bootstrap)

    def _begin_disk(self, conf: ConfState) -> None:
        """What a first start writes: for a founder the configuration and its members, for one who joins nothing: it must be sent a snapshot."""
        log = self._open_log()
        log.bootstrap(conf, b"simulated")
        state = self.disk.open_state()
        machine = Machine(state)
        machine.begin(state.begin_write())
        machine.conf = encode_conf(conf)
        for voter in conf.voters:
            machine.put_member(record_of(voter))
        machine.seal()
        machine.transaction.commit()

    def _open_log(self) -> RaftLog:
        return RaftLog(self.disk.open_log(), self.disk.open_journal(), lambda: self._disk_rng.getrandbits(64))

    # --- life

    def boot(self) -> None:
        options = self.world.options
        self._connections: dict[Any, Callable[[], None]] = {}
        self._log_queue: deque[LogWork] = deque()
        self._log_busy: LogWork | None = None
        self._state_queue: deque[StateWork] = deque()
        self._state_busy: StateWork | None = None
        self._importer: Importer | None = None
        self._turn_due = False
        self.log = self._open_log()
        self._open_machine()
        machine, log = self.machine, self.log
        if log.term_at(machine.applied_index) != machine.applied_term:
            # A crash came between installing the state and resetting the log (the server's bootstrap._repair). On a full disk that fails and is tried
            # again, and nothing else happens meanwhile: as if there had been room at once.
            full, self.disk_is_full = self.disk_is_full, False
            log.reset(SnapshotMeta(machine.applied_index, machine.applied_term, decode_conf(machine.conf)))
            self.disk_is_full = full
        base = log.snapshot()
        terms = [term for index in range(base.index + 1, log.last_index() + 1) if (term := log.term_at(Index(index))) is not None]
        self.world.consensus.on_start(self.id, log.hard_state(), base.index, base.term, terms)
        self.world.state.on_start(self.id, machine.applied_index)
        config = MemberConfig(
            ClusterId(7),
            self.world.raft_config(self.id),
            f"m{self.id}",
            (f"http://m{self.id}:2379",),
            "3.6.0",
            "3.6.0",
            election_timeout_s=options.election_ticks * TICK_S,
            tick_s=TICK_S,
            snapshot_entries=options.snapshot_entries,
            catchup_entries=options.catchup_entries,
            retained_entries_max=2000,
            commit_entries=options.commit_entries,
            first_election_early=options.first_election_early,
            reconfiguration=Rules(options.strict_changes, learners_max=2),
        )
        self.member = Member(config, log, machine, draw=self.rng.randint, first_request_id=self.rng.getrandbits(64), now_s=self.own_time_s())
        self.raft = self.member.raft
        self._observe_readys()
        self._turn_soon()

    def _open_machine(self) -> None:
        engine = self.disk.open_state()
        self.machine = ObservedMachine(engine)
        self.machine.observer = self
        self.machine.begin(engine.begin_write())

    def _observe_readys(self) -> None:
        raft, consensus, take = self.raft, self.world.consensus, self.raft.ready

        def ready() -> Ready | None:
            taken = take()
            if taken is not None:
                consensus.on_entries(self.id, raft.term, taken.entries)
                if taken.committed:
                    consensus.on_committed(self.id, taken.committed)
            return taken

        raft.ready = ready  # type: ignore[method-assign]

    @property
    def disk_is_full(self) -> bool:
        return self.disk.room.full

    @disk_is_full.setter
    def disk_is_full(self, full: bool) -> None:
        self.disk.room.full = full

    def _end_for_want_of_room(self) -> None:
        """What the server does when its log or its state cannot be written; and what its supervisor does about it."""
        self.timeline.say(f"{self.id} has no room to write")
        self.crash()
        self.timeline.after(self.rng.uniform(0.1, 2.0), self.start)

    def lose_power(self) -> None:
        if self._log_busy is not None and self.rng.random() < 0.5 and not self.disk_is_full:
            # Half of what is under way is done; of the rest half has begun: written, but not flushed.
            self.disk.journal.dies_in_sync = self._disk_rng.random() < 0.5
            with contextlib.suppress(EngineError):
                self._write_log(self._log_busy)
            self.disk.journal.dies_in_sync = False
        if isinstance(self._state_busy, CommitState) and self.rng.random() < 0.5 and not self.disk_is_full:
            self.machine.transaction.commit()
        elif isinstance(self._state_busy, InstallState):
            # The state is put in place first, the log is reset after it: the crash may come before, between and behind the two.
            step = self.rng.randrange(3)
            if step >= 1 and self._importer is not None:
                self.disk.state.crash()
                self._importer.finish()
            if step == 2 and not self.disk_is_full:
                self.log.reset(self._state_busy.meta)
        # The process alone dies, or the power goes and takes with it what only the system's memory held.
        self.disk.crash(self._disk_rng if self._disk_rng.random() < 0.6 else None)
        for broken in self._connections.values():
            self.timeline.after(0.001 + self.rng.random() * 0.1, broken)
        del self.member, self.raft

    # --- inputs

    def input(self, call: Callable[..., None], *args: Any) -> None:
        """Do `call(*args)` in this process, and then what follows from it."""
        self._run(self._life, self._do_input, (call, *args))

    def _do_input(self, call: Callable[..., None], *args: Any) -> None:
        call(*args)
        self._turn_soon()

    def on_tick(self) -> None:
        self.member.tick(self.own_time_s())
        self.pump()

    def on_message(self, message: Message) -> None:
        if self.world.options.hang_up and message.sender in self.machine.removed_members:
            self.world.members[message.sender].told_removed()
            return
        self.member.report_connected(message.sender)
        self.member.report_heard(message.sender)
        self.member.step(message)  # type: ignore[arg-type]
        self._turn_soon()

    def on_unreachable(self, peer: MemberId) -> None:
        self.member.report_unreachable(peer)
        self._turn_soon()

    def connect(self, broken: Callable[[], None], connection: Any) -> None:
        """`broken` is called if the process crashes before `disconnect`."""
        self._connections[connection] = broken

    def disconnect(self, connection: Any) -> None:
        self._connections.pop(connection, None)

    def raft_storage(self) -> RaftLog:
        return self.log

    def applied(self) -> int:
        return self.machine.applied_index

    def hash(self) -> object:
        """What must be equal on members that applied the same: every version, the leases, the members, the revisions."""
        machine = self.machine
        txn = machine.transaction
        leases = sorted((lease_id, ttl_s, sorted(machine.lease_keys(lease_id))) for lease_id, ttl_s in machine.leases.items())
        members = (machine.listed_members(), sorted(machine.removed_members))
        checksum = hash_kv(txn, machine.tables, machine.revision, machine.compacted_revision)
        return (checksum, machine.revision, machine.compacted_revision, repr(leases), repr(members), machine.conf)

    # --- the turn

    def _turn_soon(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self.later(EPSILON_S, self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        self.pump()

    def pump(self) -> None:
        member = self.member
        member.pump()
        effects = member.take_effects()
        for message in effects.messages:
            self.send(message)
        self._log_queue += effects.log_work
        self._state_queue += effects.state_work
        self.observe()
        if effects.stop is not None:
            self.machine.take_events()  # for the checkers; its own watchers will not hear of them
        for token, outcome in effects.replies:
            if token is not None:
                token(outcome)
        if effects.stop is not None:
            self._stop(effects.stop, removed=effects.removed)
            return
        self._begin_log_work()
        self._begin_state_work()
        if member.has_work:
            self._turn_soon()

    def _stop(self, why: str, *, removed: bool) -> None:
        self.timeline.say(f"{self.id} stops: {why}")
        assert removed, f"member {self.id} stopped: {why}"
        self.gone = True
        self.crash()

    def told_removed(self) -> None:
        """A peer hung up on it, saying why."""
        if self.running and not self.paused and not self.member.is_leaving:
            self.later(EPSILON_S, self._on_told_removed)

    def _on_told_removed(self) -> None:
        if not self.member.is_leaving:
            self._stop("a peer says that it was removed", removed=True)

    # --- the disks

    def _begin_log_work(self) -> None:
        if self._log_busy is None and self._log_queue:
            work = self._log_busy = self._log_queue.popleft()
            size = sum([len(entry.data) for entry in work.entries]) if isinstance(work, Persist) else 0
            self.later(self.disk_delay_s(self.world.options.disk_s, size), self._end_log_work)

    def _write_log(self, work: LogWork) -> None:
        if isinstance(work, Persist):
            self.log.append(work.entries, work.hard_state)
        else:
            self.log.cut(work.meta)

    def _end_log_work(self) -> None:
        work, self._log_busy = self._log_busy, None
        assert work is not None
        try:
            self._write_log(work)
            if self.log.wants_checkpoint:
                self.log.checkpoint()
        except DiskFull:
            self._end_for_want_of_room()
            return
        if isinstance(work, CutLog):
            self.member.log_cut()
        else:
            self.member.persisted()
        self.pump()

    def _begin_state_work(self) -> None:
        if self._state_busy is None and self._state_queue:
            self._state_busy = self._state_queue.popleft()
            self.later(self.disk_delay_s(self.world.options.disk_s), self._end_state_work)

    def _end_state_work(self) -> None:
        work, self._state_busy = self._state_busy, None
        member = self.member
        if isinstance(work, CommitState):
            try:
                self.machine.transaction.commit()
            except DiskFull:
                self._end_for_want_of_room()
                return
            self.machine.begin(self.disk.state.begin_write())
            member.state_committed()
        elif isinstance(work, ExportState):
            member.state_exported(work, self._export(work))
        elif isinstance(work, HashState):
            txn = self.disk.state.begin_read()
            member.state_hashed(work, hash_kv(txn, self.machine.tables, work.revision, work.compacted_revision))
        elif isinstance(work, InspectState):
            txn = self.disk.state.begin_read()
            member.state_inspected(work, inspect(txn, self.machine.tables, work.revision, thorough=work.thorough))
        elif isinstance(work, StoreChunk):
            self._store_chunk(work)
        else:
            assert isinstance(work, InstallState), work
            self._install(work)
        if self.running:
            self.pump()

    def _export(self, work: ExportState) -> FollowerExport | DiskFull:
        try:
            return FollowerExport(work.meta, self.disk.state.export())
        except DiskFull as error:
            return error

    def _store_chunk(self, work: StoreChunk) -> None:
        chunk = work.chunk
        if chunk.offset == 0:
            self._importer = self.disk.import_state(chunk.total_bytes)
        if self._importer is None:
            return  # an earlier piece did not fit
        try:
            self._importer.write(chunk.offset, chunk.data)
        except DiskFull:
            self._importer = None

    def _install(self, work: InstallState) -> None:
        importer, self._importer = self._importer, None
        if importer is None:
            self.member.state_refused(work.meta)
            return
        if self.disk_is_full:
            self._end_for_want_of_room()  # at any step of it; a start finds out at which
            return
        self.machine.transaction.abort()
        importer.finish()
        self._open_machine()
        assert (self.machine.applied_index, self.machine.applied_term) == (work.meta.index, work.meta.term), "the state is of its meta"
        self.log.reset(work.meta)
        self.world.consensus.on_installed(self.id, work.meta)
        self.world.state.on_start(self.id, work.meta.index)
        self.member.state_installed(work.meta, self.machine)

    # --- the checkers

    def on_applied(self, index: int, command: Command | None, outcome: Any) -> None:
        machine = self.machine
        told = repr(outcome) if isinstance(outcome, StoreError) else _encode(outcome)
        self.world.state.on_applied(self.id, index, (told, machine.revision, machine.compacted_revision))
        if type(command) is LeaseRevoke and not isinstance(outcome, StoreError):
            self.world.leases.on_gone(command.id, self.timeline.now_s)


def record_of(member: MemberId) -> MemberRecord:
    """What the replicated state knows of a member that never started."""
    return MemberRecord(member, "", (f"http://m{member}:2380",), ())


__all__ = ["MemberProcess", "Revision", "record_of"]
