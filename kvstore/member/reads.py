"""Linearizable reads: ask Raft for a read index, wait until the state has applied it, read (dissertation, 6.4).

All reads that arrive while earlier rounds are out share the next round, so a busy member pays for a round per batch and not per read.
A round that fails (no leader, leader lost) is asked again with the next tick until the clients' deadlines: asking twice is harmless.
"""

from collections import deque
from typing import Any

from kvstore.ids import Index

ROUNDS_OUT_MAX = 4
"""Rounds this member has under way at once. One would make a read that just missed a round wait for two."""

Read = tuple[Any, Any, float]
"""A request, its token and its deadline."""


class Reads:
    def __init__(self, timeout_s: float, first_context: int) -> None:
        """`first_context`: a random 64-bit number, new at every start. An answer to a question from before the start may still be under way,
        and must not confirm a read that was asked after it."""
        self._timeout_s = timeout_s
        self._waiting: list[Read] = []
        self._failed: list[Read] = []
        self._rounds: dict[int, list[Read]] = {}
        self._due: deque[tuple[Index, list[Read]]] = deque()
        self._last_context = first_context >> 1
        self.rounds_failed = 0
        """For the metrics: there was no leader, or it was lost before it answered."""
        self.rounds_timed_out = 0
        """No answer until the clients' time was over."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._failed) + sum(map(len, self._rounds.values())) + sum(len(batch) for _, batch in self._due)

    def add(self, request: Any, token: Any, now_s: float) -> None:
        self._waiting.append((request, token, now_s + self._timeout_s))

    def next_round(self) -> int | None:
        """The context of a new round for everything that waits, or None: nothing waits, or enough rounds are out."""
        if not self._waiting or len(self._rounds) >= ROUNDS_OUT_MAX:
            return None
        self._last_context += 1
        self._rounds[self._last_context] = self._waiting
        self._waiting = []
        return self._last_context

    def confirmed(self, context: int, index: Index) -> None:
        batch = self._rounds.pop(context, None)
        if batch:
            self._due.append((index, batch))

    def failed(self, context: int) -> None:
        self.rounds_failed += 1
        self._failed += self._rounds.pop(context, ())

    def due(self, applied: Index) -> list[Read]:
        """Reads whose index the state has reached. Rounds are confirmed in order, so the first that is not due ends the search."""
        reads: list[Read] = []
        while self._due and self._due[0][0] <= applied:
            reads += self._due.popleft()[1]
        return reads

    def has_due(self, applied: Index) -> bool:
        return bool(self._due) and self._due[0][0] <= applied

    def tick(self, now_s: float) -> list[Any]:
        """Ask failed rounds again; return tokens whose time is over."""
        self._waiting += self._failed
        self._failed = []
        expired: list[Any] = []
        self._waiting = _without_expired(self._waiting, now_s, expired)
        for context, batch in list(self._rounds.items()):
            # The first of a round need not be its oldest: what failed before joins those that wait already.
            self._rounds[context] = _without_expired(batch, now_s, expired)
            if not self._rounds[context]:
                self.rounds_timed_out += 1
                del self._rounds[context]
        for position, (index, batch) in enumerate(self._due):
            self._due[position] = (index, _without_expired(batch, now_s, expired))
        return expired

    def drain(self) -> list[Any]:
        """All tokens, for when the member stops."""
        batches = [self._waiting, self._failed, *self._rounds.values(), *(batch for _, batch in self._due)]
        self._waiting, self._failed = [], []
        self._rounds.clear()
        self._due.clear()
        return [token for batch in batches for _, token, _ in batch]


def _without_expired(batch: list[Read], now_s: float, expired: list[Any]) -> list[Read]:
    if not batch or min(read[2] for read in batch) > now_s:
        return batch
    expired += [token for _, token, deadline_s in batch if deadline_s <= now_s]
    return [read for read in batch if read[2] > now_s]
