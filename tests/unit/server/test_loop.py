"""The runner: whatever goes wrong in the member ends it, and is never left to the event loop, which would only log it."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.raft.log import LogLost
from kvstore.server.loop import Runner
from kvstore.server.observed import Observed
from kvstore.storage.engine_errors import EngineErrors


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
            runner.log_thread.stop()
            runner.state_thread.stop()
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
            runner.log_thread.stop()
            runner.state_thread.stop()
        assert len(reasons) == 1
        assert "the peer's connection is closed" in reasons[0]

    asyncio.run(scenario())
