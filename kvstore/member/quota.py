"""How much the state may hold: what a write will cost, and whether there is room for it (etcd A-1 to A-3; server/storage/quota.go).

The size that counts is that of the state's file, as in etcd: compaction frees pages inside it, defragmenting gives them back, and only then
is there room again. The file is measured after each commit; what was applied since is estimated, and counts only as far as it does not fit
the file's free pages. Members' files differ in size, so nothing here may decide what a command does: only whether a client is let in,
what it is told, and whether this member raises its alarm.
"""

from typing import Any

from kvstore.model import LeaseGrant, Put, Txn

PUT_OVERHEAD_BYTES = 256
LEASE_COST_BYTES = 64

NEAR_BYTES = 64 << 20
"""From so far below the limit on, every write is looked at. Far more than can be written between two commits and wait at the door."""

ROW_OVERHEAD_BYTES = 200
"""What a small change takes in three tables beside its key and value."""


def cost(command: Any) -> int:
    """Bytes that a command may add, by etcd's rule; 0 for what adds nothing, which is let in even when there is no room."""
    kind = type(command)
    if kind is Put:
        return PUT_OVERHEAD_BYTES + len(command.key) + len(command.value)
    if kind is Txn:
        return max(sum(map(cost, command.success)), sum(map(cost, command.failure)))
    return LEASE_COST_BYTES if kind is LeaseGrant else 0


class Quota:
    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes` 0: no limit."""
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        """The state's file after the last commit."""
        self.in_use_bytes = 0
        self._written_bytes = 0
        self.near = False
        """Is it worth asking? False far below the limit, so that a write costs nothing there."""
        self.measured(0, 0)

    def measured(self, size_bytes: int, in_use_bytes: int) -> None:
        """The state was committed (or replaced), and everything applied so far is in these numbers."""
        self.size_bytes = size_bytes
        self.in_use_bytes = in_use_bytes
        self._written_bytes = 0
        self.near = self.limit_bytes > 0 and size_bytes + NEAR_BYTES >= self.limit_bytes

    def written(self, entry_bytes: int) -> None:
        """An entry of this size was applied and is not committed: a small value is stored with its key and in the history."""
        self._written_bytes += 2 * entry_bytes + ROW_OVERHEAD_BYTES

    def looked(self, in_use_bytes: int) -> None:
        """What the tables hold now, what is not committed included: takes the place of the guess that `written` makes."""
        self.in_use_bytes = in_use_bytes
        self._written_bytes = 0

    def allows(self, command: Any) -> bool:
        """Is there room? Deletes and what else costs nothing always have it. False may be a guess (`is_guess`): look, then ask again."""
        if not self.near:
            return True
        bytes_more = cost(command)
        return not bytes_more or self._expected_bytes() + bytes_more < self.limit_bytes

    @property
    def is_guess(self) -> bool:
        """More was written than the file has free pages, as far as we can guess: values that took the place of others may have left room."""
        return self._written_bytes > 0 and self.in_use_bytes + self._written_bytes > self.size_bytes

    def _expected_bytes(self) -> int:
        """The file after the next commit: it grows by what does not fit its free pages."""
        return max(self.size_bytes, self.in_use_bytes + self._written_bytes)
