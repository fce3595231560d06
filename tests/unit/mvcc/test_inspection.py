"""Every change of a stored byte that means something is found: as a contradiction by name, or by a hash that differs."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from kvstore.errors import Compacted
from kvstore.ids import Index, Term
from kvstore.model import Compact, DeleteRange, LeaseGrant, Put, Txn
from kvstore.mvcc.inspection import Inspection, inspect
from kvstore.statemachine.machine import Machine
from kvstore.storage.engine import Engine
from kvstore.storage.memory_engine import MemoryEngine


def written(engine: Engine, seed: int, steps: int = 300, compactions: bool = True) -> Machine:
    chance = random.Random(seed)
    machine = Machine(engine)
    machine.begin(engine.begin_write())
    for index in range(1, steps + 1):
        roll = chance.random()
        key = b"k%d" % chance.randrange(20) + b"x" * chance.choice((0, 600))
        lease = chance.choice([0, *machine.leases])
        command: Any = Put(key, b"v%d" % index, lease)
        if roll < 0.05:
            command = LeaseGrant(index, 100)
        elif roll < 0.2:
            command = DeleteRange(key, chance.choice((b"", b"\0")) if roll < 0.07 else b"")
        elif roll < 0.3:
            command = Txn((), (Put(key, b"txn"), Put(b"other", b"%d" % index, lease)))
        elif roll < 0.33 and compactions:
            command = Compact(chance.randrange(machine.revision))
        machine.apply(Index(index), Term(1), command)
        if chance.random() < 0.3:
            machine.compaction_step(chance.randrange(1, 20))
    machine.take_events()
    machine.seal()
    machine.transaction.commit()
    return machine


def look(machine: Machine, engine: Engine, revision: int = 0) -> Inspection:
    return inspect(engine.begin_read(), machine.tables, revision, thorough=True)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_written_by_applying_is_whole(seed: int) -> None:
    engine = MemoryEngine()
    machine = written(engine, seed)
    found = look(machine, engine)
    assert found.damage == ""
    assert (found.applied, found.revision, found.compacted) == (machine.applied_index, machine.revision, machine.compacted_revision)


def test_how_far_deleting_has_come_does_not_matter() -> None:
    hashes = set()
    for _ in range(2):
        engine = MemoryEngine()
        machine = written(engine, 7, compactions=False)
        machine.begin(engine.begin_write())
        machine.apply(Index(machine.applied_index + 1), Term(1), Compact(machine.revision - 20))
        for _ in range(len(hashes) * 100):
            machine.compaction_step(10)
        machine.seal()
        machine.transaction.commit()
        found = look(machine, engine)
        assert found.damage == ""
        hashes.add((found.hash, found.compacted))
    assert len(hashes) == 1


def test_a_revision_that_is_not_there_has_no_hash() -> None:
    engine = MemoryEngine()
    machine = written(engine, 3)
    assert look(machine, engine, machine.revision + 1).hash == 0
    assert machine.compacted_revision > 1
    assert look(machine, engine, machine.compacted_revision - 1).hash == 0


def flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def other_value(key: bytes, value: bytes, chance: random.Random) -> tuple[bytes, bytes]:
    return key, flipped(value, chance)


def other_key(key: bytes, value: bytes, chance: random.Random) -> tuple[bytes, bytes]:
    return flipped(key, chance), value


Damage = Callable[[bytes, bytes, random.Random], tuple[bytes, bytes]]


@pytest.mark.parametrize("name", ["newest", "history", "revisions", "lease_keys"])
@pytest.mark.parametrize("damage", [other_value, other_key])
@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_is_found_and_named(name: str, damage: Damage, seed: int) -> None:
    chance = random.Random(seed)
    engine = MemoryEngine()
    machine = written(engine, seed % 3, compactions=seed % 2 == 0)
    machine.begin(engine.begin_write())
    while machine.compaction_step(1000):
        pass
    machine.seal()
    machine.transaction.commit()
    before = look(machine, engine)
    table = getattr(machine.tables, name)
    rows = engine.tables[table.name].rows
    row = chance.choice(list(rows))
    key, value = row if table.dupsort else (row, rows[row])
    del rows[row]
    key, value = damage(key, value, chance)
    rows[(key, value) if table.dupsort else key] = b"" if table.dupsort else value
    after = look(machine, engine)
    assert after.damage or after.hash != before.hash
    if name != "history":
        assert 'table "' in after.damage


def test_a_missing_row_is_found() -> None:
    for name in ("newest", "history", "revisions", "lease_keys", "leases"):
        engine = MemoryEngine()
        machine = written(engine, 5, compactions=False)
        used = {row[:8] for row in engine.tables[machine.tables.lease_keys.name].rows}
        rows = engine.tables[getattr(machine.tables, name).name].rows
        victim = next(row for row in rows if name != "leases" or row in used)
        before = look(machine, engine)
        del rows[victim]
        after = look(machine, engine)
        assert after.damage or after.hash != before.hash, name


def test_compaction_at_zero_is_fine_once_and_remembered() -> None:
    engine = MemoryEngine()
    machine = Machine(engine)
    machine.begin(engine.begin_write())
    assert machine.compact_revision == -1
    assert isinstance(machine.apply(Index(1), Term(1), Compact(-1)), Compacted)
    assert not isinstance(machine.apply(Index(2), Term(1), Compact(0)), Exception)
    assert machine.compact_revision == 0
    machine.seal()
    machine.transaction.commit()
    again = Machine(engine)
    again.begin(engine.begin_write())
    assert again.compact_revision == 0
    assert isinstance(again.apply(Index(3), Term(1), Compact(0)), Compacted)
