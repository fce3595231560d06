"""The log with its journal: whatever was appended is there after every end of the process, and reading never sees what is being moved."""

import random
from pathlib import Path

import pytest

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.messages import ConfState, Entry, HardState, SnapshotMeta
from kvstore.storage.engine import Corrupted, DiskFull
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.memory_engine import MemoryDisk
from kvstore.storage.raftlog import CHECKPOINT_ENTRIES, RaftLog
from kvstore.storage.tables import SCHEMA_KEY, SCHEMA_VERSION

EVERYTHING = 1 << 30


def entries(first: int, last: int, term: int = 1, size: int = 0) -> list[Entry]:
    return [Entry(Term(term), Index(index), b"%d of %d" % (index, term) + bytes(size)) for index in range(first, last + 1)]


def opened(disk: MemoryDisk) -> RaftLog:
    return RaftLog(disk.open_log(), disk.open_journal(), lambda: 4711)


def stored(disk: MemoryDisk) -> list[int]:
    """Indexes of the entries in the tables."""
    return [int.from_bytes(key, "big") for key in disk.log.tables[b"entries"].rows]


def all_of(log: RaftLog) -> list[Entry]:
    first, last = Index(log.snapshot().index + 1), log.last_index()
    return list(log.entries(first, last, EVERYTHING)) if last >= first else []


def test_appends_are_in_the_journal_until_it_is_full_and_then_in_the_tables() -> None:
    disk = MemoryDisk(4096)
    log = opened(disk)
    for index in range(1, 8):
        log.append(entries(index, index), HardState(Term(index)))
        assert stored(disk) == []
    log.append(entries(8, 8), HardState(Term(8)))
    assert stored(disk) == list(range(1, 9))
    log.append(entries(9, 9), None)
    assert stored(disk) == list(range(1, 9))
    for again in (log, opened(disk)):
        assert all_of(again) == entries(1, 9)
        assert again.hard_state() == HardState(Term(8))
        assert again.last_index() == 9


def test_reading_goes_on_from_the_tables_into_what_only_the_journal_has() -> None:
    disk = MemoryDisk(2048)
    log = opened(disk)
    log.append(entries(1, 10, size=400), None)
    log.append(entries(11, 14), None)
    assert stored(disk) == list(range(1, 11))
    assert log.entries(Index(8), Index(13), EVERYTHING) == [*entries(8, 10, size=400), *entries(11, 13)]
    assert len(log.entries(Index(9), Index(14), 821)) == 3
    assert len(log.entries(Index(9), Index(14), 1)) == 1
    assert len(log.entries(Index(12), Index(14), 1)) == 1
    assert [log.term_at(Index(index)) for index in (10, 11, 14, 15)] == [1, 1, 1, None]


def test_what_an_append_replaces_in_the_tables_is_hidden_until_it_is_gone() -> None:
    disk = MemoryDisk(2048)
    log = opened(disk)
    log.append(entries(1, 10, size=400), None)
    log.append(entries(5, 6, term=2), None)
    for again in (log, opened(disk)):
        assert again.last_index() == 6
        assert all_of(again) == [*entries(1, 4, size=400), *entries(5, 6, term=2)]
        assert [again.term_at(Index(index)) for index in (4, 5, 6, 7)] == [1, 2, 2, None]
    log.append(entries(7, 7, term=2, size=4000), None)
    assert stored(disk) == list(range(1, 8))
    assert all_of(opened(disk)) == [*entries(1, 4, size=400), *entries(5, 6, term=2), *entries(7, 7, term=2, size=4000)]


def test_entries_cut_before_a_checkpoint_are_never_written_twice() -> None:
    disk = MemoryDisk(1 << 16)
    log = opened(disk)
    log.append(entries(1, 50), None)
    log.append(entries(51, 60), None)
    log.cut(SnapshotMeta(Index(40), Term(1), ConfState()))
    assert all_of(log) == all_of(opened(disk)) == entries(41, 60)
    log.append(entries(61, 61, size=1 << 16), None)
    assert stored(disk) == list(range(41, 62))


def test_many_entries_want_a_checkpoint_before_the_journal_is_full() -> None:
    disk = MemoryDisk(1 << 20)
    log = opened(disk)
    for index in range(1, CHECKPOINT_ENTRIES, 100):
        assert not log.wants_checkpoint
        log.append(entries(index, index + 99), None)
    assert log.wants_checkpoint
    log.checkpoint()
    assert not log.wants_checkpoint
    assert len(stored(disk)) == CHECKPOINT_ENTRIES
    assert all_of(opened(disk)) == all_of(log) == entries(1, CHECKPOINT_ENTRIES)


def test_a_truncation_followed_by_a_cut_is_recovered_as_it_was() -> None:
    disk = MemoryDisk()
    log = opened(disk)
    log.append(entries(1, 10), None)
    log.append(entries(5, 6, term=2), None)
    log.cut(SnapshotMeta(Index(6), Term(2), ConfState()))
    again = opened(disk)
    assert (again.last_index(), all_of(again)) == (6, [])
    again.append(entries(7, 7, term=2), None)
    assert all_of(opened(disk)) == entries(7, 7, term=2)


def test_a_reset_keeps_term_and_vote() -> None:
    disk = MemoryDisk()
    log = opened(disk)
    log.append(entries(1, 10), HardState(Term(4), MemberId(2)))
    log.reset(SnapshotMeta(Index(100), Term(3), ConfState()))
    for again in (log, opened(disk)):
        assert (again.hard_state(), again.last_index(), all_of(again)) == (HardState(Term(4), MemberId(2)), 100, [])


