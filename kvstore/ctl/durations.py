"""Go's text for a span of time, read and written: 2s, 1h30m, 500ms, 2.145652ms."""

import re

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")


class Duration(float):
    """Seconds, with the text they were given as."""

    text: str

    def __new__(cls, text: str) -> "Duration":
        made = super().__new__(cls, seconds(text))
        made.text = text
        return made


def seconds(text: str) -> float:
    """Raises ValueError with the words of Go's time.ParseDuration."""
    sign, unsigned = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if unsigned == "0":
        return 0.0
    total, at = 0.0, 0
    while at < len(unsigned):
        part = _PART.match(unsigned, at)
        if part is None:
            break
        number, unit = part.groups()
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS_S:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(number) * _UNITS_S[unit]
        at = part.end()
    if not unsigned or at < len(unsigned):
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * total


def written(span_s: float) -> str:
    """Go's Duration.String for what a command takes."""
    if span_s >= 60:
        minutes, rest = divmod(span_s, 60)
        hours, minutes = divmod(int(minutes), 60)
        return (f"{hours}h" if hours else "") + f"{minutes}m" + _digits(rest) + "s"
    if span_s >= 1:
        return _digits(span_s) + "s"
    unit, factor = ("ms", 1e3) if span_s >= 1e-3 else ("µs", 1e6)
    return _digits(span_s * factor, 6) + unit


def _digits(number: float, places: int = 9) -> str:
    return f"{number:.{places}f}".rstrip("0").rstrip(".")
