"""Each checker must refuse what it is there to refuse, and let the lawful pass."""

from collections.abc import Callable

import pytest

from keelson.drills.checkers import watch_guarantees as watch
from keelson.drills.checkers.violation import Violation
from kvstore.encoding import encode_event, encode_key_value, encode_tombstone
from kvstore.ids import Index, MemberId, Revision, Term
from kvstore.model import WatchSpec, WatchUpdate
from kvstore.mvcc.events import AppliedEvent, RevisionEvents
from kvstore.raft.messages import AppendReply, Entry, HardState, VoteReply, VoteRequest
from tests.simulation.checkers.consensus import ConsensusChecker
from tests.simulation.checkers.leases import LeaseChecker
from tests.simulation.checkers.state import StateChecker

A, B, C = MemberId(1), MemberId(2), MemberId(3)


def entry(index: int, term: int, data: bytes = b"x") -> Entry:
    return Entry(Term(term), Index(index), data)


def consensus() -> ConsensusChecker:
    checker = ConsensusChecker()
    for member in (A, B, C):
        checker.on_start(member, HardState(), Index(0), Term(0), [])
    return checker


def acknowledged(checker: ConsensusChecker, member: MemberId, term: int, index: int) -> None:
    checker.on_message(AppendReply(member, A, Term(term), True, Index(index)))


def test_two_leaders_in_a_term() -> None:
    checker = consensus()
    checker.on_leader(A, Term(1), lambda _: None, 0)
    checker.on_leader(A, Term(1), lambda _: None, 0)
    with pytest.raises(Violation, match="election safety"):
        checker.on_leader(B, Term(1), lambda _: None, 0)


def test_two_votes_in_a_term() -> None:
    checker = consensus()
    checker.on_message(VoteReply(C, A, Term(4), True))
    checker.on_message(VoteReply(C, B, Term(4), False))
    checker.on_message(VoteReply(C, A, Term(4), True))
    with pytest.raises(Violation, match="one vote"):
        checker.on_message(VoteReply(C, B, Term(4), True))
    with pytest.raises(Violation, match="one vote"):
        checker.on_message(VoteRequest(C, B, Term(4), Index(0), Term(0)))


def test_a_forgotten_vote() -> None:
    checker = consensus()
    checker.on_message(VoteReply(C, A, Term(4), True))
    checker.on_start(C, HardState(Term(4), A), Index(0), Term(0), [])
    with pytest.raises(Violation, match="goes back on a promise"):
        checker.on_start(C, HardState(Term(4)), Index(0), Term(0), [])
    with pytest.raises(Violation, match="goes back on a promise"):
        checker.on_start(C, HardState(Term(3), A), Index(0), Term(0), [])


def test_a_forgotten_acknowledgement() -> None:
    checker = consensus()
    checker.on_entries(B, Term(1), [entry(1, 1), entry(2, 1)])
    acknowledged(checker, B, 1, 2)
    checker.on_start(B, HardState(Term(1)), Index(0), Term(0), [1, 1])
    with pytest.raises(Violation, match="goes back on a promise"):
        checker.on_start(B, HardState(Term(1)), Index(0), Term(0), [1])


def test_an_acknowledgement_of_nothing() -> None:
    checker = consensus()
    with pytest.raises(Violation, match="acknowledge what is held"):
        acknowledged(checker, B, 1, 2)


def test_an_overlapping_append_that_deletes_the_rest() -> None:
    checker = consensus()
    checker.on_entries(B, Term(1), [entry(1, 1), entry(2, 1), entry(3, 1)])
    acknowledged(checker, B, 1, 3)
    with pytest.raises(Violation, match="what it acknowledged"):
        checker.on_entries(B, Term(1), [entry(1, 1), entry(2, 1)])


def test_a_newer_leader_overrules() -> None:
    checker = consensus()
    checker.on_entries(B, Term(1), [entry(1, 1), entry(2, 1)])
    acknowledged(checker, B, 1, 2)
    checker.on_entries(B, Term(2), [entry(2, 2)])
    checker.on_start(B, HardState(Term(2)), Index(0), Term(0), [1, 2])


