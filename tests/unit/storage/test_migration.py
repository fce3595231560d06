"""Data of older releases is opened and made ours; data of newer ones, or of nobody we know, is refused untouched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.accounts import UserAdd
from kvstore.ids import Index, Term
from kvstore.model import LeaseGrant, Put, Range
from kvstore.statemachine.machine import Machine
from kvstore.storage.engine import Corrupted, Engine
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.memory_engine import MemoryDisk
from kvstore.storage.tables import SCHEMA_KEY, SCHEMA_VERSION, open_log_tables, open_state_tables

OLD_TABLES = [b"newest", b"history", b"revisions", b"leases", b"lease_keys", b"members", b"alarms", b"state_meta"]
"""Those of version 1."""


def as_of_version(engine: Engine, version: int) -> None:
    meta = engine.open_table(b"state_meta")
    txn = engine.begin_write()
    txn.put(SCHEMA_KEY, version.to_bytes(4, "big"), db=meta)
    txn.commit()


def version_of(engine: Engine) -> int:
    txn = engine.begin_read()
    try:
        return int.from_bytes(txn.get(SCHEMA_KEY, db=engine.open_table(b"state_meta")) or b"", "big")
    finally:
        txn.abort()


@pytest.fixture(params=["memory", "lmdb"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryDisk | LmdbDisk]:
    if request.param == "memory":
        yield MemoryDisk()
        return
    made = LmdbDisk(tmp_path, sync=False)
    yield made
    made.close()


def test_a_state_of_version_1_is_opened_with_what_it_holds(disk: MemoryDisk | LmdbDisk) -> None:
    engine: Engine = disk.open_state()
    for name in OLD_TABLES:
        engine.open_table(name, dupsort=name == b"revisions")
    as_of_version(engine, 1)
    # What the first release wrote into these tables has the same form today.
    machine = Machine(engine)
    machine.begin(engine.begin_write())
    machine.apply(Index(1), Term(1), Put(b"k", b"v"))
    machine.apply(Index(2), Term(1), LeaseGrant(7, 60))
    machine.seal()
    machine.transaction.commit()
    as_of_version(engine, 1)
    engine.close()

    engine = disk.open_state()
    machine = Machine(engine)
    assert version_of(engine) == SCHEMA_VERSION
    machine.begin(engine.begin_write())
    assert machine.range(Range(b"k")).count == 1
    assert (machine.leases, machine.accounts.enabled, machine.accounts.revision, machine.accounts.users) == ({7: 60}, False, 1, {})
    machine.apply(Index(3), Term(1), UserAdd("ann", b"hash"))
    machine.seal()
    machine.transaction.commit()
    engine.close()
    engine = disk.open_state()
    assert list(Machine(engine).accounts.users) == ["ann"]
    engine.close()


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, 99])
def test_other_versions_are_refused(version: int) -> None:
    engine = MemoryDisk().open_state()
    as_of_version(engine, version)
    with pytest.raises(Corrupted, match=f"schema version {version}"):
        open_state_tables(engine)
    assert version_of(engine) == version


def test_log_and_state_are_judged_apart() -> None:
    disk = MemoryDisk()
    open_log_tables(disk.open_log())
    engine = disk.open_state()
    as_of_version(engine, 99)
    open_log_tables(disk.open_log())
    with pytest.raises(Corrupted):
        open_state_tables(engine)
