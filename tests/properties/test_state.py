"""The state machine against the slow model: random commands, reads at every readable revision, compaction, restarts in the middle."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.encoding import decode_key_value
from kvstore.errors import Compacted, StoreError
from kvstore.model import Compact, DeleteRange, LeaseGrant, LeaseRevoke, Put, Range
from kvstore.mvcc.hash import hash_kv
from kvstore.statemachine.commands import decode_command, encode_command
from kvstore.statemachine.machine import Machine
from kvstore.storage.memory_engine import MemoryDisk
from tests.model.state import ModelState

LONG = b"k" * 450
KEYS = [b"a", b"a\x00", b"ab", b"b", b"\xff", LONG, LONG + b"x", LONG[:400], b"k" * 399 + b"z" + b"y" * 80]

keys = st.sampled_from(KEYS)
ends = st.sampled_from([b"", b"\x00", b"b", b"c", b"l", LONG + b"y"])
commands = st.one_of(
    st.tuples(st.just("put"), keys, st.binary(max_size=3), st.integers(0, 3)),
    st.tuples(st.just("delete"), keys, ends),
    st.tuples(st.just("grant"), st.integers(1, 3)),
    st.tuples(st.just("revoke"), st.integers(1, 3)),
    st.tuples(st.just("compact"), st.integers(0, 12)),
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.just(("restart",)),
)


class Driver:
    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.index = 0
        self.open()

    def open(self) -> None:
        engine = self.disk.open_state()
        self.machine = Machine(engine)
        self.machine.begin(engine.begin_write())

    def commit(self) -> None:
        self.machine.seal()
        self.machine.transaction.commit()
        self.machine.begin(self.disk.state.begin_write())

    def apply(self, command) -> object:
        self.index += 1
        envelope = decode_command(encode_command(self.index, command))
        return self.machine.apply(self.index, 1, envelope.command)

    def hash(self) -> int:
        self.commit()
        txn = self.disk.state.begin_read()
        return hash_kv(txn, self.machine.tables, self.machine.revision, self.machine.compacted_revision)


def check_reads(driver: Driver, model: ModelState, key: bytes, end: bytes) -> None:
    machine = driver.machine
    assert machine.revision == model.revision
    for revision in range(model.revision + 1):
        if 0 < revision < model.compacted:
            try:
                machine.range(Range(key, end, revision=revision))
            except Compacted:
                continue
            raise AssertionError("a compacted revision was read")
        found = machine.range(Range(key, end, revision=revision))
        expected = model.range(key, end, revision or None)
        assert [decode_key_value(kv) for kv in found.kvs] == expected
        assert found.count == len(expected)
        limited = machine.range(Range(key, end, revision=revision, limit=1))
        assert [decode_key_value(kv) for kv in limited.kvs] == expected[:1]
        assert limited.more == (len(expected) > 1)
        assert limited.count == len(expected)


@settings(max_examples=150, deadline=None)
@given(st.lists(commands, max_size=25), keys, ends)
def test_state_equals_the_slow_model(steps, key, end):
    driver, model = Driver(), ModelState()
    for step in steps:
        kind, *rest = step
        if kind == "put":
            outcome = driver.apply(Put(rest[0], rest[1], rest[2]))
            assert isinstance(outcome, StoreError) != model.put(*rest)
        elif kind == "delete":
            outcome = driver.apply(DeleteRange(rest[0], rest[1]))
            assert outcome.deleted == model.delete_range(*rest)
        elif kind == "grant":
            assert isinstance(driver.apply(LeaseGrant(rest[0], 10)), StoreError) != model.grant(rest[0], 10)
        elif kind == "revoke":
            assert isinstance(driver.apply(LeaseRevoke(rest[0])), StoreError) != model.revoke(rest[0])
        elif kind == "compact":
            refused = isinstance(driver.apply(Compact(rest[0])), StoreError)
            if rest[0] > 0:
                assert refused != model.compact(rest[0])
        elif kind == "step":
            driver.machine.compaction_step(rest[0])
        else:
            driver.commit()
            driver.disk.crash()
            driver.open()
    check_reads(driver, model, key, end)
    assert driver.machine.leases == model.leases


@settings(max_examples=60, deadline=None)
@given(st.lists(commands, max_size=25), st.data())
def test_members_agree_however_far_each_has_compacted_and_committed(steps, data):
    one, other = Driver(), Driver()
    for step in steps:
        kind, *rest = step
        made = {
            "put": lambda rest=rest: Put(rest[0], rest[1], rest[2]),
            "delete": lambda rest=rest: DeleteRange(rest[0], rest[1]),
            "grant": lambda rest=rest: LeaseGrant(rest[0], 10),
            "revoke": lambda rest=rest: LeaseRevoke(rest[0]),
            "compact": lambda rest=rest: Compact(rest[0]),
        }.get(kind)
        if made is not None:
            assert repr(one.apply(made())) == repr(other.apply(made()))
            assert one.machine.take_events() == other.machine.take_events()
        if data.draw(st.booleans()):
            one.machine.compaction_step(2)
        if data.draw(st.booleans()):
            other.commit()
    assert one.hash() == other.hash()
    while one.machine.compaction_step(5):
        pass
    assert one.hash() == other.hash(), "finishing a compaction changes no hash"


@settings(max_examples=60, deadline=None)
@given(st.lists(commands, max_size=30))
def test_history_tells_what_was_told_when_it_happened(steps):
    driver = Driver()
    told = []
    for step in steps:
        kind, *rest = step
        if kind == "put":
            driver.apply(Put(rest[0], rest[1]))
        elif kind == "delete":
            driver.apply(DeleteRange(rest[0], rest[1]))
        told += driver.machine.take_events()
    assert driver.machine.history(2, 1000, 1 << 20) == told
    if told:
        middle = told[len(told) // 2]
        assert driver.machine.history(middle.revision, 1, 1) == [middle]
