"""Who is let in before a service looks at the request: the same for every method, over gRPC and over the gateway (etcd's v3rpc/interceptor.go)."""

import asyncio
from collections.abc import Awaitable

from kvstore.accounts import Credentials
from kvstore.api.backend import Backend
from kvstore.api.needs import Need, need_of
from kvstore.api.rpc import Context, Settings
from kvstore.errors import NoLeader, NotSupportedForLearner

# A range only if it is serializable: that is in the request, so the KV service looks (MB-7).
_FOR_LEARNERS = frozenset({"/etcdserverpb.KV/Range", "/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot"})

LEADERLESS_ELECTIONS = 3
"""A stream that asked for a leader ends after this many election timeouts without one (LIM-5)."""


class Admission:
    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._is_learner = backend.is_learner
        self._leader = backend.leader
        self._election_timeout_s = settings.election_timeout_s
        self._backend = backend
        self.guarded = backend.auth_enabled
        """Whether `authorize` has anything to say."""

    def check(self, path: str, context: Context) -> None:
        """Raises NotSupportedForLearner, or NoLeader if the client asked for one and there is none."""
        if self._is_learner() and path not in _FOR_LEARNERS:
            raise NotSupportedForLearner
        if context.require_leader and not self._leader():
            raise NoLeader

    async def authorize(self, path: str, context: Context, common_name: str = "") -> Context:
        """The context with who calls, if he may call this method at all; what depends on the request the backend looks at. Raises StoreError.

        `common_name` of the client's certificate counts if he shows no token."""
        if context.credentials is None and common_name:
            context = Context(context.require_leader, Credentials(None, common_name))
        need = need_of(path)
        if need is Need.ROOT:
            await self._backend.require_root(context.credentials)
        elif need is Need.USER:
            await self._backend.require_user(context.credentials)
        return context

    async def run_stream(self, context: Context, work: Awaitable[None]) -> None:
        """Await `work`; a client that asked for a leader is told when there is none for long."""
        if not context.require_leader:
            await work
            return
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._end_without_leader(), name="stream leader check")
            await work
            watching.cancel()

    async def _end_without_leader(self) -> None:
        missing = 0
        while missing < LEADERLESS_ELECTIONS:
            await asyncio.sleep(self._election_timeout_s)
            missing = 0 if self._leader() else missing + 1
        raise NoLeader
