"""Latencies as counts in buckets, each about 3 % wide (as HdrHistogram does it): small enough to keep with every figure, and rounds can be
added up, which percentiles cannot.

Microseconds up to 63 have a bucket each; above, every doubling has 32.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

BITS = 5
EXACT_BELOW_US = 2 << BITS


def bucket(us: int) -> int:
    if us < EXACT_BELOW_US:
        return us
    shift = us.bit_length() - BITS - 1
    return (shift << BITS) + (us >> shift)


def middle_us(number: int) -> float:
    """What a latency in this bucket counts as."""
    if number < EXACT_BELOW_US:
        return number + 0.5
    shift = (number >> BITS) - 1
    return (((number & ((1 << BITS) - 1)) + (1 << BITS)) << shift) + (1 << shift) / 2


class Histogram(Struct, frozen=True):
    """`counts` of the buckets from number `first` on."""

    first: int = 0
    counts: list[int] = []

    @property
    def total(self) -> int:
        return sum(self.counts)

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` of the requests did not exceed, to half a bucket; 0 if there were none."""
        wanted, seen = share * self.total, 0
        for at, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return round(middle_us(self.first + at) / 1000, 4)
        return 0.0


def _of_counts(counts: Counter[int]) -> Histogram:
    if not counts:
        return Histogram()
    first = min(counts)
    return Histogram(first, [counts[number] for number in range(first, max(counts) + 1)])


def of_seconds(latencies: Iterable[float]) -> Histogram:
    counts: Counter[int] = Counter()
    for us, times in Counter(int(latency * 1e6) for latency in latencies).items():
        counts[bucket(us)] += times
    return _of_counts(counts)


def added(histograms: Sequence[Histogram]) -> Histogram:
    counts: Counter[int] = Counter()
    for histogram in histograms:
        for at, times in enumerate(histogram.counts):
            if times:
                counts[histogram.first + at] += times
    return _of_counts(counts)
