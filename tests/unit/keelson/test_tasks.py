"""Every task has a name, an owner and an end."""

import asyncio
import logging

import pytest

from keelson.cogs.tasks import EndedUnexpectedly, Tasks, TaskSet


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ValueError("broken")


def run(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 10))


def test_a_group_names_its_tasks_and_ends_them_when_cancelled() -> None:
    async def story() -> None:
        async with Tasks("server") as tasks:
            ticker = tasks.serve("ticker", forever())
            answer = tasks.start("answer", asyncio.sleep(0, result=42))
            assert ticker.get_name() == "server/ticker"
            assert await answer == 42
            tasks.cancel()
        assert ticker.cancelled()

    run(story())


def test_the_first_error_takes_the_group_with_it_and_is_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with Tasks("server") as tasks:
                other = tasks.serve("other", forever())
                tasks.start("breaker", fail())
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        assert other.cancelled()

    run(story())
    assert [record.fields["task"] for record in caplog.records if record.levelno == logging.ERROR] == ["server/breaker"]


def test_a_task_that_must_not_end_ends_the_group() -> None:
    async def story() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with Tasks("server") as tasks:
                tasks.serve("listener", asyncio.sleep(0))
        (error,) = caught.value.exceptions
        assert isinstance(error, EndedUnexpectedly)
        assert "server/listener" in str(error)

    run(story())


def test_a_set_tells_failures_and_goes_on() -> None:
    async def story() -> None:
        failures = []
        tasks = TaskSet("client", on_failure=lambda name, error: failures.append((name, str(error))))
        steady = tasks.start("steady", forever())
        await asyncio.wait([tasks.start("breaker", fail())])
        assert failures == [("client/breaker", "broken")]
        assert not steady.done()
        await tasks.close()
        assert steady.cancelled()
        assert len(tasks) == 0
        await tasks.close()

    run(story())


def test_a_set_can_be_closed_from_one_of_its_tasks_and_starts_nothing_afterwards() -> None:
    async def story() -> None:
        tasks = TaskSet("client")

        async def close_it() -> str:
            await tasks.close()
            return "finished"

        assert await tasks.start("closer", close_it()) == "finished"
        with pytest.raises(RuntimeError, match="closed"):
            tasks.start("late", forever())

    run(story())
