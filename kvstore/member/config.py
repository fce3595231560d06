"""What one member must know to run. Times in seconds of the member's own clock, as `Member.tick(now_s)` tells it."""

from msgspec import Struct

from kvstore.ids import ClusterId
from kvstore.member.changes import Rules
from kvstore.member.compactor import AutoCompaction
from kvstore.member.corruption import CorruptionChecks
from kvstore.raft.config import Config as RaftConfig


class MemberConfig(Struct, frozen=True):
    cluster_id: ClusterId
    raft: RaftConfig
    name: str
    client_urls: tuple[str, ...]
    version: str
    storage_version: str
    election_timeout_s: float = 1.0
    tick_s: float = 0.1
    """How often `tick` is called; leases get this much grace because the member's clock stands still between ticks."""
    snapshot_entries: int = 10_000
    """Applied entries beyond those kept for slow followers before the log is cut (etcd's --snapshot-count)."""
    catchup_entries: int = 5_000
    """Applied entries kept in the log for followers that are behind (--snapshot-catchup-entries)."""
    retained_entries_max: int = 1_000_000
    """While a follower is being sent a snapshot the log is kept from there on, but never more than this."""
    first_election_early: bool = False
    """Not to wait a whole time-out for the first election after a start where that is needless (--initial-election-tick-advance)."""
    quota_bytes: int = 2 << 30
    reconfiguration: Rules = Rules()
    unapplied_entries_max: int = 5_000
    """Committed but unapplied entries beyond which new proposals are refused (etcd's maxGapBetweenApplyAndCommitIndex)."""
    auto_compaction: AutoCompaction = AutoCompaction()
    corruption_checks: CorruptionChecks = CorruptionChecks()
    commit_entries: int = 4_096
    """Applied entries after which the state is committed to disk, and never more than make the log due to be cut: that waits for the state."""
    commit_bytes: int = 8 << 20
    commit_ticks: int = 10
    """Ticks after which a dirty state is committed even if little was written."""

    auth_token_ttl_s: float = 300.0
    """How long a simple token lives after its last use here (--auth-token-ttl)."""

    @property
    def request_timeout_s(self) -> float:
        """etcd's rule: 5 s plus twice the election timeout, for disk and one election."""
        return 5.0 + 2 * self.election_timeout_s

    @property
    def lease_ttl_min_s(self) -> int:
        """etcd's rule: no lease may be shorter than one and a half election timeouts, rounded up."""
        return -int(-1.5 * self.election_timeout_s // 1)
