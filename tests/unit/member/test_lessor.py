"""Lease time at the leader: never too early, and never forgotten."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from kvstore.member.lessor import REVOKE_RETRY_S, REVOKES_PER_SCAN_MAX, SCAN_INTERVAL_S, STALE_ENTRIES_MAX, Lessor


def active(leases: dict[int, int] | None = None, extension_s: float = 0.0) -> Lessor:
    lessor = Lessor()
    lessor.promote(leases or {}, 0.0, extension_s)
    return lessor


def test_a_lease_ends_with_its_ttl_and_not_before() -> None:
    lessor = active()
    lessor.granted(1, 5.0, 0.0)
    assert lessor.expired(4.9) == []
    assert lessor.expired(4.9 + SCAN_INTERVAL_S) == [1]


def test_a_new_leader_gives_every_lease_its_whole_ttl_and_an_election_more() -> None:
    lessor = active({1: 5, 2: 60}, extension_s=1.0)
    assert lessor.remaining_s(1, 0.0) == 6.0
    assert lessor.expired(5.9) == []
    assert lessor.expired(6.5) == [1]
    assert lessor.remaining_s(2, 6.5) == 54.5


def test_renewing_gives_the_whole_ttl_again() -> None:
    lessor = active({1: 5})
    assert lessor.renew(1, 5.0, 4.0)
    assert lessor.expired(8.9) == []
    assert lessor.expired(9.5) == [1]


def test_what_has_expired_is_not_renewed_though_it_is_not_yet_revoked() -> None:
    """Its keys may be gone any moment: to say that it lives would be a lie."""
    lessor = active({1: 5})
    assert not lessor.renew(1, 5.0, 5.0)
    assert not lessor.renew(2, 5.0, 0.0)
    assert lessor.remaining_s(1, 7.0) == 0.0
    assert lessor.remaining_s(2, 0.0) is None


def test_a_revocation_that_came_to_nothing_is_asked_for_again() -> None:
    lessor = active({1: 5})
    assert lessor.expired(5.0) == [1]
    assert lessor.expired(5.0 + SCAN_INTERVAL_S) == []
    assert lessor.expired(5.0 + REVOKE_RETRY_S) == [1]
    lessor.revoked(1)
    assert lessor.expired(5.0 + 3 * REVOKE_RETRY_S) == []


def test_a_scan_revokes_no_more_than_its_maximum_and_the_rest_in_the_next() -> None:
    lessor = active(dict.fromkeys(range(1, REVOKES_PER_SCAN_MAX + 11), 1))
    first = lessor.expired(2.0)
    assert len(first) == REVOKES_PER_SCAN_MAX
    assert lessor.expired(2.0) == [], "one scan in an interval"
    assert len(lessor.expired(2.0 + SCAN_INTERVAL_S)) == 10


def test_who_leads_no_more_counts_nothing() -> None:
    lessor = active({1: 5})
    lessor.demote()
    assert not lessor.active
    assert lessor.expired(100.0) == []
    assert lessor.remaining_s(1, 0.0) is None


def test_leases_revoked_long_before_their_time_do_not_pile_up() -> None:
    lessor = active({1: 5})
    for _ in range(10 * STALE_ENTRIES_MAX):
        lessor.granted(2, 1e9, 0.0)
        lessor.revoked(2)
    lessor.granted(3, 6.0, 0.0)
    assert len(lessor._heap) <= STALE_ENTRIES_MAX + 10
    assert lessor.expired(7.0) == [1, 3]


class LessorAgainstDeadlines(RuleBasedStateMachine):
    """The heap with early entries against a dict of deadlines, looked through."""

    def __init__(self) -> None:
        super().__init__()
        self.lessor = active()
        self.deadlines: dict[int, float] = {}
        self.ttls: dict[int, int] = {}
        self.asked: dict[int, float] = {}
        self.now = 0.0

    @rule(seconds=st.integers(1, 8))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        due = self.lessor.expired(self.now)
        expected = [lease for lease, deadline in self.deadlines.items() if deadline <= self.now]
        assert set(due) <= set(expected), "a lease that still has time is never revoked"
        for lease in expected:
            if lease in due:
                self.asked[lease] = self.now
            else:
                assert self.now - self.asked[lease] < REVOKE_RETRY_S, "what has expired is asked for, and asked for again"

    @rule(lease=st.integers(1, 4), ttl=st.integers(2, 9))
    def grant(self, lease: int, ttl: int) -> None:
        if lease not in self.deadlines:
            self.lessor.granted(lease, ttl, self.now)
            self.deadlines[lease] = self.now + ttl
            self.ttls[lease] = ttl

    @precondition(lambda self: self.deadlines)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.deadlines)))
        alive = self.deadlines[lease] > self.now
        assert self.lessor.renew(lease, self.ttls[lease], self.now) is alive
        if alive:
            self.deadlines[lease] = self.now + self.ttls[lease]

    @precondition(lambda self: self.deadlines)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.deadlines)))
        self.lessor.revoked(lease)
        del self.deadlines[lease]
        self.asked.pop(lease, None)

    @invariant()
    def the_time_left_is_right(self) -> None:
        for lease in range(1, 5):
            expected = max(0.0, self.deadlines[lease] - self.now) if lease in self.deadlines else None
            assert self.lessor.remaining_s(lease, self.now) == expected


def test_lessor_equals_a_dict_of_deadlines() -> None:
    run_state_machine_as_test(LessorAgainstDeadlines, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
