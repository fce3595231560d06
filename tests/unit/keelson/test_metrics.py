"""Histograms and Prometheus' text: bounds are inclusive, numbers are written as Go writes them, names stay as they are."""

import pytest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from keelson.cogs.exposition import histogram_family, plain_counter, text_of
from keelson.cogs.metrics import Histogram, exponential, number


def test_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram(exponential(1, 2, 3))
    for value in (0.5, 1, 1.1, 4, 4.1, 1000):
        histogram.observe(value)
    assert histogram.buckets() == [("1", 2), ("2", 3), ("4", 4), ("+Inf", 6)]
    assert histogram.total == pytest.approx(1010.7)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (8, "8"),
        (0.001, "0.001"),
        (999_999, "999999"),
        (1_048_576, "1.048576e+06"),
        (2_000_000, "2e+06"),
        (12_345_678.5, "1.23456785e+07"),
        (-2_000_000, "-2e+06"),
        (1.7e-05, "1.7e-05"),
        (float("inf"), "+Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_as_go_writes_them(value: float, text: str) -> None:
    assert number(value) == text
    assert float(text) == pytest.approx(value, nan_ok=True)


def test_the_text_of_every_kind() -> None:
    gauge = GaugeMetricFamily("b", "a gauge\nwith two lines", labels=["l"])
    gauge.add_metric(['quoted "\\" \n'], 1)
    histogram = Histogram((0.5,))
    histogram.observe(0.1)
    families = [
        gauge,
        CounterMetricFamily("a", "a counter", value=3),
        plain_counter("c_success", "a counter of another name", 4),
        histogram_family("d", "a histogram", ("To",), {("x",): histogram}),
        CounterMetricFamily("e", "nothing yet", labels=["x"]),
    ]
    assert text_of(families).decode().splitlines() == [
        "# HELP a_total a counter",
        "# TYPE a_total counter",
        "a_total 3",
        "# HELP b a gauge\\nwith two lines",
        "# TYPE b gauge",
        'b{l="quoted \\"\\\\\\" \\n"} 1',
        "# HELP c_success a counter of another name",
        "# TYPE c_success counter",
        "c_success 4",
        "# HELP d a histogram",
        "# TYPE d histogram",
        'd_bucket{To="x",le="0.5"} 1',
        'd_bucket{To="x",le="+Inf"} 1',
        'd_count{To="x"} 1',
        'd_sum{To="x"} 0.1',
        "# HELP e_total nothing yet",
        "# TYPE e_total counter",
    ]
