"""Corners that random runs have found once, each as a short script: both servers are asked, the duel compares."""

from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.oracle.arena import Arena
from tests.oracle.duel import Duel
from tests.support import kinds

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def duel(arena: Arena) -> Duel:
    made = arena.enter()
    made.reset()
    return made


def put(**fields: object) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(**fields))


def test_of_two_faults_in_a_put_a_txn_tells_the_missing_key_and_a_put_the_missing_lease(duel: Duel) -> None:
    duel.ask(pb.TxnRequest(success=[put(key=b"a", ignore_value=True, lease=999)]))
    duel.ask(pb.PutRequest(key=b"a", ignore_value=True, lease=999))


def test_puts_of_a_txn_are_checked_before_its_ranges(duel: Duel) -> None:
    future = pb.RequestOp(request_range=pb.RangeRequest(key=b"a", revision=duel.known.revision + 5))
    compacted = pb.RequestOp(request_range=pb.RangeRequest(key=b"a", revision=duel.known.compacted - 1))
    for wrong in (future, compacted):
        duel.ask(pb.TxnRequest(success=[wrong, put(key=b"a", ignore_value=True)]))
        nested = pb.RequestOp(request_txn=pb.TxnRequest(success=[put(key=b"a", lease=999)]))
        duel.ask(pb.TxnRequest(success=[wrong, nested]))


@pytest.mark.parametrize("target", [5, 9, -1])
@pytest.mark.parametrize("result", [0, 1, 2, 3, 4, -1])
def test_a_target_that_nobody_knows_compares_as_equal(duel: Duel, target: int, result: int) -> None:
    duel.ask(pb.PutRequest(key=b"a", value=b"x"))
    for key in (b"a", b"missing"):
        duel.ask(pb.TxnRequest(compare=[pb.Compare(key=key, target=target, result=result, lease=0)], success=[put(key=b"yes")]))


def test_a_watch_that_never_came_to_be_uses_up_no_id(duel: Duel) -> None:
    duel.watch(0, pb.WatchCreateRequest(key=b"a"))
    duel.watch(0, pb.WatchCreateRequest(key=b"b", range_end=b"a"))
    duel.watch(0, pb.WatchCreateRequest(key=b"a"))
    duel.watch(0, pb.WatchCreateRequest(key=b"a", watch_id=1))
    duel.watch(0, pb.WatchCreateRequest(key=b"b", range_end=b"a", watch_id=1))
    duel.watch(0, pb.WatchCreateRequest(key=b"a", watch_id=2))
    duel.watch(0, pb.WatchCreateRequest(key=b"a"))
    duel.finish()


def test_the_id_of_a_compacted_watch_stays_in_use_until_it_is_cancelled(duel: Duel) -> None:
    for _ in range(3):
        duel.ask(pb.PutRequest(key=b"a"))
    duel.ask(pb.CompactionRequest(revision=duel.known.revision))
    below = duel.known.compacted - 1
    duel.watch(0, pb.WatchCreateRequest(key=b"a", start_revision=below, watch_id=-5))
    duel.watch(0, pb.WatchCreateRequest(key=b"a", watch_id=-5))
    duel.cancel_watch(0, -5)
    duel.cancel_watch(0, -5)
    duel.watch(0, pb.WatchCreateRequest(key=b"a", watch_id=-5))
    duel.ask(pb.PutRequest(key=b"a"))
    duel.finish()


def test_a_negative_lease_id_is_an_id_like_any_other(duel: Duel) -> None:
    for lease in (-7, -7, -(2**63)):
        duel.ask(pb.LeaseGrantRequest(ID=lease, TTL=100_000))
    duel.ask(pb.PutRequest(key=b"a", lease=-7))
    duel.ask(pb.LeaseTimeToLiveRequest(ID=-7, keys=True))
    duel.ask(pb.LeaseRevokeRequest(ID=-7))


def test_a_key_changed_twice_through_the_hole_in_the_check(duel: Duel) -> None:
    """TXN-9b: a delete "from key on" is not seen as touching the puts beside it."""
    duel.watch(0, pb.WatchCreateRequest(key=b"x", range_end=b"\0"))
    duel.ask(pb.PutRequest(key=b"x2", value=b"before"))
    everything = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"x", range_end=b"\0", prev_kv=True))
    duel.ask(pb.TxnRequest(success=[put(key=b"x2", value=b"new", prev_kv=True), everything]))
    duel.ask(pb.TxnRequest(success=[everything, put(key=b"x2", value=b"newer", prev_kv=True)]))
    duel.ask(pb.TxnRequest(success=[everything, put(key=b"x2", value=b"newest", prev_kv=True)]))
    duel.ask(pb.RangeRequest(key=b"x", range_end=b"\0"))
    duel.finish()


def _hashes_are_equal(duel: Duel, first: int) -> None:
    for revision in range(first, duel.known.revision + 1):
        one, other = (side.wire.ask(pb.HashKVRequest(revision=revision)) for side in duel.sides)
        assert one.hash == other.hash, f"at revision {revision}"


def test_hash_kv_is_etcds_own_number(tmp_path: Path) -> None:
    """Before a compaction and after it, and when nothing is left: so a store that moved can be compared with where it came from (M-2)."""
    duel = Duel(kinds.find(kinds.ETCD), kinds.subject(), tmp_path)
    try:
        for number in range(40):
            duel.ask(pb.PutRequest(key=b"k%d" % (number % 7), value=b"v%d" % number))
            duel.ask(pb.DeleteRangeRequest(key=b"k%d" % (number % 5)))
        delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"k", range_end=b"l"))
        duel.ask(pb.TxnRequest(success=[delete, put(key=b"m", value=bytes(range(256)))]))
        _hashes_are_equal(duel, 0)
        compacted = duel.known.revision - 30
        duel.ask(pb.CompactionRequest(revision=compacted, physical=True))
        _hashes_are_equal(duel, compacted + 1)
        for number in range(7):
            duel.ask(pb.PutRequest(key=b"k%d" % number))
        duel.ask(pb.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
        duel.ask(pb.CompactionRequest(revision=duel.known.revision - 2, physical=True))
        _hashes_are_equal(duel, duel.known.revision - 1)
    finally:
        duel.close()
