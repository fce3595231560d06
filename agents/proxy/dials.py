"""Dials: the first of a service's endpoints that takes a connection, with a hedge for those that are silent, within a budget.

An endpoint that has not answered for HEDGE_S gets company: the next one is dialled beside it, and the client gets whichever answers first (a hedged
request: Dean and Barroso, "The Tail at Scale"). An endpoint that is gone costs a client a quarter of a second, and no error. On a machine that is
overloaded every dial is slow, though, and a hedge is one more connection to make here and to take there: hedges without a bound are the load that
they wait for, and none of it comes through. So a service has a budget of hedges, a share of its dials beside a small rate, as Finagle's and Linkerd's
retry budgets have and gRPC's throttling (gRFC A6). A dial whose hedge is withheld goes on, and asks again. Trying the next endpoint after one that
has refused is no hedge: that one takes no more of anybody's time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from agents.proxy.choice import Choice
from agents.proxy.rules import Target
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

HEDGE_S = 0.25
"""An endpoint that has not answered for so long gets company."""
CONNECT_S = 5.0
"""After so long without any answer the client is told that there is none."""
DIALS_PER_HEDGE = 10
"""One hedge for so many clients. When an endpoint falls silent, those who come within HEDGE_S are stuck with it, at most an eighth of what comes in
a second if it is one of two; all have had their hedge after little more than a second, well within CONNECT_S."""
HEDGES_PER_S = 1
"""Besides: a service that is seldom asked has its hedge, too."""
HEDGES_BURST = 10


class Connection(Protocol):
    def abort(self) -> None:
        """Nobody wants it any more."""


C = TypeVar("C", bound=Connection)

Dial = Callable[[Target], Awaitable[C]]
"""Raises OSError."""


class Budget:
    """A bucket of tokens, of which a hedge takes DIALS_PER_HEDGE: it gets one with each client, and some with time, and holds HEDGES_BURST hedges."""

    def __init__(self, now_s: float) -> None:
        self._tokens: float = HEDGES_BURST * DIALS_PER_HEDGE
        self._at_s = now_s

    def deposit(self, now_s: float, tokens: int = 1) -> None:
        earned = tokens + (now_s - self._at_s) * HEDGES_PER_S * DIALS_PER_HEDGE
        self._tokens = min(self._tokens + earned, HEDGES_BURST * DIALS_PER_HEDGE)
        self._at_s = now_s

    def withdraw(self, now_s: float) -> bool:
        """Whether there is enough for one more."""
        self.deposit(now_s, 0)
        if self._tokens < DIALS_PER_HEDGE:
            return False
        self._tokens -= DIALS_PER_HEDGE
        return True


class Counters:
    """Over all services."""

    def __init__(self) -> None:
        self.failed = 0
        self.hedges = 0
        self.withheld = 0
        self.under_way = 0


class Dials(Generic[C]):
    """Those of one service: what one of them learns of an endpoint helps the others, and what one service wastes is not taken from another."""

    def __init__(self, dial: Dial[C], choice: Choice, counters: Counters, now_s: float) -> None:
        self._dial, self.choice, self._counters = dial, choice, counters
        self._budget = Budget(now_s)

    async def first_to_answer(self, targets: Sequence[Target]) -> tuple[Target, C] | None:
        """The first target that takes a connection. None if none does within CONNECT_S."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + CONNECT_S
        self._budget.deposit(loop.time())
        waiting, is_next_due = list(targets), True
        winner: tuple[Target, C] | None = None
        prompt = True
        dialling: dict[asyncio.Task[C | OSError], tuple[Target, float]] = {}
        async with asyncio.TaskGroup() as group:
            while winner is None and (waiting or dialling) and (left_s := give_up_s - loop.time()) > 0:
                if waiting and (is_next_due or self._may_hedge(loop.time())):
                    target = waiting.pop(0)
                    dialling[group.create_task(self._answer(target))] = (target, loop.time())
                    is_next_due = False
                done, _ = await asyncio.wait(dialling, timeout=min(HEDGE_S, left_s) if waiting else left_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    target, since_s = dialling.pop(task)
                    answer = task.result()
                    if isinstance(answer, OSError):
                        self._counters.failed += 1
                        self.choice.silent(target)
                        is_next_due = True
                        log.debug("an endpoint does not answer", extra=fields(endpoint=f"{target.address}:{target.port}", error=str(answer)))
                    elif winner is None:
                        winner, prompt = (target, answer), loop.time() - since_s < HEDGE_S
                    else:
                        answer.abort()
                waiting.sort(key=self.choice.is_silent)  # what others have learned meanwhile; otherwise the order is kept
            for task, (target, since_s) in dialling.items():
                task.cancel()
                # Who is slow while another answers promptly is to blame; where all are slow, we may be.
                if prompt and loop.time() - since_s >= HEDGE_S:
                    self.choice.silent(target)
        return winner

    async def _answer(self, target: Target) -> C | OSError:
        self._counters.under_way += 1
        try:
            return await self._dial(target)
        except OSError as error:
            return error
        finally:
            self._counters.under_way -= 1

    def _may_hedge(self, now_s: float) -> bool:
        if self._budget.withdraw(now_s):
            self._counters.hedges += 1
            return True
        self._counters.withheld += 1
        return False