def test_logs_that_do_not_match() -> None:
    checker = consensus()
    checker.on_entries(A, Term(2), [entry(1, 1), entry(2, 2)])
    with pytest.raises(Violation, match="log matching"):
        checker.on_entries(B, Term(2), [entry(1, 1, b"other")])
    checker = consensus()
    checker.on_entries(A, Term(3), [entry(1, 1), entry(2, 3)])
    with pytest.raises(Violation, match="log matching"):
        checker.on_entries(B, Term(3), [entry(1, 2), entry(2, 3)])


def test_a_gap_in_the_log() -> None:
    with pytest.raises(Violation, match="without gaps"):
        consensus().on_entries(A, Term(1), [entry(2, 1)])


def test_a_leader_without_what_was_committed() -> None:
    checker = consensus()
    checker.on_leader(A, Term(1), lambda _: None, 0)
    checker.on_entries(A, Term(1), [entry(1, 1)])
    checker.on_committed(A, [entry(1, 1)])
    checker.on_leader(B, Term(2), {1: Term(1)}.get, 0)
    with pytest.raises(Violation, match="leader completeness"):
        checker.on_leader(C, Term(3), lambda _: None, 0)


def test_a_committed_entry_deleted() -> None:
    checker = consensus()
    checker.on_entries(A, Term(1), [entry(1, 1), entry(2, 1)])
    checker.on_committed(A, [entry(1, 1)])
    checker.on_entries(A, Term(2), [entry(2, 2)])
    with pytest.raises(Violation, match="nobody deletes what is committed"):
        checker.on_entries(A, Term(3), [entry(1, 3)])


def test_different_entries_applied_at_an_index() -> None:
    checker = consensus()
    checker.on_committed(A, [entry(1, 1)])
    with pytest.raises(Violation, match="state-machine safety"):
        checker.on_committed(B, [entry(1, 2)])


def test_a_commit_that_a_leader_was_not_entitled_to() -> None:
    checker = consensus()
    checker.on_leader_commit(A, 2, 7, 2, [{A: None, B: 2, C: 2}])
    checker.on_leader_commit(A, 2, 7, 2, [{A: None, B: 2, C: 0}])
    checker.on_leader_commit(A, 2, 7, 2, [{A: None, B: 1, C: 2}, {B: 1, C: 2, A: 2}])
    with pytest.raises(Violation, match="own term"):
        checker.on_leader_commit(A, 3, 7, 2, [{A: 2, B: 2, C: 2}])
    with pytest.raises(Violation, match="majority's disks"):
        checker.on_leader_commit(A, 2, 7, 2, [{A: None, B: 1, C: 2}])


def test_applied_twice_or_differently() -> None:
    checker = StateChecker()
    checker.on_start(A, 0)
    checker.on_start(B, 0)
    checker.on_applied(A, 1, "one")
    with pytest.raises(Violation, match="applied once"):
        checker.on_applied(A, 1, "one")
    with pytest.raises(Violation, match="same outcome"):
        checker.on_applied(B, 1, "two")


def test_going_back_on_an_answer() -> None:
    checker = StateChecker()
    checker.on_answer(A, 5)
    checker.on_answer(B, 3)
    with pytest.raises(Violation, match="goes back on an answer"):
        checker.on_answer(A, 4)


def test_different_states() -> None:
    StateChecker.at_end({A: 1, B: 1})
    with pytest.raises(Violation, match="equal states"):
        StateChecker.at_end({A: 1, B: 2})


def test_a_lease_that_ends_early() -> None:
    checker = LeaseChecker(skew=0.1)
    checker.on_granted(7, 11, called_s=100.0)
    checker.on_renewed(7, 11, called_s=105.0)
    with pytest.raises(Violation, match="lease lives"):
        checker.on_gone(7, 114.9)


def test_a_lease_that_ends_in_time_or_on_request() -> None:
    checker = LeaseChecker(skew=0.1)
    checker.on_granted(7, 11, called_s=100.0)
    checker.on_gone(7, 110.1)
    checker.on_granted(8, 11, called_s=100.0)
    checker.on_revoke_asked(8)
    checker.on_gone(8, 101.0)


