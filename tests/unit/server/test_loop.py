"""The runner: whatever goes wrong in the member ends it, and is never left to the event loop, which would only log it."""

import asyncio
import contextlib
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.ids import NOBODY, Index, MemberId, Term
from kvstore.member.effects import Effects, InstallState, StoreChunk
from kvstore.model import Put
from kvstore.raft.log import LogLost
from kvstore.raft.messages import ConfState, InstallSnapshot, SnapshotMeta
from kvstore.raft.ready import SnapshotChunk
from kvstore.server import loop as loop_module
from kvstore.server.loop import Runner
from kvstore.server.observed import Observed
from kvstore.statemachine.machine import Machine
from kvstore.storage.engine import DiskFull
from kvstore.storage.engine_errors import EngineErrors
from kvstore.storage.lmdb_engine import FileImporter, LmdbDisk


class Failing:
    """A member all of whose inputs fail; a client waits for it."""

    config = SimpleNamespace(tick_s=0.1)

    def __init__(self, waiting: asyncio.Future[Any], done: asyncio.Future[Any]) -> None:
        self._replies = [(waiting, RuntimeError("stopped")), (done, "the outcome")]
        self.stopped = False

    def fail(self, *_: Any) -> None:
        raise LogLost("the disk lost entries")

    step = report_unreachable = tick = persisted = pump = fail

    def stop(self) -> None:
        self.stopped = True

    def take_effects(self) -> Any:
        return SimpleNamespace(replies=self._replies)


@pytest.mark.parametrize("given", ["receive", "unreachable", "_tick", "_persisted", "_turn"])
def test_an_input_that_fails_is_the_end_of_the_member_and_everybody_is_answered(given: str) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        unhandled: list[Any] = []
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        reasons: list[str] = []
        nothing = cast(Any, None)
        state = cast(Any, SimpleNamespace(errors=lambda: EngineErrors(Path("state.mdb"))))
        runner = Runner(loop, nothing, nothing, state, Observed(), reasons.append, lambda: None)
        waiting, done = loop.create_future(), loop.create_future()
        member = Failing(waiting, done)
        runner.member = cast(Any, member)
        try:
            getattr(runner, given)(*([] if given in ("_tick", "_turn") else [None]))
        finally:
            runner.end_threads()
        assert len(reasons) == 1
        assert "the disk lost entries" in reasons[0]
        assert (member.stopped, runner.stopping) == (True, True)
        assert isinstance(waiting.exception(), RuntimeError)
        assert done.result() == "the outcome", "what was decided before is still told"
        assert not unhandled

    asyncio.run(scenario())


def test_effects_that_cannot_be_performed_are_the_end_and_an_answer_that_cannot_be_told_is_not() -> None:
    """A turn that broke off half-way once left a leader that led for ever and wrote nothing: its write to the log was never asked for."""

    class Broken:
        def done(self) -> bool:
            return False

        def set_result(self, _: Any) -> None:
            raise RuntimeError("the caller's connection is closed")

    class Member(Failing):
        def pump(self) -> None:
            pass

    async def scenario() -> None:
        reasons: list[str] = []
        nothing = cast(Any, None)
        state = cast(Any, SimpleNamespace(errors=lambda: EngineErrors(Path("state.mdb"))))
        loop = asyncio.get_running_loop()
        runner = Runner(loop, nothing, nothing, state, Observed(), reasons.append, lambda: None)
        done = loop.create_future()
        try:
            runner._answer([(Broken(), "told"), (done, "told, too")])
            assert done.result() == "told, too"
            assert not reasons

            def fail(_: Any) -> None:
                raise RuntimeError("the peer's connection is closed")

            runner.send = fail
            runner.member = cast(Any, Member(loop.create_future(), loop.create_future()))
            runner.member.take_effects = lambda: cast(Any, SimpleNamespace(messages=["one"], replies=[]))
            runner._turn()
        finally:
            runner.end_threads()
        assert len(reasons) == 1
        assert "the peer's connection is closed" in reasons[0]

    asyncio.run(scenario())


