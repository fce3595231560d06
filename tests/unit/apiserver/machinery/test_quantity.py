"""Quantities: parsed exactly, printed canonically (the cases of apimachinery/pkg/api/resource/quantity_test.go, in short)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.machinery.quantity import Format, Quantity, canonical, parse


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("0", "0"),
        ("100m", "100m"),
        ("0.1", "100m"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Mi", "512Ki"),
        ("100Ki", "100Ki"),
        ("1Ki", "1Ki"),
        ("0.5Ki", "512"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1e-3", "1e-3"),
        ("2e4", "20e3"),
        ("1E", "1E"),
        ("12345678901234567890", "9223372036854775807"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("-500m", "-500m"),
        ("+1Gi", "1Gi"),
        (3, "3"),
        (1.5, "1500m"),
        ("007", "7"),
    ],
)
def test_canonical(text: object, printed: str) -> None:
    assert canonical(text) == printed
    assert parse(printed) == parse(text)


@pytest.mark.parametrize("text", ["", "a", "1.2.3", "1ki", "1 Gi", "--1", "1e", "1Kim", True, None, [], "1e999999999", "9" * 2000])
def test_refused(text: object) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_compared_by_amount() -> None:
    assert parse("1Gi") == parse("1024Mi") > parse("1G")
    assert hash(parse("1k")) == hash(parse("1000"))
    assert (parse("100m").milli_value, parse("1").milli_value, parse("1n").milli_value) == (100, 1000, 1)
    assert (parse("1500m").value, parse("-1500m").value) == (2, -2)
    assert str(parse("1Gi") + parse("512Mi")) == "1536Mi"
    assert str(parse("1") - parse("250m")) == "750m"


@given(st.integers(-(2**62), 2**62), st.sampled_from(Format))
def test_what_is_printed_means_the_same(milli: int, form: Format) -> None:
    quantity = Quantity(milli, form)
    assert parse(str(quantity)) == quantity
