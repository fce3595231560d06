"""The log on an engine: what was appended is there, in the order, with the terms; damage is found and named."""

import lmdb
import msgspec
import pytest

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.messages import ConfState, Entry, HardState, SnapshotMeta
from kvstore.storage.engine import Corrupted
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.memory_engine import MemoryDisk, MemoryEngine
from kvstore.storage.raftlog import RaftLog


def entries(first: int, last: int, term: int = 1) -> list[Entry]:
    return [Entry(term, index, b"entry %d" % index) for index in range(first, last + 1)]


@pytest.fixture
def engine():
    return MemoryDisk().open_log()


def test_appended_entries_and_hard_state_survive_opening_again(engine):
    log = RaftLog(engine)
    log.bootstrap(ConfState((1, 2, 3)), b"who")
    log.append(entries(1, 10), HardState(3, 2, 5))
    again = RaftLog(engine)
    assert again.last_index() == 10
    assert again.hard_state() == HardState(3, 2, 5)
    assert again.entries(4, 6, 1 << 20) == entries(4, 6)
    assert again.identity() == b"who"
    assert again.snapshot().conf.voters == (1, 2, 3)


def test_an_append_at_an_earlier_index_replaces_all_behind_it(engine):
    log = RaftLog(engine)
    log.append(entries(1, 10, term=1), None)
    log.append(entries(5, 6, term=2), None)
    assert log.last_index() == 6
    assert [log.term_at(index) for index in (4, 5, 6, 7)] == [1, 2, 2, None]


def test_reading_stops_at_the_byte_limit_but_gives_one_entry_at_least(engine):
    log = RaftLog(engine)
    log.append(entries(1, 10), None)
    assert len(log.entries(1, 10, 20)) == 2
    assert len(log.entries(1, 10, 1)) == 1


def test_a_cut_keeps_what_is_behind_it(engine):
    log = RaftLog(engine)
    log.append(entries(1, 5000, term=4), None)
    meta = SnapshotMeta(4990, 4, ConfState((1,)))
    log.cut(meta)
    again = RaftLog(engine)
    assert again.snapshot() == meta
    assert again.term_at(4990) == 4
    assert again.term_at(4989) is None
    assert again.entries(4991, 5000, 1 << 20) == entries(4991, 5000, term=4)


def test_a_reset_begins_behind_the_snapshot(engine):
    log = RaftLog(engine)
    log.append(entries(1, 10), None)
    log.reset(SnapshotMeta(100, 7, ConfState((1,))))
    again = RaftLog(engine)
    assert again.last_index() == 100
    again.append(entries(101, 102, term=7), None)
    assert again.entries(101, 102, 1 << 20) == entries(101, 102, term=7)


def test_a_flipped_byte_in_an_entry_is_found_and_named(tmp_path):
    disk = LmdbDisk(tmp_path / "member")
    engine = disk.open_log()
    log = RaftLog(engine)
    log.append(entries(1, 3), None)
    txn = engine.begin_write()
    table = engine.open_table(b"entries")
    stored = bytearray(txn.get((2).to_bytes(8, "big"), db=table))
    stored[-1] ^= 1
    txn.put((2).to_bytes(8, "big"), bytes(stored), db=table)
    txn.commit()
    with pytest.raises(Corrupted, match="entry 2 is damaged"):
        log.entries(1, 3, 1 << 20)
    engine.close()
    disk.close()


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "member").mkdir()
    foreign = lmdb.open(str(tmp_path / "member" / "log.mdb"), subdir=False, max_dbs=4)
    with foreign.begin(write=True) as txn:
        txn.put(b"x", b"y", db=foreign.open_db(b"log_meta", txn=txn))
    foreign.close()
    disk = LmdbDisk(tmp_path / "member")
    with pytest.raises(Corrupted, match="not a data directory of Keelson"):
        RaftLog(disk.open_log())
    disk.close()


def test_what_was_cut_while_somebody_looked_is_gone_and_no_damage(engine):
    """The leader asks where the log begins, the disk's thread cuts, the leader reads: it must send a snapshot then, and not stop."""
    log = RaftLog(engine)
    log.append(entries(1, 20), None)
    log.cut(SnapshotMeta(10, 1, ConfState((1,))))
    assert log.entries(5, 20, 1 << 20) == ()
    assert log.entries(10, 20, 1 << 20) == ()
    assert len(log.entries(11, 20, 1 << 20)) == 10


@pytest.mark.parametrize("name", [b"hard_state", b"snapshot", b"identity"])
def test_a_flipped_bit_in_a_term_a_vote_or_a_name_is_found(name: bytes) -> None:
    for bit in range(0, 400, 7):
        engine = MemoryEngine()
        log = RaftLog(engine)
        log.bootstrap(ConfState((MemberId(1), MemberId(2))), msgspec.msgpack.encode({"cluster_id": 7, "member_id": 1}))
        log.append([], HardState(Term(5), MemberId(2), Index(0)))
        rows = engine.tables[b"log_meta"].rows
        row = bytearray(rows[name])
        if bit >= 8 * len(row):
            break
        row[bit // 8] ^= 1 << bit % 8
        rows[name] = bytes(row)
        with pytest.raises((Corrupted, msgspec.MsgspecError)):
            msgspec.msgpack.decode(RaftLog(engine).identity() or b"", type=dict[str, int])


def test_rows_of_the_first_releases_are_read() -> None:
    engine = MemoryEngine()
    RaftLog(engine).bootstrap(ConfState(), b"me")
    rows = engine.tables[b"log_meta"].rows
    rows[b"hard_state"] = msgspec.msgpack.encode(HardState(Term(5), MemberId(2), Index(3)))
    rows[b"identity"] = b"me"
    log = RaftLog(engine)
    assert (log.hard_state(), log.identity()) == (HardState(Term(5), MemberId(2), Index(3)), b"me")
