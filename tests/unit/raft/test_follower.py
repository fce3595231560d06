"""What a follower does not take from anybody."""

import pytest

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.messages import AppendReply, AppendRequest, ConfState, Entry, ForwardProposals, Heartbeat
from tests.unit.raft.cluster import Node


def entry(term: int, index: int) -> Entry:
    return Entry(Term(term), Index(index), b"x")


@pytest.mark.parametrize(
    ("prev", "prev_term", "entries"),
    [
        (0, 0, [entry(1, 2)]),
        (0, 0, [entry(1, 1), entry(1, 3)]),
        (0, 0, [entry(1, 2), entry(1, 1)]),
        (0, 0, [entry(1, 1), entry(1, 1)]),
        (0, 0, [entry(2, 1), entry(1, 2)]),
        (0, 0, [entry(4, 1)]),
        (0, 1, [entry(1, 1)]),
        (-1, 0, [entry(1, 0)]),
        (5, 9, []),
    ],
)
def test_an_append_that_is_not_in_one_piece_is_no_append(prev: int, prev_term: int, entries: list[Entry]) -> None:
    node = Node(1, ConfState((MemberId(1), MemberId(2))), 1)
    node.raft.step(AppendRequest(MemberId(2), MemberId(1), Term(3), Index(prev), Term(prev_term), Index(0), tuple(entries)))
    assert node.work() == []
    assert node.raft.last_index == 0


@pytest.mark.parametrize(("prev", "answers"), [(0, []), (5, [False])])
def test_an_append_that_wants_no_answer_is_still_refused_if_it_does_not_fit(prev: int, answers: list[bool]) -> None:
    node = Node(1, ConfState((MemberId(1), MemberId(2))), 1)
    node.raft.step(AppendRequest(MemberId(2), MemberId(1), Term(3), Index(prev), Term(3 if prev else 0), Index(0), (), False))
    assert [message.success for message in node.work() if isinstance(message, AppendReply)] == answers


@pytest.mark.parametrize(
    ("sender", "term", "passed_on"),
    [
        (3, 1, True),  # of the term in which we led, perhaps
        (3, 2, False),  # as late as we are, and yet it takes us for leader: it errs, and might be sent it back
        (2, 1, True),  # from the leader of now, of before it led
    ],
)
def test_proposals_for_a_leader_of_before_are_passed_on_to_the_one_of_now(sender: int, term: int, passed_on: bool) -> None:
    own, leader = MemberId(1), MemberId(2)
    node = Node(1, ConfState((own, leader, MemberId(3))), 1)
    node.raft.step(Heartbeat(leader, own, Term(2), Index(0), 0))
    node.work()
    node.raft.step(ForwardProposals(MemberId(sender), own, Term(term), (b"x",)))
    told = [message for message in node.work() if isinstance(message, ForwardProposals)]
    assert told == ([ForwardProposals(own, leader, Term(2), (b"x",))] if passed_on else [])
