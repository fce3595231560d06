"""Majorities: the fast rules against the sentences that they stand for, counted out."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from kvstore.ids import Index, MemberId
from kvstore.raft.quorum import committed_index, majority, vote_result

members = st.integers(1, 9).map(MemberId)
configurations = st.sets(members, min_size=1)


def majorities(voters: set[MemberId]) -> list[set[MemberId]]:
    """Every set of more than half of the voters."""
    return [set(some) for size in range(len(voters) + 1) for some in combinations(sorted(voters), size) if 2 * size > len(voters)]


@given(configurations)
def test_majority_is_the_smallest_number_any_two_of_which_overlap(voters: set[MemberId]) -> None:
    assert majority(voters) == min(map(len, majorities(voters)))


@given(configurations, st.dictionaries(members, st.integers(0, 20).map(Index)))
def test_committed_is_the_highest_index_that_some_majority_holds(voters: set[MemberId], durable: dict[MemberId, Index]) -> None:
    held = [index for index in range(21) if any(all(durable.get(voter, 0) >= index for voter in some) for some in majorities(voters))]
    assert committed_index(voters, durable) == max(held)


@given(configurations, st.dictionaries(members, st.booleans()))
def test_an_election_is_won_or_lost_when_the_missing_votes_cannot_change_it(voters: set[MemberId], votes: dict[MemberId, bool]) -> None:
    def wins(missing: bool) -> bool:
        return any(all(votes.get(voter, missing) for voter in some) for some in majorities(voters))

    worst, best = wins(False), wins(True)
    assert vote_result(voters, votes) is (worst if worst == best else None)
