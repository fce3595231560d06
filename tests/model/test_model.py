"""The slow model and the real state machine, given the same random requests: one answer, one error, the same events."""

from collections import Counter
from typing import Any

import pytest

from kvstore.checks import check_delete_range, check_put, check_range, check_txn
from kvstore.encoding import encode_event
from kvstore.errors import StoreError
from kvstore.model import Compact, DeleteRange, LeaseGrant, LeaseRevoke, Put, Range, Txn
from kvstore.mvcc import record
from kvstore.statemachine.machine import Machine
from kvstore.storage.memory_engine import MemoryDisk
from kvstore.wire import codec
from tests.model.model import Model
from tests.oracle.choosing import Seeded
from tests.oracle.generate import (
    LEASES,
    TXN_OPS_MAX,
    Knowledge,
    compaction_request,
    defuse,
    delete_request,
    put_request,
    range_request,
    txn_request,
)

Request = Range | Put | DeleteRange | Txn | Compact | LeaseGrant | LeaseRevoke


class Pair:
    """A machine on a disk in memory, and the model."""

    def __init__(self) -> None:
        engine = MemoryDisk().open_state()
        self.machine = Machine(engine)
        self.machine.begin(engine.begin_write())
        self.model = Model()
        self._index = 0
        self._told = 0

    def ask_machine(self, request: Request) -> Any:
        if isinstance(request, Range):
            return outcome(self.machine.range, request)
        self._index += 1
        return shown(self.machine.apply(self._index, 1, request))

    def ask_model(self, request: Request) -> Any:
        if isinstance(request, LeaseGrant):
            return outcome(self.model.lease_grant, request.id, request.ttl_s)
        if isinstance(request, LeaseRevoke):
            return outcome(self.model.lease_revoke, request.id)
        ask = {Range: self.model.range, Put: self.model.put, DeleteRange: self.model.delete_range, Txn: self.model.txn, Compact: self.model.compact}
        return outcome(ask[type(request)], request)

    def new_events(self) -> tuple[list[bytes], list[bytes]]:
        """What each has to tell since the last call, with the versions before.

        Where one transaction changes a key twice (TXN-9b), the machine tells of the change between, etcd and the model of the state before the
        transaction (W-15): there the versions before are left out.
        """
        applied = [event for revision in self.machine.take_events() for event in revision.events]
        told = self.model.history[self._told :]
        self._told += len(told)
        twice = Counter(event.kv.key for event in told)
        from_machine = [encode_event(event.deleted, event.kv, event.prev_kv if twice[event.key] == 1 else None) for event in applied]
        return from_machine, [event.encoded(twice[event.kv.key] == 1) for event in told]


def shown(result: Any) -> Any:
    return (type(result), str(result)) if isinstance(result, StoreError) else result


def outcome(ask: Any, *arguments: Any) -> Any:
    try:
        return ask(*arguments)
    except StoreError as error:
        return shown(error)


def random_request(c: Seeded, known: Knowledge) -> Request | None:
    """None: one that is refused before it gets to a state."""
    kind = c.number(0, 99)
    if kind < 4:
        return LeaseGrant(c.pick(LEASES), 100)
    if kind < 6:
        return LeaseRevoke(c.pick(LEASES))
    if kind < 10:
        return codec.compaction_request(compaction_request(c, known).SerializeToString())
    if kind < 35:
        read = codec.range_request(range_request(c, known).SerializeToString())
        return checked(check_range, read)
    if kind < 60:
        return checked(check_put, codec.put_request(put_request(c, known).SerializeToString()))
    if kind < 70:
        return checked(check_delete_range, codec.delete_range_request(delete_request(c, known).SerializeToString()))
    return checked(lambda txn: check_txn(txn, TXN_OPS_MAX), codec.txn_request(defuse(txn_request(c, known)).SerializeToString()))


def checked(check: Any, request: Any) -> Any:
    try:
        check(request)
    except StoreError:
        return None
    return request


@pytest.mark.parametrize("seed", range(6))
def test_the_model_and_the_state_machine_answer_alike(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # In every other world nearly all versions stand in the history alone, as large ones do.
    monkeypatch.setattr(record, "APART_BYTES", 16 if seed % 2 else record.APART_BYTES)
    c, pair, known = Seeded(seed), Pair(), Knowledge()
    asked = 0
    for _ in range(400):
        request = random_request(c, known)
        if request is None or (isinstance(request, Compact) and request.revision == 0):
            continue  # how often "compact 0" succeeds is no rule to hold anybody to (C-1)
        asked += 1
        assert pair.ask_machine(request) == pair.ask_model(request), (seed, request)
        from_machine, from_model = pair.new_events()
        assert from_machine == from_model, (seed, request)
        known.revision, known.compacted, known.leases = pair.model.revision, max(pair.model.compact_revision, 0), set(pair.model.state.leases)
    assert asked > 200
    assert pair.model.revision > 50
