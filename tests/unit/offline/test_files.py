"""What is told of a file is what it holds, and the file is as it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.ids import Index, Term
from kvstore.model import Compact, Put
from kvstore.mvcc.hash import hash_kv
from kvstore.offline import Unusable
from kvstore.offline.datadir import check, defragment
from kvstore.offline.hashing import hash_file
from kvstore.offline.snapshots import SnapshotRefused
from kvstore.offline.status import status
from kvstore.raft.messages import Entry
from kvstore.storage.engine import EngineError
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.raftlog import RaftLog
from kvstore.version import STORAGE_VERSION
from tests.unit.offline.made import data_of, make_member, make_snapshot


def test_the_status_counts_what_etcd_counts(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    make_snapshot(path, tuple(Put(b"k%d" % (number % 3), b"v") for number in range(10)))
    content = path.read_bytes()
    found = status(path)
    # 10 versions and a member, and of the meta rows what the schema has; not the tables that repeat them.
    assert found.revision == 11
    assert 11 < found.total_keys < 25
    assert (found.total_size_bytes, found.version) == (len(content) - 32, STORAGE_VERSION)
    assert found == status(path)
    assert path.read_bytes() == content
    assert list(tmp_path.glob("s.db-*")) == [], "looking leaves no trace"


def test_two_states_have_two_hashes(tmp_path: Path) -> None:
    make_snapshot(tmp_path / "a", (Put(b"k", b"1"),))
    make_snapshot(tmp_path / "b", (Put(b"k", b"2"),))
    assert status(tmp_path / "a").hash != status(tmp_path / "b").hash
    assert status(tmp_path / "a").revision == status(tmp_path / "b").revision


def test_a_file_of_etcd_that_is_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(bytes(16) + 0xED0CDAED.to_bytes(4, "little") + bytes(600))
    for look in (status, hash_file):
        with pytest.raises(SnapshotRefused, match="neither of its two beginnings"):
            look(tmp_path / "s")


@pytest.mark.slow
def test_the_hash_of_a_file_is_that_of_its_member(tmp_path: Path) -> None:
    machine = make_snapshot(tmp_path / "s.db")
    disk = LmdbDisk(data_of(tmp_path / "s.db") / "member")
    engine = disk.open_state()
    machine.reopen(engine)
    txn = engine.begin_read()
    wanted = {at: hash_kv(txn, machine.tables, at, machine.compacted_revision) for at in (100, 150, machine.revision)}
    txn.abort()
    with pytest.raises(EngineError, match="another process"):
        hash_file(data_of(tmp_path / "s.db"))
    engine.close()
    disk.close()
    for at, expected in wanted.items():
        found = hash_file(tmp_path / "s.db", at)
        assert (found.hash, found.hash_revision, found.compact_revision) == (expected, at, 100)
    for at in (99, machine.revision + 1):
        with pytest.raises(SnapshotRefused, match="has been compacted" if at == 99 else "is not there"):
            hash_file(tmp_path / "s.db", at)


def flipped(content: bytes, what: bytes) -> Iterator[bytes]:
    """The content with one bit changed, at each place where `what` stands; some are in parts of pages that mean nothing."""
    at = content.find(what)
    while at >= 0:
        yield content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        at = content.find(what, at + 1)


@pytest.mark.slow
def test_a_flipped_bit_is_found_and_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_member(data / "member", tuple(Put(b"key/%d" % number, b"value of %d" % number) for number in range(50)))
    disk = LmdbDisk(data / "member")
    with pytest.raises(EngineError, match="another process"):
        check(data)
    engine = disk.open_log()
    log = RaftLog(engine, disk.open_journal())
    log.append([Entry(Term(5), Index(number), b"command %d" % number) for number in range(1, 40)], None)
    log.checkpoint()
    log.append([Entry(Term(5), Index(40), b"in the journal")], None)
    log.append([Entry(Term(5), Index(41), b"behind it")], None)
    engine.close()
    disk.close()
    assert (check(data).damage, check(data).revision) == ("", 51)
    for name, what, named in (
        ("log.mdb", b"command 17", "entry 17 is damaged"),
        ("journal", b"in the journal", "record 0 of epoch 2, at byte 512, is damaged"),
        ("state.mdb", b"value of 23", "key/23"),
    ):
        file = data / "member" / name
        whole = file.read_bytes()
        damages = set()
        for content in flipped(whole, what):
            file.write_bytes(content)
            damages.add(check(data).damage)
        file.write_bytes(whole)
        assert all(name in damage for damage in damages - {""})
        assert any(named in damage for damage in damages), damages
    assert check(data).damage == ""


@pytest.mark.slow
def test_a_stopped_member_is_defragmented_and_a_running_one_is_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    commands = tuple(Put(b"k%d" % (number % 5), b"x" * 4000) for number in range(300))
    machine = make_member(data / "member", commands)
    disk = LmdbDisk(data / "member")
    with pytest.raises(EngineError, match="another process"):
        defragment(data)
    engine = disk.open_state()
    machine.reopen(engine)
    machine.begin(engine.begin_write())
    machine.apply(machine.applied_index + 1, machine.applied_term, Compact(300))  # type: ignore[arg-type]
    while machine.compaction_step(100):
        pass
    machine.seal()
    machine.transaction.commit()
    engine.close()
    disk.close()
    hashed = hash_file(data)
    before, after = defragment(data)
    assert after < before / 5
    assert hash_file(data) == hashed
    with pytest.raises(Unusable, match="not a data directory"):
        defragment(tmp_path)
