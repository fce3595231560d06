"""Feeds the member and performs its effects: the only caller of `member.Member` in the server.

Everything runs on the event loop but disk work, which has two threads, one an environment. Inputs of one turn of the loop are pumped together
in the next (`_turn`): that is what batches proposals, reads and messages without a timer.
"""

import asyncio
import contextlib
import logging
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keelson.cogs.logs import duration, fields
from kvstore.described import described_command
from kvstore.errors import StoreError
from kvstore.ids import NOBODY, MemberId
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
    Persist,
    StoreChunk,
)
from kvstore.member.member import Member
from kvstore.member.messages import AnyPeerMessage
from kvstore.model import AlarmAction, AlarmChange, AlarmType
from kvstore.model import Member as MemberRecord
from kvstore.mvcc.hash import hash_everything, hash_kv
from kvstore.mvcc.inspection import Inspection
from kvstore.raft.messages import InstallSnapshot, SnapshotMeta
from kvstore.server import inspector
from kvstore.server.disk import DiskThread
from kvstore.server.observed import Applying, Compacting, Observed
from kvstore.statemachine.machine import Machine
from kvstore.storage.engine import EngineError, Export, Importer
from kvstore.storage.lmdb_engine import LmdbDisk, LmdbEngine
from kvstore.storage.raftlog import RaftLog

log = logging.getLogger("kvstore.server")

STOP_TIMEOUT_S = 5.0
UNSTORED_BYTES_MAX = 64 << 20
"""Of a state that is being received: what came and the disk does not have yet. Pieces beyond it are as good as lost on the way: the sender repeats
them when no answer comes, a second later, by when there is room again."""

SLOW_APPLY_S = 0.1
"""etcd's --warning-apply-duration."""


class FollowerExport:
    """An exported state on its way to a follower (`raft.storage.SnapshotSource`)."""

    def __init__(self, meta: SnapshotMeta, export: Export) -> None:
        self.meta = meta
        self.export = export
        self.began_s = time.perf_counter()
        self.total_bytes = export.total_bytes

    def read(self, offset: int, size: int) -> bytes:
        return self.export.read(offset, size)


class Sizes(NamedTuple):
    """Of the state, as of its last commit."""

    file_bytes: int
    used_bytes: int
    """Of the file; what is left of it are free pages."""
    keys: int


