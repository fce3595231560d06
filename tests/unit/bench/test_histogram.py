"""Latencies in buckets: none lost, none far from where it was."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bench.load.histogram import EXACT_BELOW_US, Histogram, added, bucket, middle_us, of_seconds

MICROSECONDS = st.integers(0, 10**9)


@given(MICROSECONDS)
def test_a_bucket_is_three_percent_wide(us: int) -> None:
    middle = middle_us(bucket(us))
    assert abs(middle - us) <= max(0.5, us / 60)


def test_buckets_follow_each_other() -> None:
    numbers = [bucket(us) for us in range(100_000)]
    assert numbers[:EXACT_BELOW_US] == list(range(EXACT_BELOW_US))
    assert {after - before for before, after in pairwise(numbers)} == {0, 1}


@given(st.lists(st.lists(MICROSECONDS, max_size=30), max_size=4))
def test_rounds_add_up(rounds: list[list[int]]) -> None:
    parts = [of_seconds(us / 1e6 for us in each) for each in rounds]
    assert added(parts) == of_seconds(us / 1e6 for each in rounds for us in each)
    assert added(parts).total == sum(map(len, rounds))


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_percentiles_are_those_of_the_list(latencies: list[int], share: float) -> None:
    ranked = sorted(latencies)
    exact = next(us for at, us in enumerate(ranked, 1) if at >= share * len(ranked))
    told = of_seconds(us / 1e6 for us in latencies).percentile_ms(share) * 1000
    assert abs(told - exact) <= max(1.6, exact / 30)


def test_of_nothing_there_is_nothing() -> None:
    assert of_seconds([]) == Histogram()
    assert Histogram().percentile_ms(0.5) == 0
