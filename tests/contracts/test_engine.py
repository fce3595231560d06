"""What every engine owes (storage.engine), tried on LMDB and on the simulator's memory."""

from pathlib import Path

import pytest

from kvstore.storage.engine import Corrupted, EngineError
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.memory_engine import MemoryDisk


@pytest.fixture(params=["lmdb", "memory"])
def disk(request, tmp_path: Path):
    made = LmdbDisk(tmp_path / "member", 1 << 26) if request.param == "lmdb" else MemoryDisk()
    yield made
    if request.param == "lmdb":
        made.close()


def write(engine, table, rows):
    txn = engine.begin_write()
    for key, value in rows:
        txn.put(key, value, db=table)
    txn.commit()


def read_all(engine, table):
    txn = engine.begin_read()
    cursor = txn.cursor(db=table)
    rows = list(cursor.iternext()) if cursor.first() else []
    cursor.close()
    txn.abort()
    return rows


def test_rows_come_back_in_the_order_of_their_bytes(disk):
    engine = disk.open_state()
    table = engine.open_table(b"t")
    write(engine, table, [(b"b", b"2"), (b"a\x00", b"1"), (b"\xff", b"3"), (b"a", b"0")])
    assert read_all(engine, table) == [(b"a", b"0"), (b"a\x00", b"1"), (b"b", b"2"), (b"\xff", b"3")]


def test_an_aborted_transaction_leaves_nothing(disk):
    engine = disk.open_state()
    table = engine.open_table(b"t")
    write(engine, table, [(b"a", b"1"), (b"b", b"1")])
    txn = engine.begin_write()
    txn.put(b"a", b"2", db=table)
    txn.put(b"c", b"2", db=table)
    txn.delete(b"b", db=table)
    assert txn.get(b"a", db=table) == b"2", "a transaction sees what it wrote"
    txn.abort()
    assert read_all(engine, table) == [(b"a", b"1"), (b"b", b"1")]


def test_a_reader_sees_the_last_commit_while_a_write_is_open(disk):
    engine = disk.open_state()
    table = engine.open_table(b"t")
    write(engine, table, [(b"a", b"1")])
    txn = engine.begin_write()
    txn.put(b"a", b"2", db=table)
    reader = engine.begin_read()
    assert reader.get(b"a", db=table) == b"1"
    reader.abort()
    txn.commit()


def test_cursors_seek_and_walk(disk):
    engine = disk.open_state()
    table = engine.open_table(b"t")
    write(engine, table, [(b"a", b"1"), (b"c", b"3"), (b"e", b"5")])
    txn = engine.begin_write()
    cursor = txn.cursor(db=table)
    assert cursor.set_range(b"b")
    assert cursor.item() == (b"c", b"3")
    assert cursor.prev()
    assert cursor.key() == b"a"
    assert not cursor.prev()
    assert not cursor.set_range(b"f")
    assert cursor.set_key(b"c")
    assert cursor.delete()
    assert cursor.key() == b"e", "after deleting, the cursor is on the next row"
    cursor.close()
    txn.commit()


def test_a_key_of_a_dupsort_table_has_many_sorted_values(disk):
    engine = disk.open_state()
    table = engine.open_table(b"d", dupsort=True)
    write(engine, table, [(b"k", b"3"), (b"k", b"1"), (b"l", b"9"), (b"k", b"2")])
    txn = engine.begin_read()
    cursor = txn.cursor(db=table)
    assert cursor.set_range_dup(b"k", b"2")
    assert cursor.value() == b"2"
    assert cursor.prev_dup()
    assert cursor.value() == b"1"
    assert not cursor.prev_dup()
    assert not cursor.set_range_dup(b"k", b"4")
    assert cursor.set_key(b"k")
    assert cursor.last_dup()
    assert cursor.value() == b"3"
    assert cursor.next_nodup()
    assert cursor.item() == (b"l", b"9")
    cursor.close()
    txn.abort()


def test_what_was_committed_is_there_when_opened_again(disk):
    engine = disk.open_state()
    table = engine.open_table(b"t")
    write(engine, table, [(b"a", b"1")])
    engine.close()
    engine = disk.open_state()
    assert read_all(engine, engine.open_table(b"t")) == [(b"a", b"1")]


def test_an_export_imported_elsewhere_is_the_same_state(disk, tmp_path):
    engine = disk.open_state()
    table = engine.open_table(b"t")
    write(engine, table, [(b"%04d" % number, b"x" * 100) for number in range(500)])
    export = engine.export()
    pieces = [(at, export.read(at, 1000)) for at in range(0, export.total_bytes, 1000)]
    export.close()
    write(engine, table, [(b"later", b"")])
    engine.close()
    importer = disk.import_state(export.total_bytes)
    for at, piece in pieces:
        importer.write(at, piece)
    replaced = importer.finish()
    assert len(read_all(replaced, replaced.open_table(b"t"))) == 500


def test_half_an_import_is_refused_and_changes_nothing(disk):
    engine = disk.open_state()
    table = engine.open_table(b"t")
    write(engine, table, [(b"a", b"1")])
    export = engine.export()
    importer = disk.import_state(export.total_bytes)
    importer.write(0, export.read(0, export.total_bytes // 2))
    export.close()
    engine.close()
    with pytest.raises(Corrupted):
        importer.finish()
    engine = disk.open_state()
    assert read_all(engine, engine.open_table(b"t")) == [(b"a", b"1")]


def test_a_second_process_is_refused(tmp_path):
    first = LmdbDisk(tmp_path / "member")
    with pytest.raises(EngineError, match="another process"):
        LmdbDisk(tmp_path / "member")
    first.close()


def test_a_file_that_is_no_database_is_named(tmp_path):
    disk = LmdbDisk(tmp_path / "member")
    (tmp_path / "member" / "state.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupted, match=r"state\.mdb"):
        disk.open_state()
    disk.close()


def test_a_crash_of_the_memory_disk_forgets_what_was_not_committed():
    disk = MemoryDisk()
    engine = disk.open_state()
    table = engine.open_table(b"t")
    write(engine, table, [(b"a", b"1")])
    txn = engine.begin_write()
    txn.put(b"a", b"2", db=table)
    disk.crash()
    assert read_all(engine, table) == [(b"a", b"1")]
