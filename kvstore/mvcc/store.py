"""The keys at their revisions: open, begin, current and compacted revision. The operations are in the modules beside it.

A store works in one write transaction at a time, given by `begin` and committed by the owner, who calls `seal` before. Everything, reads too, goes
through that transaction and so sees what was applied, committed or not. `main` and `sub` number the changes of the transaction under
way: `main` is the revision that the next change belongs to.
"""

from kvstore.errors import Compacted, FutureRevision
from kvstore.ids import Revision
from kvstore.model import EncodedKeyValue
from kvstore.mvcc.events import AppliedEvent, RevisionEvents
from kvstore.mvcc.record import HISTORY_SIZE, NEWEST_SIZE, REVISION_SIZE
from kvstore.storage.engine import WriteTxn
from kvstore.storage.tables import StateTables

FIRST_REVISION = Revision(1)
"""The revision of an empty store (etcd REV-1)."""


class Counts:
    """What was done since the start, for the metrics: no answer depends on it, and replaying the log counts again."""

    __slots__ = ("compacted_versions", "deletes", "put_bytes", "puts", "ranges", "txns")

    def __init__(self) -> None:
        self.ranges = 0
        self.puts = 0
        self.put_bytes = 0
        self.deletes = 0
        self.txns = 0
        """Transactions of more than one operation."""
        self.compacted_versions = 0


class Store:
    def __init__(self, tables: StateTables, revision: Revision, compacted: Revision, compaction_done: Revision) -> None:
        self.tables = tables
        self.txn: WriteTxn
        self.revision = revision
        self.compacted = compacted
        """Reads below are refused; 0: never compacted, or only at 0, which changes nothing."""
        self.compacted_at_zero = False
        """Compacted at 0: once, that is no error (C-1)."""
        self.compaction_done = compaction_done
        """Up to here compaction has also deleted."""
        self.compaction_at = b""
        """The history key from which the compaction under way goes on."""
        self.counts = Counts()
        self.leases: dict[int, int] = {}
        """Lease id to granted TTL in seconds."""
        self.told: list[RevisionEvents] = []
        """Changes that nobody took yet."""
        self.changes: list[AppliedEvent] = []
        """Changes of the request under way; their number is the next sub-revision."""

    def begin(self, txn: WriteTxn) -> None:
        self.txn = txn

    def current(self) -> Revision:
        """What a read inside the request under way calls current: the new revision once something was written."""
        return Revision(self.revision + 1) if self.changes else self.revision

    def finish(self) -> Revision:
        """The request under way is done: its changes, if any, are a revision. Returns the current one."""
        if self.changes:
            self.revision = Revision(self.revision + 1)
            self.told.append(RevisionEvents(self.revision, tuple(self.changes)))
            self.changes = []
        return self.revision

    @property
    def compact_revision(self) -> int:
        """As etcd tells it: -1 if it was never compacted."""
        return self.compacted if self.compacted or self.compacted_at_zero else -1

    def version(self, row: bytes) -> EncodedKeyValue:
        """The live version that a row of `newest` stands for."""
        return EncodedKeyValue(row[NEWEST_SIZE:]) or self.version_apart(row)

    def version_apart(self, row: bytes) -> EncodedKeyValue:
        """The same for a row that holds no more than where it is."""
        entry = self.txn.get(row[:REVISION_SIZE], db=self.tables.history)
        assert entry is not None, "the newest version of a key is in the history, whatever compaction has deleted"
        return EncodedKeyValue(entry[HISTORY_SIZE:])

    def check_revision(self, revision: int) -> None:
        """Can this revision be read? (0 and below: the newest.) Raises FutureRevision or Compacted, in etcd's order."""
        if revision > self.current():
            raise FutureRevision
        if 0 < revision < self.compacted:
            raise Compacted
