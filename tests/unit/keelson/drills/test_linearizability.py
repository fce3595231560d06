"""The linearizability checker must accept what one store could have done and refuse what none could."""

import random
import time

import pytest
from msgspec.structs import replace

from keelson.drills.checkers.history import ANY_MOD, Compare, Delete, Get, Operation, Outcome, Put, Request, Version
from keelson.drills.checkers.linearizability import check
from keelson.drills.checkers.violation import Violation

K = b"k"


def put(called: int, returned: int | None, value: bytes, revision: int = ANY_MOD, key: bytes = K) -> Operation:
    outcome = None if returned is None else Outcome((None,), revision=revision)
    return Operation(0, called, returned, Request((Put(key, value),)), outcome)


def get(called: int, returned: int, value: bytes | None, mod: int = ANY_MOD, key: bytes = K) -> Operation:
    return Operation(1, called, returned, Request((Get(key),)), Outcome((None if value is None else Version(value, mod),)))


def delete(called: int, returned: int | None, found: bytes | None = None) -> Operation:
    outcome = None if returned is None else Outcome((None if found is None else Version(found, ANY_MOD),))
    return Operation(2, called, returned, Request((Delete(K),)), outcome)


def swap(called: int, returned: int | None, old: bytes, new: bytes, seen: bytes | None, succeeded: bool = True) -> Operation:
    request = Request((Put(K, new),), (Compare(K, old),), (Get(K),))
    result = None if succeeded or seen is None else Version(seen, ANY_MOD)
    return Operation(3, called, returned, request, None if returned is None else Outcome((result,), succeeded))


LEGAL = {
    "nothing": [],
    "one after the other": [put(1, 2, b"a"), get(3, 4, b"a"), put(5, 6, b"b"), get(7, 8, b"b")],
    "read sees a concurrent write early": [put(1, 10, b"a"), get(2, 3, b"a"), get(4, 5, b"a")],
    "read misses a concurrent write": [put(1, 2, b"a"), put(3, 10, b"b"), get(4, 5, b"a"), get(6, 7, b"b")],
    "a lost write never happened": [put(1, 2, b"a"), put(3, None, b"b"), get(4, 5, b"a"), get(100, 101, b"a")],
    "a lost write happened late": [put(1, 2, b"a"), put(3, None, b"b"), get(4, 5, b"a"), get(100, 101, b"b")],
    "a lost delete happened": [put(1, 2, b"a"), delete(3, None), get(4, 5, b"a"), get(6, 7, None)],
    "swap wins once": [put(1, 2, b"a"), swap(3, 8, b"a", b"b", None), swap(4, 7, b"a", b"c", b"b", False), get(9, 10, b"b")],
    "delete tells what it found": [put(1, 2, b"a"), delete(3, 4, b"a"), delete(5, 6), get(7, 8, None)],
    "revisions agree": [put(1, 2, b"a", 2), get(3, 4, b"a", 2), put(5, 6, b"b", 7), get(7, 8, b"b", 7)],
}

ILLEGAL = {
    "stale read": [put(1, 2, b"a"), put(3, 4, b"b"), get(5, 6, b"a")],
    "lost write": [put(1, 2, b"a"), get(3, 4, None)],
    "reads go back": [put(1, 2, b"a"), put(3, 20, b"b"), get(4, 5, b"b"), get(6, 7, b"a")],
    "lost write seen, then unseen": [put(1, 2, b"a"), put(3, None, b"b"), get(4, 5, b"b"), get(6, 7, b"a")],
    "applied twice": [put(1, 2, b"a"), put(3, 4, b"b"), get(5, 6, b"b"), get(7, 8, b"a")],
    "lost write applied twice": [put(1, None, b"a"), get(2, 3, b"a"), delete(4, 5, b"a"), get(6, 7, None), get(8, 9, b"a")],
    "applied twice, told by its revision": [put(1, 2, b"a", 2), get(3, 4, b"a", 3)],
    "read before it was written": [get(1, 2, b"a"), put(3, 4, b"a")],
    "lost write seen before its call": [get(1, 2, b"a"), put(3, None, b"a")],
    "two swaps from one value": [put(1, 2, b"a"), swap(3, 8, b"a", b"b", None), swap(4, 9, b"a", b"c", None)],
    "swap failed though it matched": [put(1, 2, b"a"), swap(3, 4, b"a", b"b", b"a", False)],
    "delete found what was gone": [put(1, 2, b"a"), delete(3, 4, b"a"), delete(5, 6, b"a")],
    "value from nowhere": [get(1, 2, b"ghost")],
}


