"""Majorities: pure functions over who votes."""

from collections.abc import Collection, Mapping

from kvstore.ids import NO_INDEX, Index, MemberId


def majority(voters: Collection[MemberId]) -> int:
    """How many of `voters` decide."""
    return len(voters) // 2 + 1


def committed_index(voters: Collection[MemberId], durable: Mapping[MemberId, Index]) -> Index:
    """Highest log index that a majority of `voters` holds on disk (Raft paper, 5.3).

    `durable` may name strangers (learners, members removed meanwhile): only voters count.
    A voter that has not answered counts as holding nothing.
    """
    assert voters, "a configuration without voters is refused before it gets here"
    ranked = sorted([durable.get(voter, NO_INDEX) for voter in voters], reverse=True)
    # With n voters a majority is n // 2 + 1 of them, so the majority's weakest sits at n // 2.
    return ranked[len(ranked) // 2]


def vote_result(voters: Collection[MemberId], votes: Mapping[MemberId, bool]) -> bool | None:
    """True: won; False: cannot be won any more; None: still open. Votes of strangers do not count."""
    granted = sum(votes.get(voter) is True for voter in voters)
    refused = sum(votes.get(voter) is False for voter in voters)
    if granted >= majority(voters):
        return True
    return False if refused > len(voters) - majority(voters) else None
