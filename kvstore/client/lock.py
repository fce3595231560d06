"""`Mutex`: a lock that one session at a time has, in the order in which they asked (clientv3/concurrency/mutex.go).

    async with Session(client, ttl_s=10) as session:
        async with Mutex(session, b"jobs/nightly") as mutex:
            await client.txn(messages.TxnRequest(compare=[mutex.is_owner()], success=[...]))

A lock on leases cannot stop a holder that was paused or cut off: its lease ends, another gets the lock, and then it goes on. What must not happen
twice is written in a transaction that compares `is_owner()`, or carries `revision` to wherever it writes: a later holder has a higher one.
"""

from types import TracebackType
from typing import Any, Self

from kvstore.client.contest import Contender, delete_if_unchanged
from kvstore.client.session import Session
from kvstore.errors import LockedByAnother, LockReleased


class Mutex(Contender):
    """One session has a lock once: two `Mutex` of one session and one name are the same lock."""

    def __init__(self, session: Session, name: bytes) -> None:
        super().__init__(session, name)

    async def lock(self) -> None:
        """Wait for the lock. Raises SessionExpired, StoreError; then, and when cancelled, our place in the queue is given up."""
        if not self.is_first(await self.enter(b"")):
            await self.turn()

    async def try_lock(self) -> None:
        """Raises LockedByAnother instead of waiting."""
        if not self.is_first(await self.enter(b"")):
            await self.unlock()
            raise LockedByAnother

    async def unlock(self) -> None:
        """Give the lock up. Raises LockReleased if it is not held; StoreError if the answer did not come (it may be given up all the same)."""
        if not self.revision:
            raise LockReleased
        await delete_if_unchanged(self.client, self.key, self.revision)
        self.revision = 0

    def is_owner(self) -> Any:
        """A Compare for transactions that may only happen while the lock is held."""
        return self.is_mine()

    async def __aenter__(self) -> Self:
        await self.lock()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.revision:
            await self.unlock()