@pytest.mark.parametrize("name", LEGAL)
def test_accepts(name: str) -> None:
    check(LEGAL[name])


@pytest.mark.parametrize("name", ILLEGAL)
def test_refuses(name: str) -> None:
    with pytest.raises(Violation, match="linearizability"):
        check(ILLEGAL[name])


def test_a_transaction_over_two_keys_is_seen_whole() -> None:
    both = Operation(0, 1, 2, Request((Put(b"x", b"1"), Put(b"y", b"1"))), Outcome((None, None), revision=2))
    torn = Operation(1, 3, 4, Request((Get(b"x"), Get(b"y"))), Outcome((Version(b"1", 2), None), revision=2))
    check([both])
    with pytest.raises(Violation):
        check([both, torn])


def random_history(rng: random.Random, operations: int, keys: int, clients: int, lose: float) -> list[Operation]:
    """A history that one store really ran, with overlaps and lost answers."""
    store: dict[bytes, Version] = {}
    history = []
    busy_until = [0] * clients
    revision = 1
    for number in range(operations):
        now = number * 10
        client = rng.randrange(clients)
        called = max(busy_until[client] + 1, now - rng.randrange(80))
        returned = now + rng.randrange(1, 80)
        busy_until[client] = returned
        if called > now:
            continue
        key = b"%d" % rng.randrange(keys)
        held = store.get(key)
        kind = rng.random()
        lost = rng.random() < lose
        happened = not lost or rng.random() < 0.5
        if kind < 0.4:
            request, outcome = Request((Get(key),)), Outcome((held,), revision=revision)
        elif kind < 0.8:
            value = b"v%d" % number
            revision += happened
            if happened:
                store[key] = Version(value, revision)
            request, outcome = Request((Put(key, value),)), Outcome((None,), revision=revision)
        else:
            if happened and held is not None:
                revision += 1
                del store[key]
            request, outcome = Request((Delete(key),)), Outcome((held,), revision=revision)
        history.append(Operation(client, called, None if lost else returned, request, None if lost else outcome))
    return history


def crowded_history(rng: random.Random) -> list[Operation]:
    """A few answered operations among hundreds of lost ones: deletes, puts and swaps of which some happened."""
    history, held = [], None
    for number in range(300):
        at, value = number * 10, b"v%d" % number
        if number % 25 == 0:
            history.append(get(at, at + 1, held))
        elif number % 3 == 0:
            history.append(delete(at, None))
            held = None if rng.random() < 0.3 else held
        elif number % 3 == 1:
            history.append(put(at, None, value))
            held = value if rng.random() < 0.3 else held
        else:
            history.append(swap(at, None, held or b"?", value, None))
            held = value if held is not None and rng.random() < 0.5 else held
    return history


@pytest.mark.parametrize("seed", range(20))
def test_lost_operations_do_not_explode(seed: int) -> None:
    history = crowded_history(random.Random(seed))
    check(history)
    with pytest.raises(Violation, match="no order"):
        check([*history, get(5000, 5001, b"ghost")])


@pytest.mark.parametrize("seed", range(5))
def test_accepts_what_a_store_really_ran_and_refuses_it_with_one_answer_changed(seed: int) -> None:
    rng = random.Random(seed)
    history = random_history(rng, 400, 4, 6, 0.1)
    check(history)
    reads = [at for at, op in enumerate(history) if op.outcome and isinstance(op.request.success[0], Get) and op.outcome.results[0]]
    at = rng.choice(reads)
    changed = replace(history[at], outcome=Outcome((Version(b"ghost", 1),)))
    with pytest.raises(Violation):
        check([*history[:at], changed, *history[at + 1 :]])


def test_thousands_of_operations_take_seconds() -> None:
    history = random_history(random.Random(7), 8000, 8, 10, 0.05)
    assert len(history) > 2500
    began = time.process_time()
    check(history)
    assert time.process_time() - began < 10
