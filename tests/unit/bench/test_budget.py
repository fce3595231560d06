"""From stacks to microseconds by step."""

from pathlib import Path

import pytest

from bench.budget import ELSEWHERE, shares, step
from bench.budget import divided as microseconds


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (["run (asyncio/runners.py:1)"], "event loop, kernel"),
        (["_turn (kvstore/server/loop.py:1)", "append (kvstore/storage/raftlog.py:7)", "put (kvstore/storage/lmdb_engine.py:3)"], "log"),
        (["_turn (kvstore/server/loop.py:1)", "apply (kvstore/statemachine/machine.py:7)", "put (kvstore/storage/lmdb_engine.py:3)"], "apply"),
        (["put (kvstore/api/kv.py:1)", "parse (kvstore/wire/codec.py:1)"], "decode"),
        (["put (kvstore/api/kv.py:1)", "put_response (kvstore/wire/codec.py:1)", "join (somewhere.py:1)"], "encode"),
        (["put (kvstore/api/kv.py:1)"], "serve"),
    ],
)
def test_the_innermost_room_is_charged(frames: list[str], expected: str) -> None:
    assert step(frames) == expected


def test_each_thread_is_divided_by_its_own_samples(tmp_path: Path) -> None:
    raw = tmp_path / "stacks"
    raw.write_text(
        "thread (1): MainThread;a (kvstore/raft/core.py:1) 3\nthread (1): MainThread;b (x.py:1) 1\nthread (2): disk;c (kvstore/server/disk.py:1) 9\n"
    )
    found = shares(raw)
    assert found == {1: {"replicate": 0.75, "event loop, kernel": 0.25}, 2: {"log": 1.0}}
    assert microseconds({1: 40.0, 2: 5.0, 3: 2.0}, found) == {"log": 5.0, "replicate": 30.0, "event loop, kernel": 10.0, ELSEWHERE: 2.0}
