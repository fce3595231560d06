"""Timeouts in ticks and limits in bytes of one core. A tick is whatever the driver says (the server: one heartbeat interval)."""

from msgspec import Struct

from kvstore.ids import MemberId


class Config(Struct, frozen=True):
    id: MemberId
    election_ticks: int = 10
    """Without a leader for this long (up to twice this long, drawn at random), campaign. Also the window of check-quorum."""
    heartbeat_ticks: int = 1
    pre_vote: bool = True
    append_bytes_max: int = 1 << 20
    """Entry data in one append; a single larger entry still goes alone."""
    inflight_appends_max: int = 256
    """Appends on their way to one follower before the leader waits for an answer."""
    inflight_bytes_max: int = 8 << 20
    uncommitted_bytes_max: int = 64 << 20
    """Proposals beyond this are refused: the bound on the memory that uncommitted entries take."""
    tail_bytes_max: int = 8 << 20
    """Recent entries kept in memory for followers that are close behind."""
    committed_bytes_max: int = 4 << 20
    """Entry data handed out for applying in one Ready."""
    snapshot_chunk_bytes: int = 256 << 10
    snapshot_resend_ticks: int = 10
    """An unanswered chunk is sent again after this long."""

    def check(self) -> None:
        """Raise ValueError for a combination that cannot work."""
        if self.id == 0:
            raise ValueError("member id 0 means nobody: give a member its own id")
        if self.heartbeat_ticks < 1 or self.election_ticks <= self.heartbeat_ticks:
            raise ValueError(
                f"election_ticks ({self.election_ticks}) must be larger than heartbeat_ticks ({self.heartbeat_ticks}), which must be at least 1"
            )
        for limit in _AT_LEAST_ONE:
            if getattr(self, limit) < 1:
                raise ValueError(f"{limit} ({getattr(self, limit)}) must be at least 1: nothing would ever pass")


_AT_LEAST_ONE = (
    "append_bytes_max",
    "inflight_appends_max",
    "inflight_bytes_max",
    "uncommitted_bytes_max",
    "committed_bytes_max",
    "snapshot_chunk_bytes",
    "snapshot_resend_ticks",
)