class Receiving:
    """A member that is sent a state; it does nothing else."""

    leader = NOBODY
    is_ready = has_work = False

    def __init__(self, machine: Machine, installed: asyncio.Future[None]) -> None:
        self.machine = machine
        self._installed = installed

    def pump(self) -> None: ...
    def persisted(self) -> None: ...
    def state_measured(self, *_: int) -> None: ...
    def stop(self) -> None: ...

    def state_installed(self, _: SnapshotMeta, machine: Machine) -> None:
        self.machine = machine
        self._installed.set_result(None)

    def take_effects(self) -> Effects:
        return Effects([], [], [], [])


def test_a_state_is_installed_only_when_the_checkpoint_before_it_is_done(tmp_path: Path) -> None:
    """Both begin the journal's next epoch, in two threads: done together they left one in memory that the disk knew nothing of, and what was
    acknowledged afterwards was not found at the next start."""
    happened: list[str] = []
    go_on = threading.Event()

    class Log:
        def checkpoint(self) -> None:
            happened.append("checkpoint begins")
            go_on.wait()
            happened.append("checkpoint ends")

        def reset(self, _: SnapshotMeta) -> None:
            happened.append("reset")

        def close(self) -> None: ...

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        disk = LmdbDisk(tmp_path, 1 << 26)
        state = disk.open_state()
        machine = Machine(state)
        runner = Runner(loop, disk, cast(Any, Log()), state, Observed(), pytest.fail, lambda: None)
        await runner.state_thread.call(lambda: machine.begin(state.begin_write()))
        installed = loop.create_future()
        runner.member = cast(Any, Receiving(machine, installed))
        with contextlib.closing(state.export()) as export:
            runner._importer = disk.import_state(export.total_bytes)
            runner._importer.write(0, export.read(0, export.total_bytes))
        try:
            runner._persisted(True)
            runner._install_state(InstallState(SnapshotMeta(Index(9), Term(2), ConfState())))
            await runner.state_thread.call(lambda: None)
            assert "reset" not in happened
        finally:
            go_on.set()
        await installed
        assert happened == ["checkpoint begins", "checkpoint ends", "reset"]
        await runner.stop()
        disk.close()

    asyncio.run(scenario())


def test_a_thread_that_ended_for_whatever_reason_does_not_keep_the_others_from_ending_in_good_order() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        closed: list[str] = []
        ended = loop.create_future()
        raft_log = SimpleNamespace(close=lambda: closed.append("log"))
        nothing = cast(Any, None)
        runner = Runner(loop, nothing, cast(Any, raft_log), nothing, Observed(), ended.set_result, lambda: None)
        runner.member = cast(Any, Receiving(nothing, loop.create_future()))
        runner.state_thread.submit(lambda: {}["a row that is not there"], lambda _: None)
        await ended
        await runner.stop()
        assert closed == ["log"]
        assert not any(thread._thread.is_alive() for thread in (runner.log_thread, runner.state_thread, runner.inspection_thread))

    asyncio.run(scenario())


def test_a_received_state_that_meets_a_full_disk_gives_back_at_once_what_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken() -> list[Path]:
        return list(tmp_path.glob("*.incoming*"))

    async def scenario() -> None:
        disk = LmdbDisk(tmp_path, 1 << 26)
        state = disk.open_state()
        machine = Machine(state)
        loop = asyncio.get_running_loop()
        runner = Runner(loop, disk, cast(Any, SimpleNamespace(close=lambda: None)), state, Observed(), pytest.fail, lambda: None)
        await runner.state_thread.call(lambda: machine.begin(state.begin_write()))
        runner.member = cast(Any, Receiving(machine, loop.create_future()))
        meta = SnapshotMeta(Index(9), Term(2), ConfState())
        runner._store_chunk(StoreChunk(SnapshotChunk(meta, 0, 3000, b"x" * 1000, False)))
        await runner.state_thread.call(lambda: None)
        assert taken()

        def no_room(*_: Any) -> None:
            raise DiskFull("no room to write")

        monkeypatch.setattr(FileImporter, "write", no_room)
        for offset in (1000, 2000):
            runner._store_chunk(StoreChunk(SnapshotChunk(meta, offset, 3000, b"x" * 1000, offset == 2000)))
        await runner.state_thread.call(lambda: None)
        assert not taken()
        refused = loop.create_future()
        runner.member.state_refused = refused.set_result  # type: ignore[method-assign]
        runner._install_state(InstallState(meta))
        assert await refused == meta
        await runner.stop()
        disk.close()

    asyncio.run(scenario())


