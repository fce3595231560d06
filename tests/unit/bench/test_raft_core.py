"""The core alone is measured only if its members agree."""

import pytest

from bench.raft_core import Checkpoints, Disagreement, compare


def test_members_that_committed_the_same_agree_however_far_each_is() -> None:
    compare([[(1000, 7), (2000, 8)], [(1000, 7)], []])


@pytest.mark.parametrize("members", [[[(1000, 7), (2000, 8)], [(1000, 7), (2000, 9)]], [[(1000, 7)], [], []], [[], []]])
def test_a_figure_of_members_that_disagree_or_cannot_be_compared_is_none(members: list[Checkpoints]) -> None:
    with pytest.raises(Disagreement):
        compare(members)
