"""The Raft core alone: every member is a core, a log in memory that crashes eat, and a list as state machine. Nothing else can be to blame.

The state is the list of commands applied; a snapshot is that list. Clients propose numbered commands at any member and read through
ReadIndex: a read index must be at least as large as the index of every command that was acknowledged before the read was asked.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from keelson.drills.checkers.violation import Violation
from kvstore.ids import NO_INDEX, NO_TERM, NOBODY, Index, MemberId, Term
from kvstore.raft.core import Proposed, Raft
from kvstore.raft.membership import Change, decode_change
from kvstore.raft.messages import ConfState, Entry, EntryKind, HardState, Message, SnapshotMeta
from kvstore.raft.ready import Ready, SnapshotChunk
from tests.simulation.options import Options
from tests.simulation.world import RaftProcess, World

RETAINED_ENTRIES_MAX = 500
BACKLOG_MAX = 100
"""Uncommitted entries at which clients hold back: some worlds replicate one entry a round trip."""


COMMANDS_KEPT = 30


class State(msgspec.Struct):
    """What the list machine holds, and where in the log it is: the newest commands, and how many and which there were before."""

    meta: SnapshotMeta
    commands: list[bytes]
    count: int = 0
    digest: int = 0

    def add(self, command: bytes) -> None:
        self.count += 1
        self.digest = crc32(command, self.digest)
        self.commands.append(command)
        if len(self.commands) > COMMANDS_KEPT:
            del self.commands[0]

    def copy(self) -> "State":
        return State(self.meta, list(self.commands), self.count, self.digest)


def beginning(conf: ConfState) -> SnapshotMeta:
    """Where a member's log begins. The founders' is taken to be cut behind index 1 already, so that whoever joins later, knowing no
    configuration, is sent a snapshot with it and never replays the log from an empty one (it would come to think that it is alone)."""
    return SnapshotMeta(Index(1), Term(1), conf) if conf.voters else SnapshotMeta(NO_INDEX, NO_TERM, conf)


class BareLog:
    """`raft.storage.Storage` on lists: what is on disk now. A write in flight is the process's business."""

    def __init__(self, conf: ConfState) -> None:
        self.meta = beginning(conf)
        self.hard = HardState(self.meta.term, NOBODY, self.meta.index)
        self.log: list[Entry] = []

    def hard_state(self) -> HardState:
        return self.hard

    def snapshot(self) -> SnapshotMeta:
        return self.meta

    def last_index(self) -> Index:
        return Index(self.meta.index + len(self.log))

    def term_at(self, index: Index) -> Term | None:
        if index == self.meta.index:
            return self.meta.term
        at = index - self.meta.index - 1
        return self.log[at].term if 0 <= at < len(self.log) else None

    def entries(self, first: Index, last: Index, bytes_max: int) -> Sequence[Entry]:
        assert self.meta.index < first <= last <= self.last_index(), f"asked for {first}..{last}, held {self.meta.index + 1}..{self.last_index()}"
        taken: list[Entry] = []
        size = 0
        for entry in self.log[first - self.meta.index - 1 : last - self.meta.index]:
            size += len(entry.data)
            if taken and size > bytes_max:
                break
            taken.append(entry)
        return taken

    # --- written by the process, at the moment of the sync

    def write(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        if hard_state is not None:
            self.hard = hard_state
        if entries:
            assert self.meta.index < entries[0].index <= self.last_index() + 1
            self.log[entries[0].index - self.meta.index - 1 :] = entries

    def cut(self, meta: SnapshotMeta) -> None:
        assert meta.index <= self.last_index()
        self.log = self.log[meta.index - self.meta.index :]
        self.meta = meta

    def reset(self, meta: SnapshotMeta) -> None:
        self.log = []
        self.meta = meta


class Write(msgspec.Struct):
    """A Ready's part for the disk."""

    ready: Ready


class Cut(msgspec.Struct):
    meta: SnapshotMeta


class Install(msgspec.Struct):
    meta: SnapshotMeta
    data: bytes


Work = Write | Cut | Install


class BareProcess(RaftProcess):
    """One member. Its disk does one thing at a time, in order; writes that wait are synced together."""

    world: "BareWorld"
    raft: Raft

    def __init__(self, world: "BareWorld", member: MemberId, bootstrap: ConfState) -> None:
        self.log = BareLog(bootstrap)
        self.saved = State(beginning(bootstrap), [])
        """The state on disk; the log may be cut behind it."""
        super().__init__(world, member, bootstrap)

    # --- life

    def boot(self) -> None:
        log = self.log
        if log.term_at(self.saved.meta.index) != self.saved.meta.term:
            # A crash came between installing the state and resetting the log.
            log.reset(self.saved.meta)
        self.world.consensus.on_start(self.id, log.hard, log.meta.index, log.meta.term, [entry.term for entry in log.log])
        self.machine = self.saved.copy()
        self.world.state.on_start(self.id, self.machine.meta.index)
        self._work: list[Work] = []
        self._doing: list[Work] = []
        self._incoming = bytearray()
        self._committed: list[Entry] = []
        self._applying = False
        self._installing = False
        self.waiting: set[bytes] = set()
        self.reads: dict[int, int] = {}
        # Numbers of an earlier life must not come again: an answer to it may still be under way.
        self._last_context = self.rng.getrandbits(60)
        self.raft = Raft(self.world.raft_config(self.id), log, self.machine.meta.index, self.machine.meta.conf, self.rng.randint)
        self.pump()

    def lose_power(self) -> None:
        # What was on its way to the disk got there or did not, in order and each write as a whole.
        for work in self._doing:
            if self.rng.random() < 0.5:
                break
            self._perform(work)
        del self.raft

    # --- inputs

    def on_tick(self) -> None:
        self.raft.tick()
        self.pump()

    def on_message(self, message: Message) -> None:
        self.raft.step(message)
        self.pump()

    def on_unreachable(self, peer: MemberId) -> None:
        self.raft.report_unreachable(peer)
        self.pump()

    def propose(self, command: bytes) -> None:
        if self.raft.propose([command]) in (Proposed.ACCEPTED, Proposed.FORWARDED):
            self.waiting.add(command)
        self.pump()

    def read(self, floor: int) -> None:
        """Ask for a read index; it must be at least `floor`."""
        self._last_context += 1
        self.reads[self._last_context] = floor
        self.raft.read_index(self._last_context)
        self.pump()

    # --- outputs

    def raft_storage(self) -> BareLog:
        return self.log

    def applied(self) -> int:
        return self.machine.meta.index

    def pump(self) -> None:
        """Do what the core asks for until it asks for nothing."""
        raft = self.raft
        # Nothing may be written while a snapshot takes the log's place, so nothing is asked for.
        while not self._installing and (ready := raft.ready()) is not None:
            self._handle(ready)
        self.observe()
        self._begin_disk()

    def _handle(self, ready: Ready) -> None:
        for message in ready.messages:
            self.send(message)
        self.world.consensus.on_entries(self.id, self.raft.term, ready.entries)
        if ready.mark is not None:
            self._work.append(Write(ready))
        if ready.committed:
            self.world.committed(self.id, ready.committed)
            self._committed += ready.committed
            lag_s = self.world.options.apply_lag_s
            if not lag_s:
                self._apply_all()
            elif not self._applying:
                self._applying = True
                self.later(lag_s * self.rng.random() ** 2, self._apply_late)
        for answer in ready.reads_ready:
            self._check_read(answer.context, answer.index)
        for context in ready.reads_failed:
            self.reads.pop(context, None)
        for wanted in ready.snapshot_wanted:
            self.saved = self.machine.copy()  # all that was applied: who just joined must find itself in it
            self.raft.snapshot_ready(wanted.receiver, BareSnapshot(self.saved))
        for chunk in ready.snapshot_chunks:
            self._store_chunk(chunk)

    def _apply_late(self) -> None:
        self._applying = False
        self._apply_all()
        self.pump()

    def _apply_all(self) -> None:
        committed, self._committed = self._committed, []
        for entry in committed:
            self._apply(entry)
        if committed:
            self.raft.applied(committed[-1].index)
            self._save()

    def _apply(self, entry: Entry) -> None:
        machine = self.machine
        conf = machine.meta.conf
        if entry.kind == EntryKind.MEMBERSHIP:
            conf = self.raft.apply_change(decode_change(entry.data))
        machine.meta = SnapshotMeta(entry.index, entry.term, conf)
        if entry.kind == EntryKind.COMMAND and entry.data:
            machine.add(entry.data)
        self.world.state.on_applied(self.id, entry.index, (entry.data, conf, machine.count, machine.digest))
        if entry.data in self.waiting:
            self.waiting.remove(entry.data)
            self.world.acknowledge(entry)

    def _save(self) -> None:
        """Commit the state now and then, and cut the log well behind it."""
        options = self.world.options
        applied = self.machine.meta.index
        if applied - self.saved.meta.index >= options.commit_entries:
            self.saved = self.machine.copy()
        if self.saved.meta.index - self.log.meta.index > options.snapshot_entries + options.catchup_entries:
            index = Index(self.saved.meta.index - options.catchup_entries)
            # For a follower that is being sent a snapshot the log is kept from there on, within reason.
            floor = self.raft.snapshot_floor()
            if floor is not None and index - floor < RETAINED_ENTRIES_MAX:
                index = min(index, floor)
            term = self.log.term_at(index)
            if term is None or index <= self.log.meta.index:
                return
            self._work.append(Cut(SnapshotMeta(index, term, self.saved.meta.conf)))

    def _check_read(self, context: int, index: Index) -> None:
        floor = self.reads.pop(context, 0)
        if index < floor:
            raise Violation("linearizable reads", f"{self.id} may read at {index}, though {floor} was acknowledged before it asked")
        self.world.reads_done += 1

    def _store_chunk(self, chunk: SnapshotChunk) -> None:
        if chunk.offset == 0:
            self._incoming.clear()
        assert chunk.offset == len(self._incoming), "chunks come in order"
        self._incoming += chunk.data
        if chunk.done:
            assert len(self._incoming) == chunk.total_bytes
            self._work.append(Install(chunk.meta, bytes(self._incoming)))
            self._installing = True

    # --- disk

    def _begin_disk(self) -> None:
        if self._doing or not self._work:
            return
        # Writes are synced together; anything else goes alone.
        alone = next((at for at, work in enumerate(self._work) if not isinstance(work, Write)), len(self._work))
        self._doing = self._work[: max(1, alone)]
        del self._work[: len(self._doing)]
        self.later(self.disk_delay_s(self.world.options.disk_s), self._end_disk)

    def _end_disk(self) -> None:
        doing, self._doing = self._doing, []
        for work in doing:
            self._perform(work)
        for work in doing:
            self._report(work)
        self.pump()

    def _perform(self, work: Work) -> None:
        if isinstance(work, Write):
            self.log.write(work.ready.hard_state, work.ready.entries)
        elif isinstance(work, Cut):
            if work.meta.index > self.log.meta.index:
                self.log.cut(work.meta)
        else:
            self.saved = _decode_state(work.data)
            assert self.saved.meta == work.meta
            self.log.reset(work.meta)

    def _report(self, work: Work) -> None:
        if isinstance(work, Write):
            for message in work.ready.messages_after_persist:
                self.send(message)
            assert work.ready.mark is not None
            self.raft.persisted(work.ready.mark)
        elif isinstance(work, Cut):
            self.raft.compacted()
        else:
            self.machine = self.saved.copy()
            self._committed = [entry for entry in self._committed if entry.index > work.meta.index]
            self.world.consensus.on_installed(self.id, work.meta)
            self.world.state.on_start(self.id, work.meta.index)
            self._installing = False
            self.raft.snapshot_installed(work.meta)


class BareSnapshot:
    """`raft.storage.SnapshotSource` over a saved state."""

    def __init__(self, state: State) -> None:
        self.meta = state.meta
        self._data = msgspec.msgpack.encode(state)
        self.total_bytes = len(self._data)

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]

    def close(self) -> None:
        pass


