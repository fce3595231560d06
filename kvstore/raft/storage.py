"""How the core reads what is stored. Calls are rare (a slow follower, a restart): the recent tail is in the core's memory."""

from collections.abc import Sequence
from typing import Protocol

from kvstore.ids import Index, Term
from kvstore.raft.messages import Entry, HardState, SnapshotMeta


class Storage(Protocol):
    """The log on disk. `snapshot` is the point behind which the log was cut; entries run from snapshot.index + 1 to last_index."""

    def hard_state(self) -> HardState: ...

    def snapshot(self) -> SnapshotMeta:
        """Index 0, term 0 if nothing was ever cut; `conf` is then the bootstrap configuration."""
        ...

    def last_index(self) -> Index: ...

    def term_at(self, index: Index) -> Term | None:
        """Term of the entry at `index`; of the snapshot at its index; None for what is not held."""
        ...

    def entries(self, first: Index, last: Index, bytes_max: int) -> Sequence[Entry]:
        """Entries first..last inclusive, at least one if held, cut where their data passes `bytes_max`."""
        ...


class SnapshotSource(Protocol):
    """An exported state, read in chunks by the leader while it sends it. The member closes it when `Raft` says it is done with it."""

    meta: SnapshotMeta
    total_bytes: int

    def read(self, offset: int, size: int) -> bytes: ...
