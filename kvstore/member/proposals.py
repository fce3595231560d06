"""Proposals of this member's clients: who waits for which request id, and until when.

A proposal is answered exactly once: by the outcome of applying it, or by a time-out. A time-out says nothing about the write, which may
still be applied later (once: an entry is applied once, and a lost proposal is never proposed again by us), if it was sent.
"""

from typing import Any

from kvstore.ids import RequestId
from kvstore.statemachine.commands import decode_command

_ID_MASK = (1 << 64) - 1

BATCH_BYTES_MAX = 1 << 20
"""Commands in one message to the leader; a single larger one still goes alone."""


class Proposals:
    def __init__(self, first_id: int, timeout_s: float) -> None:
        self._next_id = first_id & _ID_MASK
        self._timeout_s = timeout_s
        # Deadlines rise with insertion, because all have the same time-out and dicts keep their order: expiring looks at the front only.
        self._waiting: dict[int, tuple[Any, float]] = {}
        self.unsent: list[bytes] = []
        """Encoded commands not yet given to Raft: the batch being collected, or everything while there is no leader."""

    def __len__(self) -> int:
        return len(self._waiting)

    def next_id(self) -> RequestId:
        """Unique over members and restarts, because each start begins at a random 64-bit number; never 0."""
        self._next_id = (self._next_id + 1) & _ID_MASK or 1
        return RequestId(self._next_id)

    def wait(self, request_id: RequestId, token: Any, now_s: float) -> None:
        self._waiting[request_id] = (token, now_s + self._timeout_s)

    def complete(self, request_id: RequestId) -> Any:
        """The token that waits for this id, or None: not ours, or given up already."""
        waiting = self._waiting.pop(request_id, None)
        return None if waiting is None else waiting[0]

    def next_batch(self) -> list[bytes]:
        """What to propose at once: all that is unsent, but no more than fits a message to the leader."""
        unsent = self.unsent
        size = 0
        for position, data in enumerate(unsent):
            size += len(data)
            if size > BATCH_BYTES_MAX and position:
                return unsent[:position]
        return unsent[:]

    def expire(self, now_s: float) -> list[Any]:
        """Tokens whose time is over."""
        expired = []
        for request_id, (token, deadline_s) in self._waiting.items():
            if deadline_s > now_s:
                break
            expired.append((request_id, token))
        for request_id, _ in expired:
            del self._waiting[request_id]
        if expired and self.unsent:
            self._forget_given_up()
        return [token for _, token in expired]

    def _forget_given_up(self) -> None:
        """Drop from the front of what is unsent the commands that nobody waits for any more. Without a leader they would pile up, and be written
        long after their clients were told that they failed."""
        given_up = 0
        for data in self.unsent:
            if decode_command(data).request_id in self._waiting:
                break
            given_up += 1
        del self.unsent[:given_up]

    def drain(self) -> list[Any]:
        """All tokens, for when the member stops."""
        tokens = [token for token, _ in self._waiting.values()]
        self._waiting.clear()
        self.unsent.clear()
        return tokens
