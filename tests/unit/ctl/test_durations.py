"""Go's spans of time, read and written."""

import pytest

from kvstore.ctl.durations import Duration, seconds, written


@pytest.mark.parametrize(
    ("text", "span_s"), [("2s", 2), ("1h30m", 5400), ("500ms", 0.5), (".5s", 0.5), ("1.5m", 90), ("0", 0), ("-2s", -2), ("10us", 1e-5), ("3µs", 3e-6)]
)
def test_what_go_reads(text: str, span_s: float) -> None:
    assert seconds(text) == pytest.approx(span_s)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("zz", 'time: invalid duration "zz"'),
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("1x", 'time: unknown unit "x" in duration "1x"'),
        ("1s.", 'time: invalid duration "1s."'),
    ],
)
def test_what_go_refuses(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=f"^{error}$"):
        seconds(text)


def test_as_go_writes_them() -> None:
    assert [written(span) for span in (0.002145652, 1.5, 0.000790868, 61.25, 3723)] == ["2.145652ms", "1.5s", "790.868µs", "1m1.25s", "1h2m3s"]


def test_a_duration_is_its_seconds_and_keeps_its_text() -> None:
    assert (Duration("1m") + 1, Duration("1m").text) == (61, "1m")
