"""Each promise of a drill is broken once, to see that it is noticed."""

from typing import cast

import pytest
from msgspec.structs import replace

from keelson.drills import verdicts
from keelson.drills.checkers.history import Delete, Get, Operation, Outcome, Put, Request, Version
from keelson.drills.checkers.reference import Reference
from keelson.drills.checkers.watch_guarantees import WatchRecord
from keelson.drills.watchers import Change, ChangedKey, Watch
from kvstore.encoding import encode_event, encode_key_value, encode_tombstone
from kvstore.ids import MemberId, Revision
from kvstore.model import WatchSpec, WatchUpdate

FIRST = 5
KEY = b"drill/0/1"
KVS = [encode_key_value(KEY, 5, 5, 1, b"a", 0), encode_key_value(KEY, 5, 6, 2, b"b", 0), encode_tombstone(KEY, 7)]
HISTORY = [Change(FIRST + at, (ChangedKey(KEY, at == 2, kv, KVS[at - 1] if at else None),)) for at, kv in enumerate(KVS)]
UPDATES = [WatchUpdate(0, Revision(FIRST + at), (encode_event(at == 2, kv),)) for at, kv in enumerate(KVS)]


def reference() -> Reference:
    verdict, found = verdicts.of_members(FIRST, {"m1": HISTORY, "m2": HISTORY}, 7)
    assert verdict.kept
    return found


def operation(step: Put | Get | Delete, result: Version | None, revision: int) -> Operation:
    return Operation(0, 0, 1, Request((step,)), Outcome((result,), True, revision))


@pytest.mark.parametrize("other", [HISTORY[:2], [HISTORY[0], HISTORY[2]], [replace(HISTORY[0], events=HISTORY[1].events), *HISTORY[1:]]])
def test_a_member_that_tells_another_history(other: list[Change]) -> None:
    assert not verdicts.of_members(FIRST, {"m1": HISTORY, "m2": other}, 7)[0].kept


def test_acknowledged_writes() -> None:
    good = [operation(Put(KEY, b"a"), None, 5), operation(Delete(KEY), Version(b"b", 6), 7), operation(Delete(b"drill/none"), None, 7)]
    assert verdicts.of_acknowledged(good, reference()).kept
    for lost in (operation(Put(KEY, b"x"), None, 6), operation(Put(KEY, b"a"), None, 6), operation(Delete(KEY), Version(b"a", 5), 6)):
        assert not verdicts.of_acknowledged([lost], reference()).kept


def test_reads() -> None:
    assert verdicts.of_reads([operation(Get(KEY), Version(b"b", 6), 6), operation(Get(KEY), None, 7)], reference()).kept
    assert not verdicts.of_reads([operation(Get(KEY), Version(b"a", 5), 6)], reference()).kept
    assert not verdicts.of_reads([operation(Get(KEY), Version(b"b", 6), 7)], reference()).kept


class Told:
    """In the place of a Watch: what it was told, when it heard of "a"."""

    resumed = 0

    def __init__(self, updates: list[WatchUpdate], heard_s: float = 1.0, ended: str = "") -> None:
        self.record = WatchRecord(MemberId(1), WatchSpec(0, b"\0", b"\0", FIRST), FIRST - 1, updates, 3)
        self.heard_at, self.ended = {b"a": heard_s}, ended


def broken(told: Told) -> set[str]:
    found = verdicts.of_watches([cast(Watch, told)], reference(), {b"a": 0.5})
    return {verdict.promise for verdict in found if not verdict.kept}


def test_watches() -> None:
    first, second, third = UPDATES
    assert broken(Told(UPDATES)) == set()
    assert verdicts.COMPLETE in broken(Told([first, third]))
    assert verdicts.ORDERED in broken(Told([first, third, second]))
    assert verdicts.UNIQUE in broken(Told([first, first, second, third]))
    assert verdicts.CAUGHT_UP in broken(Told([first, second]))
    assert verdicts.CAUGHT_UP in broken(Told(UPDATES, ended="no more"))
    assert verdicts.FUTURE in broken(Told(UPDATES, heard_s=0.4))
    assert verdicts.FUTURE in broken(Told([replace(first, revision=Revision(4)), second, third]))
