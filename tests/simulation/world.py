"""A world: members, wire and adversary made from one seed; a run first hurts, then heals a quorum and demands progress, then heals all.

`World` holds what both flavours share; `bare.BareWorld` runs the Raft core alone on a list, `store.StoreWorld` whole members with clients.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from keelson.drills.checkers.violation import Violation
from kvstore.ids import Index, MemberId, Term
from kvstore.raft.config import Config
from kvstore.raft.core import Raft
from kvstore.raft.membership import Change, changed, decode_change
from kvstore.raft.messages import ConfState, Entry, EntryKind, Message
from kvstore.raft.ready import Role
from kvstore.raft.storage import Storage
from tests.simulation import changes
from tests.simulation import options as swarm
from tests.simulation.checkers.consensus import ConsensusChecker
from tests.simulation.checkers.state import StateChecker
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import Network
from tests.simulation.options import Options
from tests.simulation.process import TICK_S, Process
from tests.simulation.timeline import Timeline

PROGRESS_WITHIN_ELECTIONS = 40
"""A healed quorum has to get on within this many election timeouts; a handful is the rule, snapshots and slow disks take more."""

CONVERGE_WITHIN_S = 120.0
"""After everything is healed all members have to reach the same state within this time."""


class RaftProcess(Process):
    """A process with a Raft core in it, watched from outside."""

    def __init__(self, world: "World", member: MemberId, bootstrap: ConfState) -> None:
        super().__init__(world.timeline, member, world.options.skew)
        self.world = world
        self.bootstrap = bootstrap
        """The first members' configuration; empty for one who joins later."""
        self._seen: tuple[Term, Role] | None = None
        self._led_commit = 0
        self._led_conf = bootstrap

    raft: Raft
    """The core; only while the process is running."""

    def pump(self) -> None:
        """Let the member do what its inputs made possible."""
        raise NotImplementedError

    def applied(self) -> int:
        """The index up to which its state has applied the log; only while it is running."""
        raise NotImplementedError

    def confs(self) -> list[ConfState]:
        """The configuration in effect here, and those that entries not yet applied will bring if they are committed."""
        raft = self.raft
        confs = [raft.conf]
        first = self.applied() + 1
        while entries := raft.log.entries(first, 1 << 30):
            for entry in entries:
                if entry.kind == EntryKind.MEMBERSHIP:
                    confs.append(changed(confs[-1], decode_change(entry.data)))
            first = entries[-1].index + 1
        return confs

    def send(self, message: Message) -> None:
        self.world.consensus.on_message(message)
        self.world.network.send(message)

    def observe(self) -> None:
        """Called after each input: did the member's role or term change?"""
        now = (self.raft.term, self.raft.role)
        if now == self._seen:
            if now[1] is Role.LEADER:
                if self.raft.commit_index != self._led_commit:
                    self._observe_commit()
                self._led_conf = self.raft.conf
            return
        term, role = self._seen = now
        self.timeline.say(f"{self.id} is {role.value} in term {term}")
        self.world.state.on_term(self.id, term)
        if role is Role.LEADER:
            log = self.raft.log
            self.world.consensus.on_leader(self.id, term, log.term_at, log.first_index() - 1)
            self._led_commit, self._led_conf = self.raft.commit_index, self.raft.conf

    def _observe_commit(self) -> None:
        """The leader moved its commit index: was it entitled to?"""
        raft, members = self.raft, self.world.members
        index, confs = raft.commit_index, (self._led_conf, raft.conf)
        self._led_commit = index
        # Of both configurations if one has just been replaced: the commit may have come before.
        holders = [{voter: members[voter].stored_term_at(index) for voter in conf.voters} for conf in confs]
        self.world.consensus.on_leader_commit(self.id, raft.term, index, raft.log.term_at(index), holders)

    def stored_term_at(self, index: int) -> int | None:
        """Term of the entry on this member's disk, running or not; a snapshot behind `index` counts as term 0."""
        stored = self.raft_storage()
        return 0 if index < stored.snapshot().index else stored.term_at(Index(index))

    def raft_storage(self) -> Storage:
        """The log as it is on disk."""
        raise NotImplementedError

    def crash(self) -> None:
        super().crash()
        self._seen = None
        self.world.state.on_crash(self.id)


