"""From samples to what is reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelson.drills import measures
from keelson.drills.leadership import Answer, leaders, longest_without_s
from keelson.drills.load import Sample


def write(called_s: float, returned_s: float, error: str = "", endpoint: str = "m1") -> Sample:
    return Sample(endpoint, True, called_s, returned_s, error, unknown=bool(error))


@pytest.mark.parametrize(
    ("at_s", "gap_s"),
    [
        ([], 10),
        ([5.0], 5),
        ([6.0, 2.0, 9.0, 1.0], 4),  # of several clients: not in order
        ([-5.0, 4.0, 11.0], 6),  # what lies outside does not shorten a gap that reaches over an end
    ],
)
def test_gaps(at_s: list[float], gap_s: float) -> None:
    assert measures.longest_gap_s(at_s, 0, 10) == gap_s


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    found = measures.quantile(sorted(values), share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values) + 1e-6


def test_the_first_write_is_one_that_was_called_after_the_fault() -> None:
    samples = [write(9.9, 10.1), write(10.2, 11.5), write(10.1, 11.9), write(10.05, 10.3, "refused"), Sample("m1", False, 10.1, 10.2)]
    assert measures.first_write_s(samples, 10.0) == pytest.approx(1.5)
    assert measures.first_write_s(samples[:1], 10.0) is None


def test_the_endpoint_that_waited_longest_is_told() -> None:
    samples = [write(t, t + 0.1, endpoint="m1") for t in range(10)] + [write(0, 0.5, endpoint="m2"), write(8, 9, endpoint="m2")]
    assert measures.endpoint_gap_s(samples, 0, 10) == pytest.approx(8.5)


def test_a_phase_counts_tries_that_were_repeated_apart_from_those_that_ended_a_request() -> None:
    samples = [write(0, 1), write(0, 2, "timed out"), Sample("m1", False, 0, 1, "no leader")]
    found = measures.phase(samples, failed_tries=5)
    assert (found.ok, found.failed, found.unknown, found.retried) == (1, 1, 1, 3)
    assert found.writes.max_ms == 1000
    assert found.reads.max_ms is None


def test_the_timeline_has_the_fault_on_a_line_of_its_grid() -> None:
    samples = [write(0.95, 1.0 - 1e-6), write(0.9, 1.0 + 1e-6), write(1.0, 1.25, "gone")]
    line = measures.timeline(samples, [1.05, 1.06], fault_s=1.0, begin_s=0.77, end_s=1.3)
    assert line.begin_s == pytest.approx(-0.3)
    assert line.ok == [0, 0, 1, 1, 0, 0, 0]
    assert line.failed == [0, 0, 0, 0, 0, 1, 0]
    assert line.events == [0, 0, 0, 2, 0, 0, 0]


def test_a_leader_is_who_says_so_and_is_named_by_a_majority() -> None:
    answers = [
        Answer(0, "m1", 1, 1), Answer(0.1, "m2", 2, 1), Answer(0.2, "m3", 3, 1),
        Answer(1, "m1"),  # does not answer any more
        Answer(1.1, "m2", 2, 0), Answer(1.2, "m3", 3, 0),
        Answer(2, "m2", 2, 2),  # says so, but nobody else does
        Answer(2.5, "m3", 3, 2),
    ]  # fmt: skip
    changes = leaders(answers, 3)
    assert changes == [(0, None), (0.1, "m1"), (1, None), (2.5, "m2")]
    assert longest_without_s(changes, 0.5, 5) == 1.5
    assert longest_without_s(changes, 1.2, 2) == pytest.approx(0.8)
