"""The benchmark of the Raft core alone runs, and its members agree (it raises if not)."""

from pathlib import Path

from bench.raft_core import measure


def test_three_processes_replicate_and_agree(tmp_path: Path) -> None:
    done = measure(tmp_path, in_flight=1000, warm_up_s=0.2, seconds=0.5)
    assert done.requests > 0
    assert not done.errors
    assert list(tmp_path.iterdir()) == [], "it takes its data with it"
