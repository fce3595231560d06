"""Passwords and tokens of one member: what takes time or chance, so that the pure rooms need neither.

bcrypt takes 55 ms at its usual cost: it runs in threads of its own, a few at a time, and only so many wait. (It lets go of the interpreter's lock.)
"""

import asyncio
import functools
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from kvstore.accounts import CLUSTER, Authenticate, Caller, Credentials, PasswordAsked, PasswordCheck, Who
from kvstore.auth import passwords
from kvstore.auth.tokens import index_of, make_prefix
from kvstore.errors import AuthFailed, AuthOldRevision, InvalidAuthToken, NotSupportedForLearner, TooManyRequests
from kvstore.member.requests import Barrier
from kvstore.server.loop import Runner

if TYPE_CHECKING:
    from kvstore.auth.signed import SignedTokens

T = TypeVar("T")

THREADS = 2
WAITING_MAX = 200
"""Passwords being looked at or waiting for it: five seconds of both threads. More are refused."""
TRIES_MAX = 10
"""A password is looked at anew when the accounts changed meanwhile."""


class Logins:
    def __init__(self, runner: Runner, signed: "SignedTokens | None", bcrypt_cost: int) -> None:
        self._runner = runner
        self._member = runner.member
        self._signed = signed
        self._cost = bcrypt_cost
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._waiting = 0
        # What a password of nobody is held against, so that an answer's time does not tell which names exist.
        self._nobodys_hash = b""

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    # --- who somebody is ----------------------------------------------------------------------------------------------------

    def known(self, who: Who) -> Who:
        """A signed token says all by itself; everything else is for the member to look up. Raises InvalidAuthToken."""
        if self._signed is None or not isinstance(who, Credentials) or who.token is None:
            return who
        try:
            return self._signed.verify(who.token, time.time())
        except InvalidAuthToken:
            if self._member.machine.accounts.enabled:
                raise
            return None  # nobody looks at tokens while authentication is off

    async def catch_up(self, who: Who) -> None:
        """A simple token may come from an entry that this member has not applied yet: then it must before it says that there is no such token."""
        if self._signed is not None or not isinstance(who, Credentials) or who.token is None:
            return
        index = index_of(who.token)
        if index is not None and index > self._member.machine.applied_index:
            try:
                await self._ask(Barrier())
            except NotSupportedForLearner:
                raise InvalidAuthToken from None

    async def caller(self, who: Who) -> Caller:
        """For whom a write is proposed. Raises InvalidAuthToken."""
        await self.catch_up(who)
        return self._member.identify(self.known(who))

    # --- passwords ----------------------------------------------------------------------------------------------------------

    async def make_hash(self, password: str) -> bytes:
        return await self._in_thread(lambda: passwords.make_hash(password, secrets.token_bytes(passwords.SALT_BYTES), self._cost))

    async def authenticate(self, name: str, password: str) -> str:
        """A token. Raises AuthFailed, AuthNotEnabled, NoPasswordUser, VerifyOnlyKey."""
        if not self._nobodys_hash:
            self._nobodys_hash = await self.make_hash(secrets.token_urlsafe())
        for _ in range(TRIES_MAX):
            check: PasswordCheck = await self._ask(PasswordAsked(name))
            right = await self._in_thread(functools.partial(passwords.is_right, password, check.password_hash or self._nobodys_hash))
            if not right or not check.password_hash:
                raise AuthFailed
            try:
                return await self._token(name, check.revision)
            except AuthOldRevision:
                continue
        raise AuthOldRevision

    async def _token(self, name: str, revision: int) -> str:
        """Raises AuthOldRevision if the accounts are not any more what the password was held against."""
        signed = self._signed
        if signed is None:
            future: asyncio.Future[str] = self._runner.loop.create_future()
            self._member.propose(Authenticate(name, make_prefix(secrets.randbelow), revision), future, CLUSTER)
            self._runner.wake()
            return await future
        token = await self._in_thread(lambda: signed.issue(name, revision, time.time()))
        if self._member.machine.accounts.revision != revision:
            raise AuthOldRevision
        return token

    # --- ways -----------------------------------------------------------------------------------------------------------------

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Raises TooManyRequests."""
        if self._waiting >= WAITING_MAX:
            raise TooManyRequests
        self._waiting += 1
        try:
            return await self._runner.loop.run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _ask(self, request: Any) -> asyncio.Future[Any]:
        future = self._runner.loop.create_future()
        self._member.read(request, future)
        self._runner.wake()
        return future
