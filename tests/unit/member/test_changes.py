"""What the leader lets pass (MB-2 to MB-6), measured against etcd's rules one by one."""

import pytest

from kvstore.errors import LearnerNotReady, NotEnoughStartedMembers, StoreError, TooManyLearners, Unhealthy
from kvstore.ids import Index, MemberId, RequestId
from kvstore.member.changes import Rules, Standing, Wanted, new_member_id, why_refused
from kvstore.model import Member
from kvstore.statemachine.members import Action

OWN = MemberId(1)
WELL = Standing(60.0, Index(100))
DOWN = Standing(None, Index(100))
FRESH = Standing(4.9, Index(100))


def cluster(started: int, unstarted: int = 0, learners: int = 0) -> dict[MemberId, Member]:
    names = [f"m{number}" for number in range(1, started + 1)] + [""] * (unstarted + learners)
    return {
        MemberId(number): Member(MemberId(number), name, (f"http://m{number}:2380",), (), number > started + unstarted)
        for number, name in enumerate(names, 1)
    }


def refusal(
    action: Action,
    members: dict[MemberId, Member],
    subject: int = 99,
    standings: dict[int, Standing] | None = None,
    rules: Rules = Rules(),  # noqa: B008 - frozen
) -> type[StoreError] | None:
    wanted = Wanted(RequestId(1), OWN, action, MemberId(subject), ("http://new:2380",), 0.0)
    return why_refused(wanted, OWN, Index(100), members, lambda member: (standings or {}).get(member, WELL), rules)


@pytest.mark.parametrize(
    ("members", "standings", "refused"),
    [
        (cluster(1), {}, None),
        (cluster(1, unstarted=1), {}, NotEnoughStartedMembers),
        (cluster(2), {}, None),
        (cluster(2, unstarted=1), {2: WELL}, NotEnoughStartedMembers),
        (cluster(3), {}, None),
        (cluster(3, unstarted=1), {}, None),
        (cluster(3, unstarted=2), {}, NotEnoughStartedMembers),
        (cluster(3), {2: DOWN}, Unhealthy),
        (cluster(3), {2: FRESH}, Unhealthy),
        (cluster(3, learners=1), {4: DOWN}, None),
    ],
)
def test_adding_a_voter(members: dict[MemberId, Member], standings: dict[int, Standing], refused: type[StoreError] | None) -> None:
    assert refusal(Action.ADD, members, standings=standings) is refused
    assert refusal(Action.ADD, members, standings=standings, rules=Rules(strict=False)) is None


def test_adding_a_learner() -> None:
    assert refusal(Action.ADD_LEARNER, cluster(1, unstarted=1)) is None, "it counts in no quorum"
    assert refusal(Action.ADD_LEARNER, cluster(3), standings={2: DOWN}) is Unhealthy
    assert refusal(Action.ADD_LEARNER, cluster(3, learners=1)) is TooManyLearners
    assert refusal(Action.ADD_LEARNER, cluster(3, learners=1), rules=Rules(learners_max=2)) is None
    assert refusal(Action.ADD_LEARNER, cluster(3, learners=2), rules=Rules(strict=False, learners_max=2)) is TooManyLearners


@pytest.mark.parametrize(
    ("members", "subject", "standings", "refused"),
    [
        (cluster(3), 2, {}, None),
        (cluster(3), 1, {}, None),
        (cluster(3), 2, {2: DOWN}, None),
        (cluster(3), 2, {3: DOWN}, Unhealthy),
        (cluster(3), 1, {3: DOWN}, Unhealthy),
        (cluster(5), 2, {3: DOWN}, None),
        (cluster(5), 2, {3: DOWN, 4: FRESH}, Unhealthy),
        (cluster(2), 1, {}, None),
        (cluster(1), 1, {}, NotEnoughStartedMembers),
        (cluster(1, unstarted=1), 1, {}, NotEnoughStartedMembers),
        (cluster(1, unstarted=1), 2, {2: DOWN}, None),
        (cluster(3, learners=1), 4, {2: DOWN, 3: DOWN}, None),
        (cluster(3), 99, {}, None),
    ],
)
def test_removing(members: dict[MemberId, Member], subject: int, standings: dict[int, Standing], refused: type[StoreError] | None) -> None:
    assert refusal(Action.REMOVE, members, subject, standings) is refused


def test_the_last_voter_stays_strict_or_not() -> None:
    assert refusal(Action.REMOVE, cluster(1), 1, rules=Rules(strict=False)) is NotEnoughStartedMembers
    assert refusal(Action.REMOVE, cluster(1, learners=1), 1, rules=Rules(strict=False)) is NotEnoughStartedMembers


@pytest.mark.parametrize(
    ("standing", "refused"),
    [
        (Standing(0.1, Index(100)), None),
        (Standing(0.1, Index(90)), None),
        (Standing(0.1, Index(89)), LearnerNotReady),
        (Standing(None, Index(100)), LearnerNotReady),
        (Standing(None, Index(0)), LearnerNotReady),
    ],
)
def test_promoting(standing: Standing, refused: type[StoreError] | None) -> None:
    assert refusal(Action.PROMOTE, cluster(3, learners=1), 4, {4: standing}) is refused


def test_promoting_among_members_that_never_started() -> None:
    assert refusal(Action.PROMOTE, cluster(1, unstarted=2, learners=1), 4) is NotEnoughStartedMembers
    assert refusal(Action.PROMOTE, cluster(1, unstarted=2, learners=1), 4, rules=Rules(strict=False)) is None
    assert refusal(Action.PROMOTE, cluster(3), 2) is None, "the state says that it is none"


def test_ids_are_etcds() -> None:
    """As etcd 3.5.1 computed them for these very URLs; the second was added at this second."""
    assert new_member_id(["http://127.0.0.1:21101"], "etcd-cluster") == 0x706535FB64EF728F
    assert new_member_id(["http://b:1", "http://a:1"], "", 1700000000) == new_member_id(["http://a:1", "http://b:1"], "", 1700000000)
    assert new_member_id(["http://a:1"], "", 1700000000) != new_member_id(["http://a:1"], "", 1700000001)
