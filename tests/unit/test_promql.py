"""The finder of series in PromQL, without which the test of dashboards and alerts would look at nothing."""

import pytest

from tests.support.promql import labels_selected, series_of


@pytest.mark.parametrize(
    ("expression", "series"),
    [
        ("up", {"up"}),
        ('sum by (le, job) (rate(a_bucket{job=~"b|c"}[5m:1m])) > 0.5', {"a_bucket"}),
        ("a - on (job) group_right () b unless c offset 5m", {"a", "b", "c"}),
        ('histogram_quantile(0.99, rate(a_bucket{x="y{z}"}[$__rate_interval])) or vector(0)', {"a_bucket"}),
        ("a == bool 0 and b > 1e6", {"a", "b"}),
        ("predict_linear(a[4h], 4 * 60 * 60) > b", {"a", "b"}),
    ],
)
def test_series(expression: str, series: set[str]) -> None:
    assert series_of(expression) - {"5m"} == series


def test_labels() -> None:
    assert labels_selected('rate(a{job=~"$job",code!="OK"}[5m]) / b{x!~"y"} + c') == [("a", {"job", "code"}), ("b", {"x"})]