class World(ABC):
    def __init__(self, seed: int, options: Options | None = None, trace: bool = False) -> None:
        self.timeline = Timeline(seed, trace)
        self.options = options or swarm.draw(self.timeline.random("options"))
        self.timeline.say(f"seed {seed}: {self.options}")
        self.consensus = ConsensusChecker()
        self.state = StateChecker()
        self.network = Network(self.timeline, self.options, self._deliver, self._unreachable)
        self.members: dict[MemberId, RaftProcess] = {}
        self.rng = self.timeline.random("world")
        self._last_id = 0
        voters = tuple(self.new_id() for _ in range(self.options.members))
        for member in voters:
            self.add(member, ConfState(voters))
        self.nemesis = Nemesis(self.timeline, self.options, self.network, self)
        self.healed = False
        self._healed_members: set[MemberId] = set()

    # --- what a flavour does

    @abstractmethod
    def make(self, member: MemberId, bootstrap: ConfState) -> RaftProcess: ...

    @abstractmethod
    def progress(self) -> int:
        """Rises whenever a client's write has been acknowledged."""

    @abstractmethod
    def stop_clients(self) -> None:
        """No new requests; open ones may end."""

    @abstractmethod
    def converged(self) -> bool:
        """Whether all members have applied everything."""

    @abstractmethod
    def judge(self) -> None:
        """The checks that need the whole history; raises Violation."""

    @abstractmethod
    def change(self, asked: RaftProcess, change: Change) -> None:
        """Ask a member to change the membership."""

    # --- members

    def new_id(self) -> MemberId:
        self._last_id += 1
        return MemberId(self._last_id)

    def add(self, member: MemberId, bootstrap: ConfState) -> RaftProcess:
        process = self.members[member] = self.make(member, bootstrap)
        process.start()
        return process

    def processes(self) -> list[RaftProcess]:
        return [process for process in self.members.values() if not process.gone]

    def running(self) -> list[RaftProcess]:
        return [process for process in self.members.values() if process.running]

    def leader(self) -> MemberId | None:
        """Who leads in the highest term, as far as anybody thinks so."""
        leaders = [(process.raft.term, process.id) for process in self.running() if process.raft.role is Role.LEADER]
        return max(leaders)[1] if leaders else None

    def _deliver(self, message: Message) -> None:
        process = self.members.get(message.receiver)
        if process is not None:
            process.deliver(message)

    def _unreachable(self, sender: MemberId, receiver: MemberId) -> None:
        self.members[sender].unreachable(receiver)

    def raft_config(self, member: MemberId) -> Config:
        options = self.options
        return Config(
            member,
            options.election_ticks,
            pre_vote=options.pre_vote,
            append_bytes_max=options.append_bytes_max,
            inflight_appends_max=options.inflight_appends_max,
            inflight_bytes_max=options.inflight_bytes_max,
            uncommitted_bytes_max=options.uncommitted_bytes_max,
            tail_bytes_max=options.tail_bytes_max,
            committed_bytes_max=options.committed_bytes_max,
            snapshot_chunk_bytes=options.snapshot_chunk_bytes,
        )

    # --- the cluster's own operations

    voters_min = 2
    """With changes that count when applied, the last of two may wait for the removed one's vote for ever (etcd warns of it, too)."""

    def change_membership(self) -> None:
        leader = self._awake_leader()
        if leader is None:
            return
        gone = [process.id for process in self.members.values() if process.gone]
        for wish in changes.draw(self.rng, leader.raft.conf, self.voters_min, gone):
            member = wish.member_id
            if member is None:
                member = self.new_id()
                self.add(member, ConfState())
            asked = self.who_changes(leader)
            self.timeline.say(f"{asked.id} is asked to {wish.kind.name} {member}")
            self.change(asked, Change(wish.kind, member))

    def who_changes(self, leader: RaftProcess) -> RaftProcess:
        """Of whom a change is asked."""
        return leader

    def transfer_leadership(self) -> None:
        leader = self._awake_leader()
        if leader is None:
            return
        target = self.rng.choice(leader.raft.conf.voters)
        self.timeline.say(f"{leader.id} is asked to hand over to {target}")
        leader.raft.transfer_leadership(target)
        leader.pump()

    def _awake_leader(self) -> RaftProcess | None:
        leader = self.leader()
        process = self.members[leader] if leader is not None else None
        return process if process is not None and not process.paused else None

    def membership(self) -> ConfState:
        """The configuration at whoever has applied most."""
        return max(self.running(), key=lambda process: process.applied()).raft.conf

    # --- observation

    def committed(self, member: MemberId, entries: Iterable[Entry]) -> None:
        self.consensus.on_committed(member, entries)

    # --- the run

    def run(self) -> None:
        """Raises Violation if any promise is broken."""
        timeline, options = self.timeline, self.options
        timeline.run(options.hurt_s)
        self.heal_quorum()
        election_s = options.election_ticks * TICK_S
        within_s = PROGRESS_WITHIN_ELECTIONS * election_s + 5 * options.client_timeout_s + self._backlog_s()
        self._demand(within_s, self._progressed(), "a healed quorum gets on")
        self.heal_all()
        self._demand(CONVERGE_WITHIN_S, self._progressed(), "a healed cluster gets on")
        self.stop_clients()
        self._demand(CONVERGE_WITHIN_S, self.converged, "a healed cluster converges")
        self.judge()

    def _backlog_s(self) -> float:
        """How long it may take to distribute what leaders took in while nobody followed, if each entry goes alone and waits for a disk and a wire."""
        options = self.options
        logs = [process.raft.log for process in self.running()]
        entries = max(log.last_index for log in logs) - min(log.commit for log in logs)
        return entries * 2 * (options.disk_s + options.latency_s + options.jitter_s)

    def _progressed(self) -> "Progressed":
        return Progressed(self)

    def _demand(self, within_s: float, reached: "Progressed | object", promise: str) -> None:
        timeline = self.timeline
        deadline_s = timeline.now_s + within_s
        while not reached():  # type: ignore[operator]
            if timeline.now_s >= deadline_s:
                raise Violation("progress", f"{promise}: not within {within_s:.0f} s; {self.describe()}")
            timeline.run(timeline.now_s + 0.5)
            if not all(self._suffices(self._healed_members, member) for member in self.running()):
                # A change that waited for the one before it, or was on its way, when the quorum was drawn: it is none any more, and needs the others.
                self.heal_all()

    def describe(self) -> str:
        lines = []
        for p in self.processes():
            seen = f"{p.raft.role.value}@{p.raft.term} applied {p.applied()} of {p.raft.log.last_index} {p.raft.conf}" if p.running else "down"
            lines.append(f"  {p.id}: {seen}")
        return "\n" + "\n".join(lines)

    def heal_quorum(self) -> None:
        """The adversary stops. Members that are a quorum in every configuration anybody may be in are connected, the others stay away."""
        self.nemesis.stop()
        self.healed = True
        for process in self.running():
            process.resume()
        healed = self._healed_members = self._draw_quorum()
        self.timeline.say(f"healed quorum: {sorted(healed)}")
        self.network.heal()
        for process in self.processes():
            process.slow_disk_until_s = 0.0
            process.disk_is_full = False
            if process.id in healed:
                process.start()
            elif self.rng.random() < 0.5:
                process.crash()
            for other in self.processes():
                if (process.id in healed) != (other.id in healed):
                    self.network.cut_link(process.id, other.id)

    def _draw_quorum(self) -> set[MemberId]:
        for process in self.processes():
            process.start()
        candidates = self.processes()
        self.rng.shuffle(candidates)
        healed: set[MemberId] = set()
        for process in candidates:
            healed.add(process.id)
            if all(self._suffices(healed, member) for member in candidates):
                break
        return healed

    @staticmethod
    def _suffices(healed: set[MemberId], member: RaftProcess) -> bool:
        """Whether `healed` has a majority in every configuration that `member` knows of."""
        return all(not conf.voters or len(healed.intersection(conf.voters)) > len(conf.voters) // 2 for conf in member.confs())

    def heal_all(self) -> None:
        self.timeline.say("everything healed")
        self._healed_members = set(self.members)
        self.network.heal()
        for process in self.processes():
            process.start()


class Progressed:
    """True once clients' writes are acknowledged that were not when this was made."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._before = world.progress()

    def __call__(self) -> bool:
        return self._world.progress() > self._before + 1
