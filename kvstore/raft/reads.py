"""ReadIndex (dissertation, 6.4): rounds of heartbeats that prove we were still leader after the reads arrived.

A round is confirmed by a majority that answered a heartbeat carrying its number or a later one; an answer to an earlier round says nothing
about it (etcd issue 20418: after a long pause, old answers must not confirm new reads). Its index is the commit index when it began.
"""

from collections import deque

from msgspec import Struct

from kvstore.ids import Index, MemberId

ROUNDS_OUT_MAX = 8


class ReadRequest(Struct, frozen=True, gc=False):
    """A batch of reads of `requester` (ourselves or a follower), by its number there."""

    requester: MemberId
    context: int


class Round(Struct, frozen=True, gc=False):
    number: int
    index: Index
    requests: list[ReadRequest]


class ReadRounds:
    """The leader's side."""

    def __init__(self) -> None:
        self.last_number = 0
        self.waiting: list[ReadRequest] = []
        self._out: deque[Round] = deque()

    def begin(self, commit: Index) -> Round | None:
        """A new round for everything that waits, or None: nothing waits, or enough rounds are out."""
        if not self.waiting or len(self._out) >= ROUNDS_OUT_MAX:
            return None
        self.last_number += 1
        started = Round(self.last_number, commit, self.waiting)
        self.waiting = []
        self._out.append(started)
        return started

    def confirmed_through(self, number: int) -> list[Round]:
        """Rounds up to `number` are confirmed: take them out."""
        confirmed = []
        while self._out and self._out[0].number <= number:
            confirmed.append(self._out.popleft())
        return confirmed

    def drain(self) -> list[ReadRequest]:
        """Everything unanswered, for when we lead no more. Numbers go on rising, so that no old answer fits a new round."""
        requests = [request for started in self._out for request in started.requests] + self.waiting
        self._out.clear()
        self.waiting = []
        return requests
