"""A combination that cannot work is refused when the core is made, not found out as silence."""

import pytest

from kvstore.ids import MemberId
from kvstore.raft.config import Config

LIMITS = ["inflight_appends_max", "inflight_bytes_max", "snapshot_chunk_bytes"]


def test_the_defaults_work() -> None:
    Config(MemberId(1)).check()


def test_nobody_is_no_member() -> None:
    with pytest.raises(ValueError, match="its own id"):
        Config(MemberId(0)).check()


@pytest.mark.parametrize(("election", "heartbeat"), [(1, 1), (10, 10), (10, 0), (3, 5)])
def test_an_election_takes_longer_than_a_heartbeat(election: int, heartbeat: int) -> None:
    with pytest.raises(ValueError, match="election_ticks"):
        Config(MemberId(1), election_ticks=election, heartbeat_ticks=heartbeat).check()


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_lets_nothing_through_is_refused_by_name(limit: str) -> None:
    with pytest.raises(ValueError, match=limit):
        Config(MemberId(1), **{limit: 0}).check()  # type: ignore[arg-type]