def test_a_state_that_comes_faster_than_the_disk_takes_it_does_not_gather_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower acknowledges a piece before its disk has it, so the leader sends at the network's pace: the whole state once waited in memory."""
    monkeypatch.setattr(loop_module, "UNSTORED_BYTES_MAX", 5000)
    meta, own = SnapshotMeta(Index(9), Term(2), ConfState()), MemberId(1)
    go_on = threading.Event()
    taken: list[int] = []

    class Slow:
        def write(self, offset: int, _: bytes) -> None:
            go_on.wait()

        def abort(self) -> None: ...

    class Member(Receiving):
        def step(self, message: InstallSnapshot) -> None:
            taken.append(message.offset)
            runner._store_chunk(StoreChunk(SnapshotChunk(meta, message.offset, message.total_bytes, message.data, message.done)))

    def piece(offset: int) -> InstallSnapshot:
        return InstallSnapshot(MemberId(2), own, Term(2), meta, offset, 100_000, b"x" * 1000, False)

    async def scenario() -> None:
        nonlocal runner
        loop = asyncio.get_running_loop()
        disk = SimpleNamespace(import_state=lambda _: Slow())
        machine = SimpleNamespace(members={})
        runner = Runner(loop, cast(Any, disk), cast(Any, None), cast(Any, None), Observed(), pytest.fail, lambda: None)
        runner.member = cast(Any, Member(cast(Any, machine), loop.create_future()))
        try:
            for offset in range(0, 20_000, 1000):
                runner.receive(piece(offset))
            assert taken == [0, 1000, 2000, 3000, 4000]
            go_on.set()
            await runner.state_thread.call(lambda: None)
            runner.receive(piece(5000))
            assert taken[-1] == 5000
        finally:
            go_on.set()
            runner.end_threads()

    runner: Runner
    asyncio.run(scenario())


def test_what_a_failure_left_half_applied_is_not_committed(tmp_path: Path) -> None:
    """The applied index goes ahead of the entry: committed with it, the entry would never be applied to the end, and this member differ from the
    others without a word."""

    class Full(list[Any]):
        def append(self, _: Any) -> None:
            raise MemoryError

    class Member(Receiving):
        def pump(self) -> None:
            self.machine.apply(Index(1), Term(1), Put(b"a", b"whole"))
            self.machine.store.changes = Full()  # asked for room when the put has written everything and is not done
            self.machine.apply(Index(2), Term(1), Put(b"b", b"half"))

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        disk = LmdbDisk(tmp_path, 1 << 26)
        state = disk.open_state()
        machine = Machine(state)
        reasons: list[str] = []
        runner = Runner(loop, disk, cast(Any, SimpleNamespace(close=lambda: None)), state, Observed(), reasons.append, lambda: None)
        await runner.state_thread.call(lambda: machine.begin(state.begin_write()))
        runner.member = cast(Any, Member(machine, loop.create_future()))
        runner._turn()
        assert len(reasons) == 1
        await runner.stop()
        disk.close()

    asyncio.run(scenario())
    disk = LmdbDisk(tmp_path, 1 << 26)
    state = disk.open_state()
    assert Machine(state).applied_index == 0, "both are applied again from the log"
    state.close()
    disk.close()
