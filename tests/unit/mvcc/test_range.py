"""Ranges read in steps: one revision from the first step to the last, whatever is written meanwhile; and no range is too long for one step."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.encoding import decode_key_value, encode_key_value
from kvstore.errors import Compacted, LeaderChanged, StoreError
from kvstore.model import Compact, DeleteRange, Put, Range, RangeResult
from kvstore.mvcc import range as ranges
from kvstore.mvcc import scan
from kvstore.statemachine.machine import Machine
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.memory_engine import MemoryDisk

LONG = b"k" * 450
"""Longer than a table key holds, so that those who share its beginning stand as a group."""
KEYS = [b"a", b"a\x00", b"ab", b"b", b"\xff", LONG[:400], LONG, LONG + b"a", LONG + b"b", LONG + b"c", b"k" * 399 + b"z" + b"y" * 80, b"l"]


class State:
    def __init__(self) -> None:
        engine = MemoryDisk().open_state()
        self.machine = Machine(engine)
        self.machine.begin(engine.begin_write())

    def apply(self, command: Put | DeleteRange | Compact) -> None:
        outcome = self.machine.apply(self.machine.applied_index + 1, 1, command)
        assert not isinstance(outcome, StoreError), outcome


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "KEYS_PER_STEP", 2)
    monkeypatch.setattr(scan, "KEYS_COUNTED_PER_STEP", 2)


def steps_of(state: State, request: Range) -> Iterator[RangeResult | None]:
    steps = state.machine.range_steps(request)
    assert steps is not None, "whatever has an end is read in steps"
    return steps


def test_one_key_needs_no_steps() -> None:
    assert State().machine.range_steps(Range(b"a")) is None


@pytest.mark.parametrize("request_", [Range(b"\x00", b"\xff"), Range(b"\x00", b"\xff", limit=1), Range(b"\x00", b"\xff", count_only=True)])
def test_a_limit_does_not_make_a_range_short_because_all_of_it_is_counted(request_: Range) -> None:
    state = State()
    for number in range(21):
        state.apply(Put(b"%02d" % number))
    *pauses, answer = steps_of(state, request_)
    assert pauses == [None] * 10
    assert answer is not None
    assert answer.count == 21


@pytest.mark.parametrize("seed", range(40))
def test_steps_tell_of_the_revision_at_which_they_began(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(scan, "CHANGES_MAX", chance.choice([0, 5, 1000]))
    state = State()
    for key in chance.choices(KEYS, k=20):
        state.apply(Put(key, chance.randbytes(2)) if chance.random() < 0.8 else DeleteRange(key))
    key, end = chance.choice([(b"\x00", b"\x00"), (b"a", b"l"), (b"b", LONG + b"b"), (LONG, LONG + b"c"), (b"a", b"\x00")])
    request = Range(key, end, limit=chance.choice([0, 0, 1, 3, 50]), revision=chance.choice([0, state.machine.revision - 3]))
    expected = state.machine.range(request)
    steps = steps_of(state, request)
    answer = next(steps)
    while answer is None:
        for other in chance.choices(KEYS, k=chance.randint(0, 3)):
            state.apply(Put(other, b"later") if chance.random() < 0.6 else DeleteRange(other))
        answer = next(steps)
    assert answer == expected
    whole = [decode_key_value(kv).key for kv in answer.kvs]
    assert whole == sorted(whole)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_only_counted_is_counted_as_what_is_read(seed: int) -> None:
    chance = random.Random(seed)
    state = State()
    for key in chance.sample(KEYS, k=chance.randint(1, len(KEYS))):
        state.apply(Put(key))
    key, end = sorted(chance.sample([*KEYS, b"\x01", b"z"], 2))
    for range_end in (end, b"\x00"):
        read = state.machine.range(Range(key, range_end))
        counted = state.machine.range(Range(key, range_end, count_only=True))
        assert (counted.count, counted.kvs) == (len(read.kvs), [])


def test_a_step_ends_with_its_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "KEYS_PER_STEP", 1000)
    monkeypatch.setattr(scan, "KEYS_WEIGHED", 2)
    monkeypatch.setattr(scan, "BYTES_PER_STEP", 100)
    state = State()
    for number in range(7):
        state.apply(Put(b"%d" % number, b"v" * 60))
    *pauses, answer = steps_of(state, Range(b"\x00", b"\xff"))
    assert pauses == [None] * 3
    assert answer is not None
    assert [decode_key_value(kv).key for kv in answer.kvs] == [b"%d" % number for number in range(7)]


@pytest.mark.parametrize("value", [b"", b"v", b"v" * 300])
@pytest.mark.parametrize("lease", [0, 7, -1])
def test_keys_only_leaves_out_the_value_and_nothing_else(value: bytes, lease: int) -> None:
    for key in (b"k", LONG):
        encoded = encode_key_value(key, 200, 300_000, 129, value, lease)
        assert ranges._without_value(encoded) == encode_key_value(key, 200, 300_000, 129, b"", lease)


@pytest.mark.parametrize("seed", range(20))
def test_what_did_not_change_since_is_read_as_the_newest(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(scan, "KEYS_PER_STEP", 7)
    state = State()
    keys = [b"%02d" % number for number in range(60)]
    for key in chance.sample(keys, 50):
        state.apply(Put(key, b"before"))
    revision = state.machine.revision
    ranges_ = [Range(*sorted(chance.sample(keys, 2)), limit=chance.choice([0, 0, 5]), revision=revision) for _ in range(5)]
    ranges_ += [Range(b"0", b"\0", revision=revision), Range(b"0", b"9", revision=revision, count_only=True)]
    expected = [state.machine.range(request) for request in ranges_]
    changed = chance.sample(keys, 6)
    for key in changed:
        state.apply(Put(key, b"after") if chance.random() < 0.5 else DeleteRange(key))
    looked_up: list[bytes] = []
    look_up = scan.version_at
    monkeypatch.setattr(scan, "version_at", lambda store, key, at: looked_up.append(key) or look_up(store, key, at))
    for request, before in zip(ranges_, expected, strict=True):
        answer = state.machine.range(request)
        assert (answer.kvs, answer.count, answer.more) == (before.kvs, before.count, before.more)
    assert set(looked_up) <= set(changed)


def test_a_compaction_that_overtakes_a_range_at_a_revision_ends_it() -> None:
    state = State()
    for key in KEYS:
        state.apply(Put(key))
    steps = steps_of(state, Range(b"\x00", b"\x00", revision=state.machine.revision))
    assert next(steps) is None
    state.apply(Put(b"a", b"later"))
    state.apply(Compact(state.machine.revision))
    with pytest.raises(Compacted):
        next(steps)


def test_a_compaction_that_overtakes_a_range_of_the_newest_has_it_begin_anew() -> None:
    """etcd never tells somebody who named no revision that it was compacted."""
    state = State()
    for key in KEYS:
        state.apply(Put(key))
    request = Range(b"\x00", b"\x00")
    steps = steps_of(state, request)
    assert next(steps) is None
    state.apply(DeleteRange(KEYS[0]))
    state.apply(Compact(state.machine.revision))
    while state.machine.compaction_step(1000):
        pass
    *_, answer = steps
    assert answer == state.machine.range(request)
    steps = steps_of(state, request)
    for turn in range(ranges.BEGINNINGS_MAX):
        assert next(steps) is None
        state.apply(Put(b"a", b"%d" % turn))
        state.apply(Compact(state.machine.revision))
    with pytest.raises(Compacted):
        next(steps)


@pytest.mark.parametrize("kind", ["lmdb", "memory"])
@pytest.mark.parametrize("begun", [True, False])
def test_a_snapshot_that_replaces_the_state_ends_a_range_under_way_and_nothing_else(kind: str, begun: bool, tmp_path: Path) -> None:
    disk = LmdbDisk(tmp_path / "member", 1 << 26) if kind == "lmdb" else MemoryDisk()
    engine = disk.open_state()
    machine = Machine(engine)
    machine.begin(engine.begin_write())
    for index, key in enumerate(KEYS, start=1):
        machine.apply(index, 1, Put(key))
    machine.seal()
    machine.transaction.commit()
    machine.begin(engine.begin_write())
    steps = machine.range_steps(Range(b"\x00", b"\x00"))
    assert steps is not None
    if begun:
        assert next(steps) is None
    export = engine.export()
    importer = disk.import_state(export.total_bytes)
    importer.write(0, export.read(0, export.total_bytes))
    export.close()
    machine.transaction.abort()
    engine.close()
    replaced = importer.finish()
    with pytest.raises(LeaderChanged):
        next(steps)
    again = Machine(replaced)
    again.begin(replaced.begin_write())
    assert again.range(Range(b"\x00", b"\x00")).count == len(KEYS)
    again.transaction.abort()
    replaced.close()
    if isinstance(disk, LmdbDisk):
        disk.close()
