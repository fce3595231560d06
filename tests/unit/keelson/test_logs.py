"""Log lines have etcd's shape, whatever is in them."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from keelson.cogs import logs

LOG = logging.getLogger("tests.logs")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream for `logs.configure`; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level


def test_a_line_has_zaps_keys_in_zaps_order(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    LOG.info("ready to serve client requests", extra=logs.fields(local_member_id="8e9e", name="m1", args=[1, 2]))
    line = json.loads(stream.getvalue())
    assert list(line) == ["level", "ts", "caller", "msg", "local-member-id", "name", "args"]
    assert (line["level"], line["msg"], line["args"]) == ("info", "ready to serve client requests", [1, 2])
    assert line["caller"].startswith("keelson/test_logs.py:")


def test_times_are_utc_with_microseconds() -> None:
    record = logging.makeLogRecord({"created": 1_700_000_000.000_012, "levelno": logging.INFO})
    assert json.loads(logs.JsonFormatter().format(record))["ts"] == "2023-11-14T22:13:20.000012Z"


@pytest.mark.parametrize(("level", "shown"), [("debug", 5), ("info", 4), ("warn", 3), ("error", 2), ("fatal", 1)])
def test_levels_have_etcds_names(stream: io.StringIO, level: str, shown: int) -> None:
    logs.configure(level, stream=stream)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        LOG.log(number, "x")
    lines = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    assert lines == ["debug", "info", "warn", "error", "fatal"][-shown:]


def test_an_odd_level_is_told_as_the_one_below() -> None:
    record = logging.makeLogRecord({"levelno": 35})
    assert json.loads(logs.JsonFormatter().format(record))["level"] == "warn"


def test_nothing_breaks_a_line_in_two(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        LOG.exception("first\nsecond \x00 \u2028", extra=logs.fields(value=b"\xff\n", thing=object()))
    assert len(stream.getvalue().splitlines(keepends=False)) >= 1
    (raw,) = stream.getvalue().rstrip("\n").split("\n")
    line = json.loads(raw)
    assert line["error"] == "two\nlines"
    assert "ValueError" in line["stacktrace"]


def test_console_lines_are_for_people(stream: io.StringIO) -> None:
    logs.configure(form="console", stream=stream)
    LOG.warning("slow %s", "disk", extra=logs.fields(took="1s"))
    parts = stream.getvalue().rstrip("\n").split("\t")
    assert parts[1] == "warn"
    assert parts[3:] == ["slow disk", '{"took": "1s"}']
    assert "\x1b[33mwarn" in logs.ConsoleFormatter(colour=True).format(logging.makeLogRecord({"levelno": logging.WARNING}))


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown log level 'loud'"):
        logs.configure("loud")
    with pytest.raises(ValueError, match="unknown log format 'xml'"):
        logs.configure(form="xml")


def test_standard_error_is_the_default(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure()
    LOG.info("here")
    assert json.loads(stream.getvalue())["msg"] == "here"
