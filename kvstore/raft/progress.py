"""What the leader knows of one follower, and how fast it may send to it.

PROBE: not known where the logs agree, or messages seem to get lost: one append at a time. REPLICATE: appends are pipelined up to a window of
unanswered ones (`Inflight`). SNAPSHOT: what the follower needs is not in the log any more; it is sent the state in chunks.
"""

import enum
from collections import deque

from kvstore.ids import NO_INDEX, Index
from kvstore.raft.storage import SnapshotSource


class Sending(enum.Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Inflight:
    """Unanswered appends to one follower, by count and by bytes."""

    __slots__ = ("_appends", "_bytes", "_bytes_max", "_count_max")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._appends: deque[tuple[Index, int]] = deque()
        self._bytes = 0
        self._count_max = count_max
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._appends)

    @property
    def full(self) -> bool:
        return len(self._appends) >= self._count_max or self._bytes >= self._bytes_max

    def add(self, last: Index, size: int) -> None:
        self._appends.append((last, size))
        self._bytes += size

    def free_through(self, index: Index) -> None:
        """Appends that end at or before `index` were answered."""
        appends = self._appends
        while appends and appends[0][0] <= index:
            self._bytes -= appends.popleft()[1]

    def free_first_if_full(self) -> None:
        """Let one more through although nothing was answered: if something was lost, it is refused, and that starts a probe."""
        if self.full and self._appends:
            self._bytes -= self._appends.popleft()[1]

    def clear(self) -> None:
        self._appends.clear()
        self._bytes = 0


class Progress:
    """`match`: the follower has everything up to here on disk. `next`: the entry to send next. match < next always."""

    __slots__ = (
        "active",
        "asking",
        "inflight",
        "is_learner",
        "match",
        "may_ask_again",
        "next",
        "offset",
        "paused",
        "pending_snapshot",
        "read_round",
        "sending",
        "sent_commit",
        "silent_ticks",
        "source",
        "ticks_waiting",
    )

    def __init__(self, next_index: Index, inflight: Inflight, is_learner: bool) -> None:
        self.match: Index = NO_INDEX
        self.next = next_index
        self.inflight = inflight
        self.is_learner = is_learner
        self.sending = Sending.PROBE
        self.paused = False
        """PROBE: an append is out; wait for its answer or the next heartbeat's."""
        self.active = True
        """Heard from since the last check of the quorum."""
        self.may_ask_again = True
        """A heartbeat interval has passed since an answer last let us try again what may have been lost."""
        self.silent_ticks = 0
        """Since it was heard from."""
        self.asking = False
        """An answer may have been lost: the next append goes out even if it says nothing new, and wants an answer."""
        self.sent_commit: Index = NO_INDEX
        """The commit index that the follower was told last."""
        self.read_round = 0
        """The newest ReadIndex round that the follower confirmed."""
        self.source: SnapshotSource | None = None
        self.pending_snapshot: Index = NO_INDEX
        self.offset = 0
        """SNAPSHOT: the chunk that is out begins here."""
        self.ticks_waiting = 0

    def become_probe(self) -> None:
        self.sending = Sending.PROBE
        self.paused = False
        self.source = None
        self.next = Index(max(self.match, self.pending_snapshot) + 1)
        self.pending_snapshot = NO_INDEX
        self.inflight.clear()

    def become_replicate(self) -> None:
        self.sending = Sending.REPLICATE
        self.paused = False
        self.source = None
        self.pending_snapshot = NO_INDEX
        self.next = Index(self.match + 1)
        self.inflight.clear()

    def become_snapshot(self) -> None:
        """Wait for an exported state (`source`), then send it chunk by chunk."""
        self.sending = Sending.SNAPSHOT
        self.source = None
        self.pending_snapshot = NO_INDEX
        self.offset = 0
        self.ticks_waiting = 0
        self.inflight.clear()

    @property
    def may_send(self) -> bool:
        if self.sending is Sending.REPLICATE:
            return not self.inflight.full
        return self.sending is Sending.PROBE and not self.paused

    def acknowledged(self, match: Index) -> bool:
        """The follower has everything up to `match`; False if that is old news."""
        self.inflight.free_through(match)
        if match <= self.match:
            return False
        self.match = match
        if self.next <= match:
            self.next = Index(match + 1)
        return True