def test_a_renewal_of_a_lease_that_was_gone() -> None:
    checker = LeaseChecker(skew=0.0)
    checker.on_granted(7, 10, called_s=100.0)
    checker.on_gone(7, 111.0)
    with pytest.raises(Violation, match="lease lives"):
        checker.on_renewed(7, 10, called_s=112.0)


def test_a_lease_that_never_ends() -> None:
    checker = LeaseChecker(skew=0.0)
    checker.on_granted(7, 10, called_s=100.0)
    checker.at_end({7: 10}, healed_s=110.0, now_s=121.0)
    with pytest.raises(Violation, match="lease ends"):
        checker.at_end({7: 10}, healed_s=110.0, now_s=160.0)


# --- watches ----------------------------------------------------------------------------------------------------------


def change(revision: int, *keys: bytes, deleted: bool = False) -> RevisionEvents:
    kvs = [encode_tombstone(k, revision) if deleted else encode_key_value(k, revision, revision, 1, b"v", 0) for k in keys]
    return RevisionEvents(Revision(revision), tuple(AppliedEvent(k, deleted, kv) for k, kv in zip(keys, kvs, strict=True)))


REFERENCE = {2: change(2, b"a"), 3: change(3, b"a", b"b"), 4: change(4, b"z"), 5: change(5, b"b")}


def update(*revisions: int, keys: bytes = b"ab", header: int = 0) -> WatchUpdate:
    events = [e for r in revisions for e in REFERENCE[r].events if e.key in (keys[:1], keys[1:])]
    return WatchUpdate(0, Revision(header or revisions[-1]), tuple(encode_event(e.deleted, e.kv) for e in events))


def progress(revision: int) -> WatchUpdate:
    return WatchUpdate(-1, Revision(revision))


def record(*updates: WatchUpdate, start: int = 2, chain: int = 0) -> watch.WatchRecord:
    return watch.WatchRecord(A, WatchSpec(0, b"a", b"c", start_revision=start), 9, list(updates), chain)


def test_lawful_watches() -> None:
    watch.check_all([record(update(2), update(3), progress(4), update(5)), record(update(2, 3, 5, header=9), chain=1)], REFERENCE, set())


SPLIT = WatchUpdate(0, Revision(3), (update(3).events[1],))

UNLAWFUL: dict[str, tuple[str, Callable[[], None]]] = {
    "order": ("ordered", lambda: watch.ordered(record(update(3), update(2)))),
    "header behind its event": ("ordered", lambda: watch.ordered(record(update(3, header=2)))),
    "twice": ("unique", lambda: watch.unique(record(update(2), update(2)))),
    "a revision in two parts": ("atomic", lambda: watch.atomic(record(update(3, keys=b"a?"), SPLIT))),
    "gap": ("reliable", lambda: watch.reliable(record(update(2), update(5)), REFERENCE)),
    "gap before progress": ("reliable", lambda: watch.reliable(record(update(2), progress(3)), REFERENCE)),
    "half a revision": ("reliable", lambda: watch.reliable(record(update(2), SPLIT), REFERENCE)),
    "not asked for": ("reliable", lambda: watch.reliable(record(update(2, 3), update(4, keys=b"z?")), REFERENCE)),
    "event behind progress": ("bookmarkable", lambda: watch.bookmarkable(record(update(2), progress(3), update(3)))),
    "gap at the seam": ("reliable", lambda: watch.resumable([record(update(2)), record(update(5), start=3)], REFERENCE)),
    "repeat at the seam": ("unique", lambda: watch.resumable([record(update(2, 3)), record(update(3), update(5), start=4)], REFERENCE)),
    "ended for nothing": ("ended", lambda: watch.ended_by_compaction_only(record(update(2), WatchUpdate(0, Revision(0), (), 3)), {3})),
}


@pytest.mark.parametrize("name", UNLAWFUL)
def test_unlawful_watches(name: str) -> None:
    rule, check = UNLAWFUL[name]
    with pytest.raises(Violation, match=f"watch: {rule}"):
        check()


def test_a_watch_ended_by_a_compaction() -> None:
    ended = record(update(2), WatchUpdate(0, Revision(0), (), 5))
    watch.ended_by_compaction_only(ended, {5})
    with pytest.raises(Violation, match="nobody asked for"):
        watch.ended_by_compaction_only(ended, {4})
