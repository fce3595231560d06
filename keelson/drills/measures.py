"""From what was recorded to what is reported: counts, gaps, latencies, the timeline. Pure; times come in on one clock."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from keelson.drills.load import Sample
from keelson.drills.trial import BIN_S, Latency, Phase, Timeline


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that is at least as large as `share` of all. `ordered` is not empty."""
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def latency(samples: Iterable[Sample]) -> Latency:
    took = sorted(1000 * (sample.returned_s - sample.called_s) for sample in samples)
    if not took:
        return Latency(None, None, None)
    return Latency(round(quantile(took, 0.5), 3), round(quantile(took, 0.99), 3), round(took[-1], 3))


def phase(samples: Sequence[Sample], failed_tries: int) -> Phase:
    """Of these requests, whose clients counted so many failed tries. (A request that failed has failed in its last try; every other failed try was
    followed by another.)"""
    answered = [sample for sample in samples if not sample.error]
    failed = len(samples) - len(answered)
    unknown = sum(sample.unknown for sample in samples)
    return Phase(
        ok=len(answered),
        failed=failed - unknown,
        unknown=unknown,
        retried=max(failed_tries - failed, 0),
        writes=latency(sample for sample in answered if sample.is_write),
        reads=latency(sample for sample in answered if not sample.is_write),
    )


def longest_gap_s(at_s: Iterable[float], begin_s: float, end_s: float) -> float:
    """The longest time within [begin, end] in which none of `at_s` lies. The ends count: a gap may reach over either."""
    inside = sorted(at for at in at_s if begin_s <= at <= end_s)
    return max(later - earlier for earlier, later in pairwise([begin_s, *inside, end_s]))


def endpoint_gap_s(samples: Sequence[Sample], begin_s: float, end_s: float) -> float:
    """The longest gap of acknowledged writes that the clients of one endpoint saw, of the endpoint where it was longest."""
    endpoints = {sample.endpoint for sample in samples if sample.is_write and begin_s <= sample.called_s <= end_s}
    return max(
        (
            longest_gap_s((sample.returned_s for sample in samples if acknowledged(sample) and sample.endpoint == endpoint), begin_s, end_s)
            for endpoint in endpoints
        ),
        default=0.0,
    )


def acknowledged(sample: Sample) -> bool:
    return sample.is_write and not sample.error


def first_write_s(samples: Iterable[Sample], fault_s: float) -> float | None:
    """From the fault to the first acknowledgement of a write that was called after it; None if there was none."""
    return min((sample.returned_s - fault_s for sample in samples if acknowledged(sample) and sample.called_s >= fault_s), default=None)


def timeline(samples: Sequence[Sample], events_s: Iterable[float], fault_s: float, begin_s: float, end_s: float) -> Timeline:
    """Bins on a grid that has the fault on one of its lines."""
    first = int((begin_s - fault_s) // BIN_S)
    count = max(int((end_s - fault_s) // BIN_S) - first + 1, 1)
    took: list[list[float]] = [[] for _ in range(count)]
    writes, failed, events = [0] * count, [0] * count, [0] * count

    def at(time_s: float) -> int | None:
        number = int((time_s - fault_s) // BIN_S) - first
        return number if 0 <= number < count else None

    for sample in samples:
        number = at(sample.returned_s)
        if number is None:
            continue
        if sample.error:
            failed[number] += 1
        else:
            took[number].append(1000 * (sample.returned_s - sample.called_s))
            writes[number] += sample.is_write
    for time_s in events_s:
        if (number := at(time_s)) is not None:
            events[number] += 1
    return Timeline(
        begin_s=round(first * BIN_S, 3),
        bin_s=BIN_S,
        ok=[len(each) for each in took],
        writes=writes,
        failed=failed,
        p50_ms=[round(quantile(sorted(each), 0.5), 3) if each else None for each in took],
        max_ms=[round(max(each), 3) if each else None for each in took],
        events=events,
    )
