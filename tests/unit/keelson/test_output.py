"""Tables line up, sizes and times read well, colour stays off pipes."""

import io

import pytest

from keelson.cogs import output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "wanted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colour_only_where_a_person_looks(stream: io.StringIO, environment: dict[str, str], wanted: bool) -> None:
    assert output.colour_wanted(stream, environment) is wanted


def test_columns_line_up() -> None:
    text = output.table(["NAME", "SIZE"], [["m1", 5], ["member-2", 1024]], right=["SIZE"])
    assert text.split("\n") == ["NAME      SIZE", "m1           5", "member-2  1024"]


def test_a_table_without_rows_is_its_headers() -> None:
    assert output.table(["NAME", "SIZE"], []) == "NAME  SIZE"


def test_a_row_of_the_wrong_length_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="3 cells under 2 headers"):
        output.table(["A", "B"], [[1, 2, 3]])


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (24_576, "25 kB"), (999_600, "1.0 MB"), (1_250_000, "1.2 MB"), (2_147_483_648, "2.1 GB")],
)
def test_sizes(size: int, text: str) -> None:
    assert output.size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0ms"), (0.34, "340ms"), (0.9999, "1.0s"), (4.24, "4.2s"), (59.97, "1m00s"), (200, "3m20s"), (7500, "2h05m"), (273_600, "3d4h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text
