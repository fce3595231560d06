"""Who is worked on at once, and in which order the others come: --max-requests-inflight for reads, --max-mutating-requests-inflight for writes,
watches and streams uncounted (apiserver/pkg/server/filters/maxinflight.go), and fairness between clients in its simplest sound form:

* One client has at most as many places as are still free, so that alone it gets half of them, and whoever comes new always finds one.
* A fifth of the places is kept for the system: nodes and the components of the control plane, whose leases must be renewed whatever else happens.
* Who finds no place waits a while, a bounded number for each client, and places that come free go round the clients.
* Administrators (system:masters) and health checks need no place: they must get in to mend what fills them.

FlowSchemas and PriorityLevelConfigurations are kept and have no effect here.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from apiserver.machinery.status import ApiError
from apiserver.request import User

READS_MAX = 400
WRITES_MAX = 200
LONG_VERBS = ("watch", "proxy", "connect")
LONG_SUBRESOURCES = ("log", "exec", "attach", "portforward", "proxy")
WRITE_VERBS = ("create", "update", "patch", "delete", "deletecollection")
HEALTH = ("/healthz", "/livez", "/readyz")
MASTERS = "system:masters"
RETRY_AFTER_S = 1
SYSTEM_SHARE = 5
"""One place in so many is the system's."""
WAITING_MAX = 50
"""Of one client (upstream's queueLengthLimit)."""
WAIT_S = 15.0
"""Then the client is told to come back (a quarter of the request timeout, as upstream)."""


def is_exempt(user: User, path: str) -> bool:
    return MASTERS in user.groups or path.startswith(HEALTH)


def is_system(user: User) -> bool:
    """Nodes, components of the control plane by their certificates, and those in kube-system by their tokens."""
    return "system:nodes" in user.groups or user.name.startswith("system:kube-") or "system:serviceaccounts:kube-system" in user.groups


class Inflight:
    def __init__(self, reads_max: int = READS_MAX, writes_max: int = WRITES_MAX) -> None:
        """0 is no limit."""
        self.places = {"readOnly": Places(reads_max), "mutating": Places(writes_max)}
        self._ended = asyncio.Event()

    @property
    def running(self) -> dict[str, int]:
        return {kind: places.running for kind, places in self.places.items()}

    @asynccontextmanager
    async def place(self, verb: str, subresource: str, user: User, path: str = "") -> AsyncIterator[None]:
        """Raises ApiError (429)."""
        if verb in LONG_VERBS or subresource in LONG_SUBRESOURCES:
            yield
            return
        places = self.places["mutating" if verb in WRITE_VERBS else "readOnly"]
        exempt = is_exempt(user, path)
        if exempt:
            places.exempt += 1
        else:
            await places.take((user.name, is_system(user)))
        try:
            yield
        finally:
            if exempt:
                places.exempt -= 1
            else:
                places.give_back((user.name, is_system(user)))
            self._ended.set()

    async def idle(self, timeout_s: float) -> None:
        """Until nothing is worked on, or for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                while any(self.running.values()):
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:
            return


Client = tuple[str, bool]
"""Its name, and whether it belongs to the system."""


class Places:
    """Of one kind of request. `exempt` are worked on and hold none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.exempt = 0
        self._taken = 0
        self._by_client: dict[Client, int] = {}
        self._waiting: OrderedDict[Client, deque[asyncio.Future[None]]] = OrderedDict()
        """In the order in which the clients' turns come."""

    @property
    def running(self) -> int:
        return self.exempt + self._taken

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def take(self, client: Client) -> None:
        """Raises ApiError (429) for who waits in vain, or has too many waiting already."""
        if client not in self._waiting and self._may_have_one(client):
            self._give(client)
            return
        queue = self._waiting.setdefault(client, deque())
        if len(queue) >= WAITING_MAX:
            raise _come_back()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(WAIT_S):
                await turn
        except TimeoutError:
            self._withdraw(client, turn)
            raise _come_back() from None
        except BaseException:
            self._withdraw(client, turn)
            raise

    def give_back(self, client: Client) -> None:
        self._taken -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]
        self._next()

    def _withdraw(self, client: Client, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.give_back(client)  # its turn came in the same moment
            return
        queue = self._waiting.get(client)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[client]

    def _may_have_one(self, client: Client) -> bool:
        if not self._limit:
            return True
        _, system = client
        limit = self._limit if system else self._limit - self._limit // SYSTEM_SHARE
        return self._by_client.get(client, 0) < limit - self._taken

    def _give(self, client: Client) -> None:
        self._taken += 1
        self._by_client[client] = self._by_client.get(client, 0) + 1

    def _next(self) -> None:
        """Places that are free go to who waits, one for each client in turn."""
        for client in list(self._waiting):
            queue = self._waiting[client]
            while queue and queue[0].done():
                queue.popleft()  # given up, and not yet withdrawn
            if queue and self._may_have_one(client):
                self._give(client)
                queue.popleft().set_result(None)
                self._waiting.move_to_end(client)
            if not queue:
                del self._waiting[client]


def _come_back() -> ApiError:
    told = "the server has received too many requests and has asked us to try again later"
    return ApiError("TooManyRequests", told, details={"retryAfterSeconds": RETRY_AFTER_S})
