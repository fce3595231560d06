"""What command lines print: aligned tables, JSON, colour only where a person looks."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"


def colour_wanted(stream: TextIO | None = None, environment: Mapping[str, str] | None = None) -> bool:
    """Whether `stream` shows colour: a terminal, not a dumb one, and nobody said NO_COLOR (no-color.org: any value but the empty one)."""
    environment = os.environ if environment is None else environment
    stream = sys.stdout if stream is None else stream
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and text else text


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = (), colour: bool = False) -> str:
    """Columns aligned with two spaces between them, as kubectl prints them; columns named in `right` are flush right. No trailing blanks."""
    lines = [[str(cell) for cell in row] for row in rows]
    for line in lines:
        assert len(line) == len(headers), f"a row of {len(line)} cells under {len(headers)} headers"
    widths = [max(len(header), *(len(line[at]) for line in lines)) if lines else len(header) for at, header in enumerate(headers)]
    flush_right = [header in right for header in headers]

    def laid(line: Sequence[str]) -> str:
        cells = (cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(line, widths, flush_right, strict=True))
        return "  ".join(cells).rstrip()

    return "\n".join([paint(laid(headers), BOLD, colour), *(laid(line) for line in lines)])


def as_json(value: Any) -> str:
    """For `-o json`: indented, keys in the order given."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def size(size_bytes: int) -> str:
    """A size as etcdctl tells it: "25 kB", "1.2 MB" (powers of 1,000)."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value, unit = float(size_bytes), ""
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """A duration for people, at most two units: "340ms", "4.2s", "3m20s", "2h05m", "3d4h"."""
    if seconds < 0.9995:
        return f"{round(max(seconds, 0) * 1000)}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600}h"
