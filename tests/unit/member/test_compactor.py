"""etcd's published rules of automatic compaction (api/v3compactor/periodic.go, revision.go), played in virtual time."""

from collections.abc import Callable

import pytest

from kvstore.ids import Revision
from kvstore.member.compactor import REVISION_INTERVAL_S, AutoCompaction, Compactor, PeriodicCompactor, RevisionCompactor, make_compactor
from kvstore.model import Put
from tests.unit.member.test_member import Alone

MINUTE_S = 60.0
HOUR_S = 3600.0


def play(
    compactor: Compactor,
    until_s: float,
    *,
    revision: Callable[[float], float] = lambda now_s: 1 + now_s,
    leading: Callable[[float], bool] = lambda _: True,
    succeeds: Callable[[float], bool] = lambda _: True,
    step_s: float = 0.5,
) -> list[tuple[float, int]]:
    """(when, revision) of each compaction that was asked for; the revision is by default a number a second, from 1 on."""
    asked = []
    for step in range(round(until_s / step_s) + 1):
        now_s = step * step_s
        wanted = compactor.due(now_s, Revision(int(revision(now_s))), leading(now_s))
        if wanted is not None:
            asked.append((now_s, int(wanted)))
            compactor.finished(now_s, wanted, succeeds(now_s))
    return asked


def periodic(period_s: float, give_up_s: float = 7.0) -> Compactor:
    return PeriodicCompactor(period_s, 0.0, give_up_s)


@pytest.mark.parametrize("hours", [1, 2, 24])
def test_hours_compact_after_those_hours_and_then_every_hour(hours: int) -> None:
    """etcd's own test (TestPeriodicHourly): a revision a sample; first the first, then the tenth, the twentieth, ..."""
    asked = play(periodic(hours * HOUR_S), (hours + 3) * HOUR_S, revision=lambda now_s: 1 + now_s / (6 * MINUTE_S), step_s=90)
    assert asked == [((hours + more) * HOUR_S, max(1, more * 10)) for more in range(4)]


def test_what_changed_within_the_period_stays() -> None:
    """The oldest sample is from the period before, and after the first compaction from a tenth of an hour before that."""
    asked = play(periodic(HOUR_S), 4 * HOUR_S)
    assert asked == [(HOUR_S, 1), (2 * HOUR_S, 3241), (3 * HOUR_S, 6841), (4 * HOUR_S, 10441)]


@pytest.mark.parametrize("period_s", [5.0, 50.0, 59 * MINUTE_S])
def test_a_shorter_period_compacts_with_every_period(period_s: float) -> None:
    asked = play(periodic(period_s), 3 * period_s, step_s=period_s / 100)
    assert [when for when, _ in asked] == pytest.approx([period_s, 2 * period_s, 3 * period_s])
    assert [revision for _, revision in asked] == pytest.approx([1, 1 + 0.9 * period_s, 1 + 1.9 * period_s], abs=1)


def test_nothing_new_is_nothing_to_compact() -> None:
    asked = play(periodic(HOUR_S), 5 * HOUR_S, revision=lambda now_s: 9 if now_s < 3.05 * HOUR_S else 12)
    assert asked == [(HOUR_S, 9), (4.2 * HOUR_S, 12)], "looked for with every sample once it is due: the first that is old enough"


def test_a_failure_is_tried_again_a_tenth_later() -> None:
    asked = play(periodic(HOUR_S), 2.5 * HOUR_S, succeeds=lambda now_s: now_s > 1.15 * HOUR_S)
    assert asked == [(HOUR_S, 1), (3960.0, 1), (4320.0, 361), (7920.0, 3961)]


def test_followers_sample_and_a_new_leader_compacts_by_their_samples() -> None:
    asked = play(periodic(HOUR_S), 3 * HOUR_S, leading=lambda now_s: now_s > 1.55 * HOUR_S)
    assert asked == [(5760.0, 1801), (9360.0, 5401)]


def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    compactor = periodic(HOUR_S, give_up_s=400)
    asked = []
    for second in range(int(1.5 * HOUR_S) + 1):
        wanted = compactor.due(second, Revision(second + 1), True)
        if wanted is not None:
            asked.append(second)
    assert asked == [3600, 3600 + 720, 3600 + 1440], "not while the first may still come"


def test_mode_revision_keeps_so_many_every_five_minutes() -> None:
    compactor = RevisionCompactor(100, 0.0, 7.0)
    asked = play(compactor, 16 * MINUTE_S)
    assert asked == [(300.0, 201), (600.0, 501), (900.0, 801)]


def test_mode_revision_does_nothing_below_its_number_or_twice() -> None:
    compactor = RevisionCompactor(1000, 0.0, 7.0)
    asked = play(compactor, 30 * MINUTE_S, revision=lambda now_s: min(1500, 700 + now_s))
    assert asked == [(600.0, 300), (900.0, 500)]


def test_mode_revision_leaves_it_to_the_leader_and_tries_failures_again() -> None:
    compactor = RevisionCompactor(10, 0.0, 7.0)
    assert play(compactor, 600, leading=lambda _: False) == []
    compactor = RevisionCompactor(10, 0.0, 7.0)
    asked = play(compactor, 900, revision=lambda _: 50, succeeds=lambda now_s: now_s > 400)
    assert asked == [(300.0, 40), (600.0, 40)]


def test_off_is_off() -> None:
    assert make_compactor(AutoCompaction(), 0.0, 7.0) is None


def test_a_leader_compacts_by_itself_and_a_follower_does_not() -> None:
    alone = Alone(auto_compaction=AutoCompaction(period_s=20.0))
    alone.lead()

    def turn() -> None:
        alone.pump()
        alone.do_state_work()

    alone.member.propose(Put(b"key", b"1"), "put")
    alone.tick(150, turn)
    assert alone.member.machine.compacted_revision == 0
    alone.tick(80, turn)
    assert alone.member.machine.compacted_revision in (1, 2)
    follower = Alone(voters=3, auto_compaction=AutoCompaction(revisions=1))
    for _ in range(2 * int(REVISION_INTERVAL_S / follower.member.config.tick_s)):
        follower.now_s += follower.member.config.tick_s
        follower.member.tick(follower.now_s)
    assert follower.member._auto_compaction is None
