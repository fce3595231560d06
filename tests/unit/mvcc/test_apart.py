"""Large versions stand in the history alone: nobody who asks can tell, and rows of both forms live side by side."""

import pytest

from kvstore.encoding import decode_key_value
from kvstore.ids import Index, Term
from kvstore.model import Compact, Compare, CompareResult, CompareTarget, DeleteRange, Put, Range, Txn
from kvstore.mvcc import record
from kvstore.mvcc.inspection import inspect
from kvstore.mvcc.record import APART_BYTES, NEWEST_SIZE
from kvstore.statemachine.machine import Machine
from kvstore.storage.memory_engine import MemoryEngine

LARGE, SMALL = b"v" * (APART_BYTES + 1), b"v"


class State:
    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.machine = Machine(self.engine)
        self.machine.begin(self.engine.begin_write())

    def apply(self, command: object) -> object:
        return self.machine.apply(Index(self.machine.applied_index + 1), Term(1), command)  # type: ignore[arg-type]

    def values(self, key: bytes, end: bytes = b"", revision: int = 0) -> list[bytes]:
        return [decode_key_value(kv).value for kv in self.machine.range(Range(key, end, revision=revision)).kvs]

    def row(self, key: bytes) -> bytes:
        found = self.machine.transaction.get(key, db=self.machine.tables.newest)
        assert found is not None
        return found

    def damage(self) -> str:
        self.machine.seal()
        self.machine.transaction.commit()
        self.machine.begin(self.engine.begin_write())
        return inspect(self.engine.begin_read(), self.machine.tables, 0, thorough=True).damage


def test_a_large_version_is_written_once_and_read_like_any_other() -> None:
    state = State()
    for key, value in ((b"a", LARGE), (b"b", SMALL), (b"c", LARGE + b"2")):
        state.apply(Put(key, value))
    assert (len(state.row(b"a")), len(state.row(b"b")) > NEWEST_SIZE) == (NEWEST_SIZE, True)
    assert state.values(b"a", b"d") == [LARGE, SMALL, LARGE + b"2"]
    assert state.values(b"a") == [LARGE]
    state.apply(Put(b"a", SMALL))
    assert (state.values(b"a"), state.values(b"a", revision=2)) == ([SMALL], [LARGE])
    assert state.damage() == ""


def test_who_asks_for_what_was_there_before_gets_it() -> None:
    state = State()
    state.apply(Put(b"a", LARGE))
    replaced = state.apply(Put(b"a", ignore_value=True, prev_kv=True))
    assert decode_key_value(replaced.prev_kv).value == LARGE  # type: ignore[attr-defined]
    assert state.values(b"a") == [LARGE]
    equal = Compare(CompareResult.EQUAL, CompareTarget.VALUE, b"a", LARGE)
    assert state.apply(Txn((equal,), (Put(b"b", LARGE),))).succeeded  # type: ignore[attr-defined]
    state.machine.take_events()
    deleted = state.apply(DeleteRange(b"a", b"c", prev_kv=True))
    assert [decode_key_value(kv).value for kv in deleted.prev_kvs] == [LARGE, LARGE]  # type: ignore[attr-defined]
    [told] = state.machine.take_events()
    assert [decode_key_value(event.prev_kv).value for event in told.events if event.prev_kv] == [LARGE, LARGE]
    assert state.damage() == ""


def test_compaction_keeps_what_is_alive() -> None:
    state = State()
    for value in (LARGE, LARGE + b"2"):
        state.apply(Put(b"a", value))
    state.apply(Put(b"b", LARGE))
    state.apply(Compact(state.machine.revision))
    while state.machine.compaction_pending:
        state.machine.compaction_step(10)
    assert state.values(b"a", b"c") == [LARGE + b"2", LARGE]
    assert state.damage() == ""


def test_rows_of_an_older_release_are_read_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    state = State()
    with monkeypatch.context() as before:
        before.setattr(record, "APART_BYTES", 1 << 20)
        for key in (b"a", b"b", b"c"):
            state.apply(Put(key, LARGE))
    state.apply(Put(b"b", LARGE + b"2"))
    state.apply(DeleteRange(b"c"))
    assert (len(state.row(b"a")) > len(LARGE), len(state.row(b"b"))) == (True, NEWEST_SIZE)
    assert state.values(b"\0", b"\0") == [LARGE, LARGE + b"2"]
    assert state.damage() == ""


@pytest.mark.parametrize("value", [SMALL, LARGE])
def test_a_row_that_stands_for_nothing_is_damage(value: bytes) -> None:
    state = State()
    state.apply(Put(b"a", value))
    row = state.row(b"a")
    if value == SMALL:
        state.machine.transaction.put(b"a", row[:NEWEST_SIZE], db=state.machine.tables.newest)
    else:
        state.machine.transaction.put(b"a", (99).to_bytes(8, "big") + row[8:], db=state.machine.tables.newest)
    assert 'table "newest", key "a"' in state.damage()