_decode_state = msgspec.msgpack.Decoder(State).decode


class BareWorld(World):
    members: dict[MemberId, BareProcess]  # type: ignore[assignment]

    def __init__(self, seed: int, options: Options | None = None, trace: bool = False) -> None:
        self.acknowledged_index = 0
        self.acknowledged = 0
        self.reads_done = 0
        self._commands = 0
        self._stopped = False
        super().__init__(seed, options, trace)
        rng = self.timeline.random("clients")
        mean_s = max(0.02, self.options.think_s / self.options.clients)
        self.timeline.every(mean_s, rng, self._propose)
        self.timeline.every(mean_s * 2, rng, self._read)

    def make(self, member: MemberId, bootstrap: ConfState) -> BareProcess:
        return BareProcess(self, member, bootstrap)

    # --- clients

    def _propose(self) -> None:
        chosen = self._somebody()
        if chosen is not None and chosen.raft.last_index - chosen.raft.commit_index < BACKLOG_MAX:
            self._commands += 1
            chosen.propose(b"%d" % self._commands + b"." * self.rng.randrange(self.options.value_bytes))

    def _read(self) -> None:
        chosen = self._somebody()
        if chosen is not None:
            chosen.read(self.acknowledged_index)

    def _somebody(self) -> BareProcess | None:
        awake = [process for process in self.members.values() if process.running and not process.paused]
        return self.rng.choice(awake) if awake and not self._stopped else None

    def acknowledge(self, entry: Entry) -> None:
        self.acknowledged += 1
        self.acknowledged_index = max(self.acknowledged_index, entry.index)

    def progress(self) -> int:
        return self.acknowledged

    def stop_clients(self) -> None:
        self._stopped = True

    # --- the end

    def converged(self) -> bool:
        conf = self.membership()
        applied = {self.members[member].applied() for member in conf.voters + conf.learners}
        return applied == {self.consensus.committed_last}

    def change(self, asked: RaftProcess, change: Change) -> None:
        asked.raft.propose_change(change)
        asked.pump()

    def judge(self) -> None:
        last = self.consensus.committed_last
        self.state.at_end({process.id: (process.machine.count, process.machine.digest) for process in self.running() if process.applied() == last})
