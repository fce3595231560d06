"""When a session ends, and who is told; renewals come from a script."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kvstore.client import session as module
from kvstore.client.lease import Renewal
from kvstore.client.session import Session
from kvstore.errors import LeaseNotFound, PermissionDenied, SessionExpired, StoreError

TTL_S = 0.05


class Script:
    """A client whose leases live as the test says: each renewal is asked for when `renew` is called."""

    def __init__(self) -> None:
        self.revoked: list[int] = []
        self.steps: asyncio.Queue[float | StoreError] = asyncio.Queue()
        self.known = {7: TTL_S}

    async def lease_grant(self, ttl_s: float) -> Any:
        return SimpleNamespace(ID=7, TTL=ttl_s)

    async def lease_time_to_live(self, lease: int) -> Any:
        return SimpleNamespace(TTL=self.known.get(lease, -1))

    async def lease_revoke(self, lease: int) -> None:
        self.revoked.append(lease)
        if lease not in self.known:
            raise LeaseNotFound

    async def renewals(self, _client: object, _lease: int) -> AsyncGenerator[Renewal, None]:
        while True:
            step = await self.steps.get()
            if isinstance(step, StoreError):
                raise step
            yield Renewal(asyncio.get_running_loop().time(), SimpleNamespace(TTL=step))


def play(monkeypatch: pytest.MonkeyPatch, scenario: Callable[[Script], Awaitable[None]]) -> None:
    async def run() -> None:
        script = Script()
        monkeypatch.setattr(module, "renewals", script.renewals)
        async with asyncio.timeout(10):
            await scenario(script)

    asyncio.run(run())


def test_left_it_revokes_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(script: Script) -> None:
        async with Session(script, ttl_s=60) as session:
            assert (session.lease, session.alive, session.ended.is_set()) == (7, True, False)
        assert (script.revoked, session.alive, session.ended.is_set(), session.failure) == ([7], False, True, None)

    play(monkeypatch, scenario)


def test_an_orphan_keeps_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(script: Script) -> None:
        session = Session(script, ttl_s=60)
        await session.start()
        await session.orphan()
        assert (script.revoked, session.alive) == ([], False)
        other = Session(script, lease=7)
        await other.start()
        assert (other.lease, other.ttl_s) == (7, TTL_S)
        await other.close()
        with pytest.raises(LeaseNotFound):
            await Session(script, lease=8).start()

    play(monkeypatch, scenario)


def test_without_a_renewal_for_its_ttl_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(script: Script) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        session = Session(script, ttl_s=TTL_S)
        await session.start()
        await session.ended.wait()
        assert loop.time() - began >= TTL_S
        assert isinstance(session.failure, SessionExpired)
        await session.close()

    play(monkeypatch, scenario)


def test_each_renewal_puts_the_end_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(script: Script) -> None:
        session = Session(script, ttl_s=TTL_S)
        await session.start()
        script.steps.put_nowait(60)
        async with asyncio.timeout(3 * TTL_S):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2 * TTL_S):
                    await session.ended.wait()
        assert (session.alive, session.ttl_s) == (True, 60)
        await session.close()

    play(monkeypatch, scenario)


@pytest.mark.parametrize("failure", [LeaseNotFound(), PermissionDenied()])
def test_what_the_server_says_ends_it_at_once(monkeypatch: pytest.MonkeyPatch, failure: StoreError) -> None:
    async def scenario(script: Script) -> None:
        async with Session(script, ttl_s=60) as session:
            script.steps.put_nowait(failure)
            await session.ended.wait()
            assert session.failure is failure
            assert not session.alive

    play(monkeypatch, scenario)


def test_work_under_guard_is_cut_off_when_the_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(script: Script) -> None:
        async with Session(script, ttl_s=60) as session:
            with pytest.raises(SessionExpired) as caught:
                async with session.guard():
                    script.steps.put_nowait(LeaseNotFound())
                    await asyncio.sleep(60)
            assert caught.value.__cause__ is session.failure
            with pytest.raises(SessionExpired):
                async with session.guard():
                    raise AssertionError("the session has ended")

    play(monkeypatch, scenario)


def test_what_happens_under_guard_comes_out_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(script: Script) -> None:
        async with Session(script, ttl_s=60) as session:
            with pytest.raises(TimeoutError):
                async with session.guard():
                    raise TimeoutError("the work's own")
            with pytest.raises(KeyError):
                async with session.guard():
                    raise KeyError
            async with session.guard():
                pass
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01), session.guard():
                    await asyncio.sleep(60)
            assert session.alive

    play(monkeypatch, scenario)


def test_an_error_on_the_way_out_is_not_replaced_by_that_of_the_revocation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(script: Script) -> None:
        with pytest.raises(KeyError):
            async with Session(script, ttl_s=60) as session:
                script.known.clear()
                raise KeyError
        assert script.revoked == [session.lease]

    play(monkeypatch, scenario)
