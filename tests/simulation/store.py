"""Whole members with clients: the real consensus, state machine, watches and leases on a disk in memory; every promise of the store checked."""

from collections import Counter
from collections.abc import Callable

from keelson.drills.checkers import linearizability, watch_guarantees
from keelson.drills.checkers.reference import Reference
from kvstore.ids import MemberId
from kvstore.member.requests import RenewLease
from kvstore.model import LeaseGrant, Range, RangeResult, Txn, WatchUpdate
from kvstore.raft.membership import Change, ChangeKind
from kvstore.raft.messages import ConfState
from kvstore.statemachine.members import Action
from tests.simulation.checkers.leases import LeaseChecker
from tests.simulation.member import MemberProcess
from tests.simulation.options import Options
from tests.simulation.workload.clients import Broken, Client, Compactor, Record, Refused
from tests.simulation.workload.leases import KeepAlive, LeaseOwner
from tests.simulation.workload.watches import Stream, WatchClient
from tests.simulation.world import RaftProcess, World

LEASES_END_WITHIN_S = 40.0
"""The longest TTL of the workload, with skew, and then some; see `checkers.leases`."""

_WITH_URLS = (ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER, ChangeKind.UPDATE)

Answered = Callable[[object], None]


class StoreWorld(World):
    members: dict[MemberId, MemberProcess]  # type: ignore[assignment]

    def __init__(self, seed: int, options: Options | None = None, trace: bool = False) -> None:
        self.reference = Reference()
        self.record = Record()
        self.changes_told: Counter[str] = Counter()
        super().__init__(seed, options, trace)
        options = self.options
        self.leases = LeaseChecker(self._skew_between_clocks())
        self._client_rng = self.timeline.random("connections")
        self.clients = [Client(self, self.record, number) for number in range(options.clients)]
        self.compactor = Compactor(self, self.record)
        self.owners = [LeaseOwner(self, self.record, self.leases, number) for number in range(1, 4 if options.leases else 1)]
        self.watchers = [WatchClient(self, number) for number in range(options.watchers)]

    def _skew_between_clocks(self) -> float:
        return self.options.skew

    def make(self, member: MemberId, bootstrap: ConfState) -> MemberProcess:
        return MemberProcess(self, member, bootstrap)

    # --- what clients can do

    def client_members(self) -> list[MemberId]:
        """While things go wrong, whoever ever was there; later, when progress is demanded, a client has learned who is in the cluster."""
        if not self.healed:
            return [process.id for process in self.processes()]
        conf = self.membership()
        return [*conf.voters, *conf.learners]

    def ask(self, member: MemberId, request: object, answered: Answered) -> None:
        self.timeline.after(self._client_latency_s(), self._arrive, member, request, answered)

    def _client_latency_s(self) -> float:
        return 0.0005 + 0.002 * self._client_rng.random()

    def _answer(self, answered: Answered, result: object) -> None:
        self.timeline.after(self._client_latency_s(), answered, result)

    def _arrive(self, member: MemberId, request: object, answered: Answered) -> None:
        process = self.members[member]
        # The server opens its client port when the member is ready: when it has applied again all that it may have answered for.
        if not process.running or not process.member.is_ready:
            self._answer(answered, Refused())
            return
        process.connect(lambda: self._answer(answered, Broken()), answered)
        process.input(self._submit, process, request, answered)

    def _submit(self, process: MemberProcess, request: object, answered: Answered) -> None:
        def token(outcome: object) -> None:
            process.disconnect(answered)
            if isinstance(outcome, RangeResult):
                self.state.on_answer(process.id, outcome.revision)
            self._answer(answered, outcome)

        member = process.member
        if isinstance(request, Range):
            (member.read_serializable if request.serializable else member.read)(request, token)
        elif isinstance(request, Txn) and _only_reads(request):
            member.read(request, token)
        elif isinstance(request, LeaseGrant):
            member.grant_lease(request.id, request.ttl_s, token)
        elif isinstance(request, KeepAlive):
            member.ask_lease(RenewLease(request.lease_id), token)
        else:
            member.propose(request, token)  # type: ignore[arg-type]

    def open_stream(self, member: MemberId, deliver: Callable[[WatchUpdate], bool], broken: Callable[[], None]) -> Stream | None:
        process = self.members[member]
        if process.member.is_learner or not process.member.is_ready:
            return None
        process.connect(broken, deliver)
        return process.member.open_stream(deliver)

    def with_member(self, member: MemberId, call: Callable[[], None]) -> bool:
        process = self.members[member]
        if not process.running or process.paused:
            return False
        process.input(call)
        return True

    # --- the run

    def progress(self) -> int:
        return self.record.acknowledged_writes

    def stop_clients(self) -> None:
        for busy in (*self.clients, self.compactor, *self.owners, *self.watchers):
            busy.stopped = True  # type: ignore[attr-defined]
        if self.options.leases:
            healed_s = self.timeline.now_s
            self.timeline.run(healed_s + LEASES_END_WITHIN_S)
            leader = self.leader()
            assert leader is not None
            self.leases.at_end(dict(self.members[leader].member.machine.leases), healed_s, self.timeline.now_s)

    def converged(self) -> bool:
        conf = self.membership()
        members = [self.members[member] for member in conf.voters + conf.learners]
        if not all(process.running for process in members) or {process.applied() for process in members} != {self.consensus.committed_last}:
            return False
        return all(self._has_been_told(watcher, {process.id for process in members}) for watcher in self.watchers)

    def _has_been_told(self, watcher: WatchClient, members: set[MemberId]) -> bool:
        """Everything there is. Who watches a member that is out of the cluster without having heard of it is not told any more."""
        record = watcher.record
        if not watcher.connected or record is None:
            return False
        return record.member not in members or not watch_guarantees.is_missing(record, self.reference.changes, self.reference.revision)

    def who_changes(self, leader: RaftProcess) -> RaftProcess:
        """Any member may be asked; it passes the change on to the leader."""
        awake = [process for process in self.running() if not process.paused and not process.member.is_learner]
        return self.rng.choice([leader, *awake])

    def change(self, asked: RaftProcess, change: Change) -> None:
        """Through the member's own interface: checked, passed on to the leader, answered when it is applied. Nobody waits for the answer here."""
        assert isinstance(asked, MemberProcess)
        urls = (f"http://m{change.member_id}:{2380 + self.rng.randrange(3)}",) if change.kind in _WITH_URLS else ()
        asked.input(asked.member.change_members, Action(change.kind), change.member_id, urls, self._told)

    def _told(self, outcome: object) -> None:
        self.timeline.say(f"a change of the membership was answered: {outcome!r}")
        self.changes_told[type(outcome).__name__] += 1

    def judge(self) -> None:
        last = self.consensus.committed_last
        self.state.at_end({process.id: process.hash() for process in self.running() if process.applied() == last})
        for client in self.clients:
            client.give_up()
        linearizability.check(self.record.history)
        records = [record for watcher in self.watchers for record in watcher.records]
        watch_guarantees.check_all(records, self.reference.changes, self.compactor.asked)


def _only_reads(request: Txn) -> bool:
    return all(isinstance(step, Range) for step in request.success + request.failure)
