"""Cron's schedules, as CronJobs write them (robfig/cron's standard parser): five fields, names, ranges, steps, @daily and its like, @every. Pure.

`parse(text)` raises ValueError; `Schedule.after(time)` is the next time at or beyond a minute later, in the zone of the time it is given. Days: if
both day
fields say something, either may fit. In a zone that skips an hour the times in it are skipped; in one that repeats an hour they come once.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from agents.kit.flags import duration_s

MONTHS = {name: at for at, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)}
DAYS = {name: at for at, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, MONTHS),
    ("day of week", 0, 6, DAYS),
)
YEARS_MAX = 5
"""A schedule that finds nothing in so many years (30 February) never comes."""
EVERY_S_MIN = 1


class Schedule(Struct, frozen=True):
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    every_s: int = 0

    def after(self, time: datetime) -> datetime | None:
        """The next time that it names, later than `time`; None if there is none."""
        if self.every_s:
            return time.replace(microsecond=0) + timedelta(seconds=self.every_s)
        zone = time.tzinfo
        # The wall clock without its zone: arithmetic on days and hours, then back into the zone.
        at = (time.replace(tzinfo=None, fold=0) + timedelta(minutes=1)).replace(second=0, microsecond=0)
        last_year = at.year + YEARS_MAX
        while at.year <= last_year:
            if at.month not in self.months:
                at = (at.replace(day=1, hour=0, minute=0) + timedelta(days=32)).replace(day=1)
            elif not self._fits_day(at):
                at = at.replace(hour=0, minute=0) + timedelta(days=1)
            elif at.hour not in self.hours:
                at = at.replace(minute=0) + timedelta(hours=1)
            elif at.minute not in self.minutes:
                at += timedelta(minutes=1)
            else:
                found = at.replace(tzinfo=zone)
                if _exists(found) and found.timestamp() > time.timestamp():
                    return found
                at += timedelta(minutes=1)
        return None

    def _fits_day(self, at: datetime) -> bool:
        day, weekday = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return day and weekday if self.any_day or self.any_weekday else day or weekday


def _exists(time: datetime) -> bool:
    """Whether the wall clock of its zone ever shows it."""
    if time.tzinfo is None:
        return True
    back = datetime.fromtimestamp(time.timestamp(), time.tzinfo)
    return (back.hour, back.minute) == (time.hour, time.minute)


def parse(text: str) -> Schedule:
    """Raises ValueError."""
    text = text.strip()
    if text.startswith(("TZ=", "CRON_TZ=")):
        raise ValueError("cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    if text.startswith("@every "):
        try:
            seconds = int(duration_s(text.removeprefix("@every ").strip()))
        except Exception as error:
            raise ValueError(f"failed to parse duration {text}: {error}") from None
        everything: frozenset[int] = frozenset()
        return Schedule(everything, everything, everything, everything, everything, True, True, max(seconds, EVERY_S_MIN))
    text = NAMED.get(text, text)
    if text.startswith("@"):
        raise ValueError(f"unrecognized descriptor: {text}")
    parts = text.split()
    if len(parts) != len(FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(parts)}: {parts}")
    minutes, hours, days, months, weekdays = (_field(part, *field) for part, field in zip(parts, FIELDS, strict=True))
    return Schedule(minutes, hours, days, months, weekdays, parts[2][0] in "*?", parts[4][0] in "*?")


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        if slash and (not step_text.isdigit() or int(step_text) == 0):
            raise ValueError(f"step of range should be a positive number: {part}")
        step = int(step_text) if slash else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(first_text, name, names)
            last = _number(last_text, name, names) if dash else (high if slash else first)
        if first < low or last > high or first > last:
            raise ValueError(f"{name}: {part} is not within {low}-{high}")
        found |= set(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, name: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdigit():
        raise ValueError(f"failed to parse {name} from {text!r}")
    return int(text)
