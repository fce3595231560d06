"""Log lines in the shape of etcd's (zap's JSON encoder), through the standard logging module.

    {"level":"info","ts":"2026-11-21T05:40:00.123456Z","caller":"server/node.py:12","msg":"ready to serve","address":"127.0.0.1:2379"}

`level`, `ts`, `caller` and `msg` come first and in this order; log shippers and etcd's own tests look for them. Fields of a line are given as
`log.info("ready to serve", extra=fields(address=...))`; zap writes names with hyphens, so underscores become hyphens.
Times are UTC with microseconds.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, TextIO

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
"""etcd's names for --log-level."""

_NAMES = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error", logging.CRITICAL: "fatal"}
_COLOURS = {"debug": "35", "info": "34", "warn": "33", "error": "31", "fatal": "31"}


def fields(**values: object) -> dict[str, dict[str, object]]:
    """The `extra` of a log call: `fields(local_member_id="8e9e05c52164694d")` adds `"local-member-id":"8e9e05c52164694d"` to the line."""
    return {"fields": {name.replace("_", "-"): value for name, value in values.items()}}


def duration(seconds: float) -> str:
    """As Go writes a duration: 1.346812ms, 2m0.5s."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds == 0:
        return "0s"
    sign, nanoseconds = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 1000:
            return sign + _decimal(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = _decimal(rest, 1_000_000_000) + "s"
    return sign + (f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text)


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = str(unit + rest)[1:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, whatever the message or the fields hold."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": _level(record),
            "ts": timestamp(record.created),
            "caller": _caller(record),
            "msg": record.getMessage(),
        }
        line.update(_fields(record))
        if record.exc_info and record.exc_info[1] is not None:
            line.setdefault("error", _one_line(record.exc_info[1]))
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"), ensure_ascii=False, default=str)


class ConsoleFormatter(logging.Formatter):
    """For people: time, level, caller, message and the fields as JSON, separated by tabs as zap's console encoder does."""

    def __init__(self, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = _level(record)
        shown = f"\x1b[{_COLOURS[level]}m{level}\x1b[0m" if self._colour else level
        parts = [timestamp(record.created), shown, _caller(record), record.getMessage()]
        if extra := _fields(record):
            parts.append(json.dumps(extra, ensure_ascii=False, default=str))
        line = "\t".join(parts)
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + self.formatException(record.exc_info)
        return line


def handler_for(stream: TextIO, form: str = "json", colour: bool = False) -> "logging.StreamHandler[TextIO]":
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter(colour))
    return handler


def configure(
    level: str = "info",
    form: str = "json",
    stream: TextIO | None = None,
    colour: bool = False,
    handlers: Sequence[logging.Handler] | None = None,
) -> None:
    """Send everything from `level` (etcd's name) up to `handlers`, or to `stream` (standard error if None) in `form` "json" or "console".

    Replaces what was configured before. Raises ValueError for a level or form that does not exist.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown log level {level!r}: one of {', '.join(LEVELS)}")
    if form not in ("json", "console"):
        raise ValueError(f"unknown log format {form!r}: json or console")
    given = [handler_for(sys.stderr if stream is None else stream, form, colour)] if handlers is None else handlers
    logging.basicConfig(level=LEVELS[level], handlers=given, force=True)
    logging.captureWarnings(True)


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno) or _NAMES[max((number for number in _NAMES if number <= record.levelno), default=logging.DEBUG)]


def timestamp(seconds: float) -> str:
    """UTC with microseconds, as every line begins."""
    micros = round(seconds * 1e6)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros // 1_000_000)) + f".{micros % 1_000_000:06}Z"


def _caller(record: logging.LogRecord) -> str:
    """The last folder, the file and the line, as zap's short caller shows them."""
    return "/".join(PurePath(record.pathname).parts[-2:]) + f":{record.lineno}"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    values: dict[str, object] = getattr(record, "fields", {})
    return values


def _one_line(error: BaseException) -> str:
    return str(error) or type(error).__name__
