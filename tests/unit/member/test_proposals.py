"""Who waits for which request id: answered once, or told that it takes too long."""

from hypothesis import given
from hypothesis import strategies as st

from kvstore.ids import RequestId
from kvstore.member.proposals import BATCH_BYTES_MAX, Proposals


def test_a_proposal_is_answered_once() -> None:
    proposals = Proposals(7, 5.0)
    request_id = proposals.next_id()
    proposals.wait(request_id, "token", 0.0)
    assert proposals.complete(request_id) == "token"
    assert proposals.complete(request_id) is None


def test_somebody_elses_request_is_nobodys_here() -> None:
    assert Proposals(7, 5.0).complete(RequestId(1)) is None


def test_ids_go_round_without_ever_being_zero() -> None:
    """0 is what a command without an id has."""
    proposals = Proposals((1 << 64) - 2, 5.0)
    assert [proposals.next_id() for _ in range(3)] == [(1 << 64) - 1, 1, 2]


def test_who_waited_too_long_is_told_and_a_late_outcome_is_for_nobody() -> None:
    proposals = Proposals(0, 5.0)
    early, late = proposals.next_id(), proposals.next_id()
    proposals.wait(early, "early", 0.0)
    proposals.wait(late, "late", 1.0)
    assert proposals.expire(4.9) == []
    assert proposals.expire(5.0) == ["early"]
    assert proposals.complete(early) is None
    assert (len(proposals), proposals.complete(late)) == (1, "late")


def test_all_tokens_come_out_at_the_end_and_nothing_is_sent_any_more() -> None:
    proposals = Proposals(0, 5.0)
    for token in ("a", "b"):
        proposals.wait(proposals.next_id(), token, 0.0)
    proposals.unsent.append(b"command")
    assert proposals.drain() == ["a", "b"]
    assert (proposals.drain(), proposals.next_batch()) == ([], [])


@given(st.lists(st.sampled_from([0, 1, BATCH_BYTES_MAX // 3, BATCH_BYTES_MAX, 2 * BATCH_BYTES_MAX]), max_size=12))
def test_batches_are_everything_in_order_each_as_large_as_may_be(sizes: list[int]) -> None:
    proposals = Proposals(0, 5.0)
    left = [bytes(size) for size in sizes]
    proposals.unsent = list(left)
    while batch := proposals.next_batch():
        assert batch == left[: len(batch)]
        assert len(batch) == 1 or sum(map(len, batch)) <= BATCH_BYTES_MAX
        following = left[len(batch) :]
        assert not following or sum(map(len, batch)) + len(following[0]) > BATCH_BYTES_MAX, "the next one would have fitted"
        del proposals.unsent[: len(batch)]
        left = following
    assert left == []
