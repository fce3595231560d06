"""Counting for /metrics at the cost of an addition; `exposition.py` makes Prometheus' text of it.

prometheus-client's own metrics take a lock for every increment, several times what a count may cost on a hot path. Here counts are plain numbers
where they happen, a `Histogram` is a list of them, and collectors read both when somebody asks. Each has one writer (the event loop, or one
thread); a reader in between sees the last observation or not, never half of it in the buckets.
"""

import math
from bisect import bisect_left


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Upper bounds of buckets as Go's client makes them (ExponentialBuckets), by repeated multiplication."""
    bounds = [first]
    while len(bounds) < count:
        bounds.append(bounds[-1] * factor)
    return tuple(bounds)


class Histogram:
    """Observations by the smallest of the rising `bounds` that they do not pass. 0.2 us an observation."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus wants them: the count of all observations up to each bound."""
        found, reached = [], 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            reached += count
            found.append((number(bound), float(reached)))
        return found


def number(value: float) -> str:
    """Go's shortest form, in which bounds and values are written: 0.001, 8, 1.048576e+06, +Inf."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    text = repr(float(value))
    if "e" not in text and abs(value) >= 1e6:
        digits = text.removesuffix(".0")
        whole, _, rest = digits.partition(".")
        sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
        if len(whole) <= 21:  # Go's %g with the shortest precision turns to exponents from 1e21 on; its Prometheus client from 1e6 on
            mantissa = (whole[1:] + rest).rstrip("0")
            return f"{sign}{whole[0]}{'.' + mantissa if mantissa else ''}e+{len(whole) - 1:02}"
    return text
