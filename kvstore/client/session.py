"""A session: a lease that lives as long as its owner does (clientv3/concurrency/session.go).

    async with Session(client, ttl_s=10) as session:
        await client.put(b"here/i-am", b"", lease=session.lease)
        async with session.guard():
            ...  # cancelled, with SessionExpired, when the session ends

Entered, it is granted a lease (or takes over the one given) and renews it in the background. Left, it revokes the lease, and everything attached
to it goes. It ends by itself when the server says that the lease is gone, or when no renewal has come through for a whole TTL: then the
lease may be gone, and who holds something by it must stop. Time is counted from when a renewal was asked for, so a session ends here before
its lease ends there, as far as the two clocks run at the same pace and this process is not stopped in between: what has to be right even
then is to be written in a transaction that compares the key held (`Mutex.is_owner`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from keelson.cogs.tasks import TaskSet
from kvstore.client.client import Client
from kvstore.client.lease import renewals
from kvstore.errors import LeaseNotFound, SessionExpired, StoreError

SESSION_TTL_S = 60


class Session:
    """`lease` 0: one of its own, with `ttl_s`. A lease taken over has the TTL that it was granted with."""

    def __init__(self, client: Client, *, ttl_s: int = SESSION_TTL_S, lease: int = 0) -> None:
        self.client = client
        self.lease = lease
        self.ttl_s = ttl_s
        self.ended = asyncio.Event()
        """Set when the lease has ended, may have ended, or is no longer renewed from here."""
        self.failure: StoreError | None = None
        """Why it ended by itself; None for a session that was orphaned or closed."""
        self._deadline_s = 0.0
        self._tasks = TaskSet("session", lambda _, error: self._end(SessionExpired(f"the session's renewal failed: {error!r}")))
        self._guards: set[asyncio.Timeout] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            await self.close()
        else:
            with contextlib.suppress(StoreError):  # that lease ends by itself; the error under way is the one to be told
                await self.close()

    async def start(self) -> None:
        """Have a lease and begin to renew it. Raises StoreError (LeaseNotFound for a lease to take over that there is not)."""
        asked_at_s = asyncio.get_running_loop().time()
        if not self.lease:
            granted = await self.client.lease_grant(self.ttl_s)
            self.lease, self.ttl_s = granted.ID, granted.TTL
        else:
            found = await self.client.lease_time_to_live(self.lease)
            if found.TTL <= 0:
                raise LeaseNotFound
            self.ttl_s = found.TTL
        self._deadline_s = asked_at_s + self.ttl_s
        self._tasks.start("renew", self._renew())

    @property
    def alive(self) -> bool:
        """False as soon as the lease may have ended, even if nobody has noticed yet."""
        return not self.ended.is_set() and asyncio.get_running_loop().time() < self._deadline_s

    async def orphan(self) -> None:
        """Renew no more, and leave the lease to live out its time, or to another owner."""
        self._end(None)
        await self._tasks.close()

    async def close(self) -> None:
        """End the lease, and with it all keys attached. Raises StoreError if that could not be had; then the lease ends within its TTL."""
        await self.orphan()
        if self.lease:
            with contextlib.suppress(LeaseNotFound):
                await self.client.lease_revoke(self.lease)

    @contextlib.asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """The block is cancelled when the session ends, and SessionExpired comes out of it."""
        if not self.alive:
            raise SessionExpired
        try:
            async with asyncio.timeout(None) as cut:
                self._guards.add(cut)
                try:
                    yield
                finally:
                    self._guards.discard(cut)
        except TimeoutError:
            if not cut.expired():
                raise
            raise SessionExpired from self.failure

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout_at(self._deadline_s) as until, contextlib.aclosing(renewals(self.client, self.lease)) as renewed:
                async for renewal in renewed:
                    self.ttl_s = renewal.answer.TTL
                    self._deadline_s = renewal.asked_at_s + self.ttl_s
                    until.reschedule(self._deadline_s)
        except TimeoutError:
            self._end(SessionExpired())
        except StoreError as error:
            self._end(error)

    def _end(self, failure: StoreError | None) -> None:
        if self.ended.is_set():
            return
        self.failure = failure
        self.ended.set()
        now_s = asyncio.get_running_loop().time()
        for cut in self._guards:
            cut.reschedule(now_s)
        self._guards.clear()
