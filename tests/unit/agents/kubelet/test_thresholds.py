"""--eviction-hard as the kubelet takes it."""

import pytest

from agents.kit.flags import comma_list
from agents.kubelet.thresholds import DEFAULT, Threshold, Thresholds

GIB = 1 << 30


def test_quantities_and_parts() -> None:
    given = Thresholds.parse(comma_list("memory.available<1.5Gi,nodefs.available<12.5%"))
    assert given == Thresholds(Threshold("1.5Gi"), Threshold("12.5%"))
    assert given.memory.bytes_of(8 * GIB) == 3 * GIB // 2 and given.memory.text(8 * GIB) == "1.5Gi"
    assert given.disk.bytes_of(8 * GIB) == GIB and given.disk.text(8 * GIB) == str(GIB)


def test_upstreams_default() -> None:
    default = Thresholds.parse(comma_list(DEFAULT))
    assert (default.memory.bytes_of(8 * GIB), default.disk.bytes_of(100 * GIB)) == (100 << 20, 10 * GIB)


def test_what_is_not_named_has_no_threshold() -> None:
    given = Thresholds.parse(["nodefs.available<0%"])
    assert (given.memory.bytes_of(GIB), given.disk.bytes_of(GIB)) == (0, 0)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("nodefs.available", "is not SIGNAL<QUANTITY"),
        ("nodefs.available<", "is not SIGNAL<QUANTITY"),
        ("nodefs.available>5%", "is not SIGNAL<QUANTITY"),
        ("imagefs.available<5%", "'imagefs.available' is not watched here"),
        ("nodefs.available<5%,nodefs.available<6%", "given twice"),
        ("nodefs.available<101%", "between 0% and 100%"),
        ("nodefs.available<-1%", "between 0% and 100%"),
        ("memory.available<-1Mi", "zero or more"),
        ("memory.available<much", "quantities must match"),
        ("memory.available<5%%", "quantities must match"),
    ],
)
def test_what_is_no_threshold_is_refused(given: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Thresholds.parse(comma_list(given))
