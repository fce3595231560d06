"""Times as the API writes them: RFC 3339 in UTC, whole seconds (metav1.Time) or microseconds (metav1.MicroTime).

A time is kept as nanoseconds since 1970 where order matters below a microsecond, as `datetime` elsewhere; `now` always comes in as an argument.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse(text: str) -> datetime:
    """Any RFC 3339 time, in UTC; what is finer than a microsecond is cut. Raises ValueError."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse')
    year, month, day, hour, minute, second = (int(each) for each in found.groups()[:6])
    micros = int((found[7] or "0").ljust(9, "0")[:6])
    zone: timezone = UTC
    if found[9]:
        offset = timedelta(hours=int(found[10]), minutes=int(found[11]))
        zone = timezone(-offset if found[9] == "-" else offset)
    return datetime(year, month, day, hour, minute, second, micros, zone).astimezone(UTC)


def shown(moment: datetime) -> str:
    """metav1.Time: 2026-11-21T14:03:05Z; fractions of a second are cut, as upstream does."""
    moment = moment.astimezone(UTC)
    return f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}T{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}Z"


def shown_micro(moment: datetime) -> str:
    """metav1.MicroTime: always six digits after the point (Leases and events have it)."""
    return f"{shown(moment)[:-1]}.{moment.microsecond:06d}Z"


def parse_duration(text: str) -> float:
    """Go's durations (`1h30m`, `1.5s`, `300ms`, `0`) in seconds. Raises ValueError."""
    rest = text[1:] if text[:1] in ("-", "+") else text
    sign = -1.0 if text.startswith("-") else 1.0
    if rest == "0":
        return 0.0
    total, at = 0.0, 0
    while at < len(rest):
        found = _DURATION.match(rest, at)
        if found is None:
            break
        total += float(found[1]) * _UNIT_S[found[2]]
        at = found.end()
    if not rest or at != len(rest):
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * total


def human_duration(seconds: float) -> str:
    """An age as kubectl prints it: 45s, 3m12s, 10m, 5h2m, 2d3h, 90d, 3y12d (apimachinery/pkg/util/duration HumanDuration)."""
    whole = int(seconds)
    if seconds <= -2:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if whole < 60 * 2:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 60 * 3:
        return f"{minutes}m"
    hours = whole // 3600
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return f"{hours // 24}d{hours % 24}h" if hours % 24 else f"{hours // 24}d"
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    days = hours // 24
    if hours < 24 * 365 * 8:
        return f"{days // 365}y{days % 365}d" if days % 365 else f"{days // 365}y"
    return f"{hours // 24 // 365}y"


def age(created: str, now: datetime) -> str:
    """The age of an object created at `created`, as a table shows it."""
    if not created:
        return "<unknown>"
    try:
        return human_duration((now - parse(created)).total_seconds())
    except ValueError:
        return "<unknown>"