class Runner:
    """One running member. `fatal` is called once with the reason if it cannot go on, or `removed` if it is no member any more."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        disk: LmdbDisk,
        raft_log: RaftLog,
        state: LmdbEngine,
        observed: Observed,
        fatal: Callable[[str], None],
        removed: Callable[[], None],
    ) -> None:
        self.loop = loop
        self.observed = observed
        self._disk = disk
        self._raft_log = raft_log
        self._state = state
        self._fatal = fatal
        self._removed = removed
        self._stopping = False
        self._in_doubt = False
        """Something was broken off, perhaps in the middle of an entry: what the state's transaction holds must not be committed."""
        self._scheduled = False
        self._exports: dict[MemberId, FollowerExport] = {}
        self._importer: Importer | None = None
        self._import_error: Exception | None = None
        self._unstored_bytes = 0
        self._tick_handle: asyncio.TimerHandle | None = None
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done when the member has caught up with what it had acknowledged, and published itself."""
        self.log_thread = DiskThread("log disk", loop, self._disk_failed)
        self.state_thread = DiskThread("state disk", loop, self._disk_failed)
        self.inspection_thread = DiskThread("inspection", loop, self._disk_failed)
        self._inspecting: list[subprocess.Popen[bytes]] = []
        self.member: Member
        self.send: Callable[[list[AnyPeerMessage]], None]
        self.members_changed: Callable[[], None] = lambda: None
        self.slow_apply_s = SLOW_APPLY_S
        self._ticked_s = time.perf_counter()
        self._next_tick_s = 0.0
        self._members_seen: dict[MemberId, Any] = {}
        self._sizes = Sizes(0, 0, 0)
        self._receiving = NOBODY, 0.0
        """From whom a state is coming, and since when."""
        self._perform_state: dict[type[Any], Callable[[Any], None]] = {
            CommitState: self._commit_state,
            ExportState: self._export_state,
            HashState: self._hash_state,
            StoreChunk: self._store_chunk,
            InstallState: self._install_state,
            DefragmentState: self._defragment_state,
            InspectState: self._inspect_state,
        }

    def start(self, member: Member, send: Callable[[list[AnyPeerMessage]], None]) -> None:
        """Begin to tick and to turn."""
        self.member = member
        self.send = send
        self._measured(_sizes(self._state, member.machine))
        member.apply = Applying(self.observed, self.slow_apply_s, self._warn_slow_apply, self._tell_of_alarm)
        member.compact = Compacting(self.observed)
        self._next_tick_s = self.loop.time()
        self._ticked_s = time.perf_counter()
        self._tick()

    # --- turns ------------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The member got an input: take a turn after this one of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._turn)

    def _feed(self, give: Callable[..., None], *what: Any) -> bool:
        """Give the member an input; False if it takes none any more.

        What it raises is the end of the member: its log was lost, or it found something impossible. Left to the event loop, it would end a
        connection or the ticking, and the member would go on half dead.
        """
        if self._stopping:
            return False
        try:
            give(*what)
        except Exception as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        """An EngineError says itself what happened and what to do; so does what LMDB raises where the state is worked on."""
        self._in_doubt = True
        ours = error if isinstance(error, EngineError) else self._state.errors().translated(error)
        if ours is None:
            log.exception("the member failed")
            self._die(f"internal error: {error!r}")
        else:
            self._disk_failed(ours)

    def receive(self, message: AnyPeerMessage) -> None:
        if type(message) is InstallSnapshot and self._unstored_bytes >= UNSTORED_BYTES_MAX:
            return
        if self._feed(self.member.step, message):
            self.wake()

    def connected(self, peer: MemberId) -> None:
        if self._feed(self.member.report_connected, peer):
            self.wake()

    def heard(self, peer: MemberId) -> None:
        if self._feed(self.member.report_heard, peer):
            self.wake()

    def told_removed(self, peer: MemberId) -> None:
        """A peer hung up because we were removed: the entry that says so will not reach us any more."""
        if not self._stopping and not self.member.is_leaving:
            log.warning("a peer says that this member was removed", extra=fields(peer=f"{peer:x}"))
            self._die(REMOVED, removed=True)

    def unreachable(self, peer: MemberId) -> None:
        if self._feed(self.member.report_unreachable, peer):
            self.wake()

    def _tick(self) -> None:
        if self._stopping:
            return
        interval_s = self.member.config.tick_s
        if not self._feed(self.member.tick, time.monotonic()):
            return
        self._observe_tick(interval_s)
        self._close_finished_exports()
        self.wake()
        # A late tick is not made up for: after a pause the member must not see time run in a burst.
        self._next_tick_s = max(self._next_tick_s + interval_s, self.loop.time() + interval_s / 2)
        self._tick_handle = self.loop.call_at(self._next_tick_s, self._tick)

    def _observe_tick(self, interval_s: float) -> None:
        """A tick comes late when something kept the event loop, or all of the machine, for long: a leader's heartbeats are late then, too."""
        now_s = time.perf_counter()
        since_s, self._ticked_s = now_s - self._ticked_s, now_s
        self.observed.loop_lag.observe(max(0.0, self.loop.time() - self._next_tick_s))
        if since_s <= 2 * interval_s or not self.member.is_leader:
            return
        for peer in self.member.raft.progress:
            if peer != self.member.id:
                self.observed.heartbeats_late += 1
                log.warning(
                    "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk",
                    extra=fields(
                        to=f"{peer:x}",
                        heartbeat_interval=duration(interval_s),
                        expected_duration=duration(2 * interval_s),
                        exceeded_duration=duration(since_s - 2 * interval_s),
                    ),
                )

    def _warn_slow_apply(self, command: Any, outcome: Any, took_s: float) -> None:
        error = {"error": str(outcome)} if isinstance(outcome, StoreError) else {}
        log.warning(
            "apply request took too long",
            extra=fields(
                took=duration(took_s), expected_duration=duration(self.slow_apply_s), prefix="", request=described_command(command), **error
            ),
        )

    def _turn(self) -> None:
        self._scheduled = False
        try:
            self.member.pump()
            self._perform(self.member.take_effects())
        except Exception as error:
            # Effects that were taken and not performed are lost: a member that went on would wait for its disk for ever.
            self._failed(error)

    def _perform(self, effects: Effects) -> None:
        member = self.member
        if effects.messages:
            self.send(effects.messages)
        for work in effects.log_work:
            if isinstance(work, Persist):
                self._persist(work)
            else:
                self._cut_log(work)
        for piece in effects.state_work:
            self._perform_state[type(piece)](piece)
        self._answer(effects.replies)
        for note in effects.notes:
            log.log(logging.WARNING if note.is_warning else logging.INFO, note.text, extra=fields(**note.fields))
        if effects.stop is not None:
            self._die(effects.stop, removed=effects.removed)
            return
        if member.machine.members != self._members_seen:
            self._tell_of_members(self._members_seen, member.machine.members)
            self._members_seen = dict(member.machine.members)
            self.members_changed()
        if member.is_ready and not self.ready.done():
            log.info("published local member to cluster through raft", extra=fields(local_member_id=f"{member.id:x}"))
            self.ready.set_result(None)
        if member.has_work:
            self.wake()

    @staticmethod
    def _tell_of_members(before: Mapping[MemberId, MemberRecord], now: Mapping[MemberId, MemberRecord]) -> None:
        for peer in now.keys() - before.keys():
            record = now[peer]
            log.info("added member", extra=fields(added_peer_id=f"{peer:x}", added_peer_peer_urls=record.peer_urls, learner=record.is_learner))
        for peer in before.keys() - now.keys():
            log.info("removed member", extra=fields(removed_remote_peer_id=f"{peer:x}", removed_remote_peer_urls=before[peer].peer_urls))
        for peer in now.keys() & before.keys():
            if before[peer].is_learner and not now[peer].is_learner:
                log.info("promote member", extra=fields(promoted_member_id=f"{peer:x}"))
            if before[peer].peer_urls != now[peer].peer_urls:
                log.info("updated member", extra=fields(updated_remote_peer_id=f"{peer:x}", updated_remote_peer_urls=now[peer].peer_urls))

    def _tell_of_alarm(self, change: AlarmChange) -> None:
        told = fields(**{"alarm": AlarmType(change.alarm).name, "from": f"{change.member_id:x}"})
        if change.action == AlarmAction.ACTIVATE:
            log.warning("alarm raised", extra=told)
        else:
            log.warning("alarm disarmed", extra=told)

    def _die(self, reason: str, *, removed: bool = False) -> None:
        if not self._stopping:
            self._stopping = True
            self.member.stop()
            self._answer(self.member.take_effects().replies)
            if removed:
                self._removed()
            else:
                self._fatal(reason)

    @staticmethod
    def _answer(replies: list[tuple[Any, Any]]) -> None:
        for token, outcome in replies:
            if token is not None and not token.done():
                try:
                    if isinstance(outcome, Exception):
                        token.set_exception(outcome)
                    else:
                        token.set_result(outcome)
                except Exception:
                    # It may write to a connection there and then. What goes wrong with one caller is nothing to the others.
                    log.exception("an answer was not delivered")

    def _disk_failed(self, error: BaseException) -> None:
        log.error("disk failed", extra=fields(error=str(error)))
        self._die(f"disk: {error}")

    # --- the log's thread ---------------------------------------------------------------------------------------------------

    def _persist(self, work: Persist) -> None:
        observed = self.observed
        raft_log = self._raft_log

        def job() -> bool:
            began = time.perf_counter()
            observed.log_written_bytes += raft_log.append(work.entries, work.hard_state)
            observed.log_synced.observe(time.perf_counter() - began)
            return raft_log.wants_checkpoint

        self.log_thread.submit(job, self._persisted)

    def _persisted(self, is_checkpoint_due: bool) -> None:
        if is_checkpoint_due:
            # Behind the write that is answered now, and before the next one.
            self.log_thread.submit(self._raft_log.checkpoint, lambda _: None)
        if self._feed(self.member.persisted):
            # The followers' answers and ours decide together: turn at once, not after what else is queued.
            self.wake()

    def _cut_log(self, work: CutLog) -> None:
        def done(_: None) -> None:
            log.info("compacted Raft logs", extra=fields(compact_index=work.meta.index))
            if self._feed(self.member.log_cut):
                self.wake()

        self.log_thread.submit(lambda: self._raft_log.cut(work.meta), done)

    # --- the state's thread ---------------------------------------------------------------------------------------------------

    def _commit_state(self, _: CommitState) -> None:
        machine = self.member.machine
        transaction = machine.transaction
        state = self._state

        def job() -> Any:
            began = time.perf_counter()
            with state.errors():
                transaction.commit()
            following = state.begin_write()
            self.observed.state_committed.observe(time.perf_counter() - began)
            return following, _sizes(state, machine)

        def done(result: Any) -> None:
            following, sizes = result
            machine.begin(following)
            self._measured(sizes)
            if self._feed(self.member.state_committed):
                self.wake()

        self.state_thread.submit(job, done)

    def _export_state(self, work: ExportState) -> None:
        state = self._state

        def job() -> Any:
            began = time.perf_counter()
            try:
                return state.export()
            except EngineError as error:
                return error
            finally:
                self.observed.state_exported.observe(time.perf_counter() - began)

        def done(result: Any) -> None:
            if not isinstance(result, Exception) and work.receiver != NOBODY:
                result = FollowerExport(work.meta, result)
                self._forget_export(work.receiver)
                self._exports[work.receiver] = result
            if self._feed(self.member.state_exported, work, result):
                self.wake()
            elif not isinstance(result, Exception) and work.receiver == NOBODY:
                result.close()  # whoever asked was told that we stop

        self.state_thread.submit(job, done)

    def _close_finished_exports(self) -> None:
        for receiver, source in list(self._exports.items()):
            progress = self.member.raft.progress.get(receiver)
            if progress is None or progress.source is not source:
                done = progress is not None and progress.match >= source.meta.index
                self.observed.snapshot_sent(receiver, time.perf_counter() - source.began_s if done else None)
                self._forget_export(receiver)

    def _forget_export(self, receiver: MemberId) -> None:
        source = self._exports.pop(receiver, None)
        if source is not None:
            source.export.close()

    def _hash_state(self, work: HashState) -> None:
        tables = self.member.machine.tables
        state = self._state

        def job() -> Any:
            began = time.perf_counter()
            txn = state.begin_read()
            try:
                if work.revision == -1:
                    return hash_everything(txn, tables)
                return hash_kv(txn, tables, work.revision, work.compacted_revision)
            finally:
                txn.abort()
                everything = work.revision == -1
                (self.observed.hashed if everything else self.observed.hashed_revision).observe(time.perf_counter() - began)

        def done(result: int) -> None:
            if self._feed(self.member.state_hashed, work, result):
                self.wake()

        self.state_thread.submit(job, done)

    def _inspect_state(self, work: InspectState) -> None:
        path = self._state.path

        def job() -> Inspection | EngineError:
            if self._stopping:
                return EngineError("stopping")
            try:
                return inspector.run(path, work.revision, thorough=work.thorough, started=self._inspecting)
            except (EngineError, OSError) as error:
                return EngineError(f"{path}: could not be inspected: {error}")

        def done(result: Inspection | EngineError) -> None:
            if self._feed(self.member.state_inspected, work, result):
                self.wake()

        self.inspection_thread.submit(job, done)

    def _store_chunk(self, work: StoreChunk) -> None:
        chunk = work.chunk
        if chunk.offset == 0:
            self._receiving = self.member.leader, time.perf_counter()

        def job() -> None:
            try:
                if chunk.offset == 0:
                    if self._importer is not None:
                        self._importer.abort()
                    self._import_error = None
                    self._importer = self._disk.import_state(chunk.total_bytes)
                if self._importer is not None:
                    self._importer.write(chunk.offset, chunk.data)
            except EngineError as error:
                # What came so far goes now, not when the last piece is here: it would keep a full disk full, and the log has to be written, too.
                self._import_error = error
                importer, self._importer = self._importer, None
                if importer is not None:
                    with contextlib.suppress(EngineError):
                        importer.abort()

        def done(_: None) -> None:
            self._unstored_bytes -= len(chunk.data)

        self._unstored_bytes += len(chunk.data)
        self.state_thread.submit(job, done)

    def _install_state(self, work: InstallState) -> None:
        old = self.member.machine
        sender, began_s = self._receiving

        def job() -> tuple[Machine, Sizes] | Exception:
            began = time.perf_counter()
            importer, self._importer = self._importer, None
            if importer is None or self._import_error is not None:
                return self._import_error or EngineError("no snapshot was received")
            try:
                # Checked before the present state is touched: what it holds uncommitted is lost with its transaction.
                importer.prepare()
            except EngineError as error:
                importer.abort()
                return error
            old.transaction.abort()
            self._state.close()
            engine: Any = importer.finish()  # failing now is the disk's doing, and the end of this member
            self._state = engine
            machine = Machine(engine)
            self._raft_log.reset(work.meta)
            machine.begin(engine.begin_write())
            self.observed.state_installed.observe(time.perf_counter() - began)
            return machine, _sizes(engine, machine)

        def done(result: tuple[Machine, Sizes] | Exception) -> None:
            if self._stopping:
                return
            if isinstance(result, Exception):
                self.observed.snapshot_received(sender, None)
                log.error("refused a snapshot", extra=fields(index=work.meta.index, error=str(result)))
                self._feed(self.member.state_refused, work.meta)
            else:
                self.observed.snapshot_received(sender, time.perf_counter() - began_s)
                log.info("applied snapshot", extra=fields(index=work.meta.index, term=work.meta.term))
                machine, sizes = result
                self._measured(sizes)
                self._feed(self.member.state_installed, work.meta, machine)
            self.wake()

        def begin(_: None) -> None:
            if not self._stopping:
                self.state_thread.submit(job, done)

        # The log is begun anew in this thread. No append is out, but the checkpoint that the last one made due may be: two that write to one journal
        # would each begin its next epoch, and what is appended then would count for nothing at the next start.
        self.log_thread.submit(_nothing, begin)

    def _defragment_state(self, work: DefragmentState) -> None:
        machine = self.member.machine

        def job() -> tuple[Exception | None, Sizes]:
            began = time.perf_counter()
            self.observed.defragmenting = True
            before = self._state.size_bytes()
            log.info("defragmenting", extra=fields(path=str(self._state.path), current_db_size_bytes=before))
            machine.transaction.abort()
            self._state.close()
            error: Exception | None = None
            try:
                self._state = self._disk.defragment_state()
            except EngineError as failed:
                error = failed
                self._state = self._disk.open_state()
            machine.reopen(self._state)
            machine.begin(self._state.begin_write())
            taken_s = time.perf_counter() - began
            self.observed.defragmented.observe(taken_s)
            self.observed.defragmenting = False
            after = self._state.size_bytes()
            log.info(
                "finished defragmenting directory",
                extra=fields(
                    path=str(self._state.path),
                    current_db_size_bytes_diff=after - before,
                    current_db_size_bytes=after,
                    current_db_size_in_use_bytes=self._state.size_in_use_bytes(),
                    took=duration(taken_s),
                ),
            )
            return error, _sizes(self._state, machine)

        def done(result: tuple[Exception | None, Sizes]) -> None:
            error, sizes = result
            self._measured(sizes)
            if self._feed(self.member.state_defragmented, work, machine, error):
                self.wake()

        self.state_thread.submit(job, done)

    # --- for the services -----------------------------------------------------------------------------------------------------

    def sizes(self) -> tuple[int, int]:
        """Bytes of the state's file, and of those in use, as of the last commit."""
        return self._sizes.file_bytes, self._sizes.used_bytes

    def _measured(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._feed(self.member.state_measured, sizes.file_bytes, sizes.used_bytes)

    def count_keys(self) -> int:
        """Live keys as of the last commit."""
        return self._sizes.keys

    @property
    def sending_state_to(self) -> list[MemberId]:
        return list(self._exports)

    def count_readers(self) -> int:
        """Read transactions open on the state's file: hashes and copies under way."""
        with contextlib.suppress(Exception):
            return self._state.count_readers()
        return 0

    @property
    def stopping(self) -> bool:
        return self._stopping

    async def stop(self) -> None:
        """Answer everybody, write the state down, end the threads. A thread whose disk failed is not waited for."""
        self._stopping = True
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        self.member.stop()
        self._answer(self.member.take_effects().replies)
        # First what is under way: a commit gives the machine its next transaction, which the last commit needs; an install begins the log anew.
        for thread, job in ((self.state_thread, _nothing), (self.log_thread, self._raft_log.close), (self.state_thread, self._final_commit)):
            with contextlib.suppress(Exception):  # what ended a thread was told when it did, and the others are to end in good order all the same
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await thread.call(job)
        for process in self._inspecting:
            process.kill()
        self.end_threads()
        for receiver in list(self._exports):
            self._forget_export(receiver)

    def end_threads(self) -> None:
        for thread in (self.log_thread, self.state_thread, self.inspection_thread):
            thread.stop()

    def _final_commit(self) -> None:
        """A courtesy: what is not committed would be applied again from the log at the next start."""
        try:
            if self._in_doubt:
                # The applied index is ahead of an entry that was not applied to its end: that entry, too, is found in the log.
                self.member.machine.transaction.abort()
            else:
                self.member.machine.seal()
                with self._state.errors():
                    self.member.machine.transaction.commit()
            self._state.close()
        except Exception as error:
            log.warning("the state was not committed on stop; the log has what is missing", extra=fields(error=str(error)))


def _nothing() -> None:
    pass


def _sizes(state: LmdbEngine, machine: Machine) -> Sizes:
    """For the thread that works on the state, which may close it next."""
    return Sizes(state.size_bytes(), state.size_in_use_bytes(), state.count(machine.tables.newest))
