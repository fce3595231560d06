"""Go's spans of time, read and written."""

import re

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
        ("s", 'time: invalid duration "s"'),
        (".s", 'time: invalid duration ".s"'),
        ("-", 'time: invalid duration "-"'),
        ("- 1s", 'time: invalid duration "- 1s"'),
        ("١s", 'time: invalid duration "١s"'),
        ("2562048h", 'time: invalid duration "2562048h"'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("-9223372036854775809ns", 'time: invalid duration "-9223372036854775809ns"'),
        ("1" * 5000 + "h", f'time: invalid duration "{"1" * 5000}h"'),
        ("2562047h48m", 'time: invalid duration "2562047h48m"'),
    ],
)
def test_what_go_refuses(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(error)}$"):
        seconds(text)


def test_the_longest_that_go_counts() -> None:
    assert seconds("2562047h47m16.854775807s") == seconds("9223372036854775807ns") == pytest.approx(9223372036.854776)
    assert seconds("-9223372036854775808ns") == pytest.approx(-9223372036.854776)
    assert seconds("0." + "3" * 5000 + "s") == pytest.approx(1 / 3)


def test_as_go_writes_them() -> None:
    assert [written(span) for span in (0.002145652, 1.5, 0.000790868, 61.25, 3723)] == ["2.145652ms", "1.5s", "790.868µs", "1m1.25s", "1h2m3s"]


def test_a_duration_is_its_seconds_and_keeps_its_text() -> None:
    assert (Duration("1m") + 1, Duration("1m").text) == (61, "1m")
