"""Go's text for a span of time, read and written: 2s, 1h30m, 500ms, 2.145652ms."""

import re

_UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_NANOSECONDS_END = 1 << 63
"""Go counts in 64 bits: 292 years in either direction."""


class Duration(float):
    """Seconds, with the text they were given as."""

    text: str

    def __new__(cls, text: str) -> "Duration":
        made = super().__new__(cls, seconds(text))
        made.text = text
        return made


def seconds(text: str) -> float:
    """Raises ValueError with the words of Go's time.ParseDuration."""
    invalid = ValueError(f'time: invalid duration "{text}"')
    is_negative = text.startswith("-")
    unsigned = text[1:] if text[:1] in ("-", "+") else text
    if unsigned == "0":
        return 0.0
    if not unsigned:
        raise invalid
    total_ns, at = 0, 0
    while at < len(unsigned):
        part = _PART.match(unsigned, at)
        assert part is not None, "it may match nothing"
        whole, fraction, unit = part.group(1), part.group(2) or "", part.group(3)
        if not whole and not fraction:
            raise invalid
        whole = whole.lstrip("0")
        if len(whole) > len(str(_NANOSECONDS_END)):
            raise invalid
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS_NS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        fraction = fraction[:18]
        total_ns += int(whole or "0") * _UNITS_NS[unit] + int(fraction or "0") * _UNITS_NS[unit] // 10 ** len(fraction)
        if total_ns > _NANOSECONDS_END or (total_ns == _NANOSECONDS_END and not is_negative):
            raise invalid
        at = part.end()
    return (-total_ns if is_negative else total_ns) / 1e9


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