def test_who_began_to_read_before_a_checkpoint_or_a_cut_ends_as_it_began() -> None:
    """The loop takes the list, the disk's thread moves it, the loop goes on: tried at the one place where that can happen."""
    for move in ("checkpoint", "cut"):
        disk = MemoryDisk(2048)
        log = opened(disk)
        log.append(entries(1, 10, size=400), None)
        log.append(entries(11, 14), None)
        begin_read = disk.log.begin_read

        def moved(log: RaftLog = log, move: str = move, begin_read=begin_read):  # type: ignore[no-untyped-def]
            log._engine.begin_read = begin_read  # type: ignore[method-assign]
            if move == "checkpoint":
                log.append(entries(15, 15, size=2000), None)
            else:
                log.cut(SnapshotMeta(Index(12), Term(1), ConfState()))
            return begin_read()

        disk.log.begin_read = moved  # type: ignore[method-assign]
        found = log.entries(Index(8), Index(14), EVERYTHING)
        assert found == ([*entries(8, 10, size=400), *entries(11, 14)] if move == "checkpoint" else ())


def test_a_checkpoint_without_room_keeps_what_was_there() -> None:
    disk = MemoryDisk(2048)
    log = opened(disk)
    log.append(entries(1, 2), HardState(Term(1)))
    disk.room.full = True
    with pytest.raises(DiskFull):
        log.append(entries(3, 3, size=4000), HardState(Term(2)))
    assert (log.last_index(), all_of(log), log.hard_state()) == (2, entries(1, 2), HardState(Term(1)))
    log.append(entries(3, 3), None)
    assert all_of(opened(disk)) == entries(1, 3), "the journal itself never lacks room"


def test_closing_puts_everything_in_its_place() -> None:
    disk = MemoryDisk()
    log = opened(disk)
    log.append(entries(1, 3), HardState(Term(1)))
    log.close()
    assert stored(disk) == [1, 2, 3]
    again = opened(disk)
    assert (all_of(again), again.hard_state()) == (entries(1, 3), HardState(Term(1)))


def test_a_log_that_has_a_journal_is_not_opened_without_it(tmp_path: Path) -> None:
    disk = MemoryDisk()
    log = opened(disk)
    log.append(entries(1, 3), None)
    with pytest.raises(Corrupted, match="journal is missing"):
        RaftLog(disk.open_log())
    directory = LmdbDisk(tmp_path)
    engine = directory.open_log()
    RaftLog(engine, directory.open_journal()).append(entries(1, 3), None)
    (tmp_path / "journal").unlink()
    with pytest.raises(Corrupted, match="no journal, or an empty one in its place"):
        RaftLog(engine, directory.open_journal())
    engine.close()
    directory.close()


def test_a_log_from_before_the_journal_gets_one_and_is_closed_to_older_releases(tmp_path: Path) -> None:
    disk = LmdbDisk(tmp_path)
    engine = disk.open_log()
    old = RaftLog(engine)
    old.bootstrap(ConfState((MemberId(1),)), b"who")
    old.append(entries(1, 5), HardState(Term(2)))
    meta = engine.open_table(b"log_meta")
    txn = engine.begin_write()
    txn.put(SCHEMA_KEY, (2).to_bytes(4, "big"), db=meta)
    txn.commit()

    log = RaftLog(engine, disk.open_journal())
    assert (all_of(log), log.hard_state(), log.identity()) == (entries(1, 5), HardState(Term(2)), b"who")
    log.append(entries(6, 6), None)
    again = RaftLog(engine, disk.open_journal())
    assert all_of(again) == entries(1, 6)
    txn = engine.begin_read()
    assert int.from_bytes(txn.get(SCHEMA_KEY, db=meta) or b"", "big") == SCHEMA_VERSION > 2
    txn.abort()
    engine.close()
    disk.close()


class Model:
    """The slow rule: a list."""

    def __init__(self) -> None:
        self.begin = 0
        self.entries: list[Entry] = []
        self.hard_state = HardState()

    def append(self, added: list[Entry], hard_state: HardState | None) -> None:
        if added:
            self.entries = [entry for entry in self.entries if entry.index < added[0].index] + added
        self.hard_state = hard_state or self.hard_state

    def cut(self, index: int) -> None:
        self.begin, self.entries = index, [entry for entry in self.entries if entry.index > index]

    @property
    def last(self) -> int:
        return self.entries[-1].index if self.entries else self.begin


@pytest.mark.parametrize("seed", range(30))
def test_fast_rule_equals_slow_rule_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)
    disk = MemoryDisk(rng.choice((512, 1024, 4096, 1 << 16)))
    log, model, term = opened(disk), Model(), 1
    for _ in range(120):
        step = rng.random()
        if step < 0.6:
            term += rng.random() < 0.2
            first = rng.randint(max(model.begin, model.last - 6) + 1, model.last + 1) if rng.random() < 0.3 else model.last + 1
            added = entries(first, first + rng.randrange(5) - 1, term, rng.choice((0, 300, 2000)))
            hard_state = HardState(Term(term), MemberId(rng.randrange(4))) if rng.random() < 0.3 else None
            log.append(added, hard_state)
            model.append(added, hard_state)
        elif step < 0.7 and model.entries:
            index = rng.choice(model.entries).index
            log.cut(SnapshotMeta(index, log.term_at(index) or Term(0), ConfState()))
            model.cut(index)
        elif step < 0.75:
            index = model.last + rng.randrange(5)
            log.reset(SnapshotMeta(Index(index), Term(term), ConfState()))
            model.cut(index)
        elif step < 0.9:
            if rng.random() < 0.2:
                log.close()
            disk.crash(rng if rng.random() < 0.5 else None)
            log = opened(disk)
        assert (log.last_index(), log.hard_state(), log.snapshot().index) == (model.last, model.hard_state, model.begin)
        assert all_of(log) == model.entries
        log.check()
