"""The five fields of a cron schedule, and the words that stand for one (robfig/cron ParseStandard): checked, with its words for what is wrong."""

import re

FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
)
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
DESCRIPTORS = frozenset(("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"))
DURATION = re.compile(r"^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$")


def fault(schedule: str) -> str:
    """What is wrong with it; empty if nothing is."""
    if not schedule.strip():
        return "empty spec string"
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        schedule = schedule.partition(" ")[2].strip()
    if schedule.startswith("@"):
        if schedule in DESCRIPTORS:
            return ""
        if schedule.startswith("@every "):
            return "" if DURATION.match(schedule[7:]) else f'failed to parse duration {schedule}: time: invalid duration "{schedule[7:]}"'
        return f"unrecognized descriptor: {schedule}"
    parts = schedule.split()
    if len(parts) != 5:
        return f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]"
    bounds = [(low, high, list(words), low) for _, low, high, words in FIELDS] + [(0, 6, WEEKDAYS, 0)]
    for part, (low, high, words, base) in zip(parts, bounds, strict=True):
        for expression in part.split(","):
            if found := _expression(expression, low, high, words, base):
                return found
    return ""


def _number(text: str, words: list[str], base: int) -> int | None:
    if text.lower() in words:
        return words.index(text.lower()) + base
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _expression(expression: str, low: int, high: int, words: list[str], base: int) -> str:
    whole, *steps = expression.split("/")
    if len(steps) > 1:
        return f"too many slashes: {expression}"
    span = whole.split("-")
    if span[0] in ("*", "?"):
        start, end = low, high
        if len(span) > 1:
            return f"failed to parse int from {whole}"
    else:
        if len(span) > 2:
            return f"too many hyphens: {expression}"
        numbers = [_number(each, words, base) for each in span]
        for text, number in zip(span, numbers, strict=True):
            if number is None:
                return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        start = numbers[0] or 0
        end = (numbers[1] or 0) if len(numbers) == 2 else (high if steps else start)
    if steps:
        if not (steps[0].isascii() and steps[0].isdigit()):
            return f'failed to parse int from {steps[0]}: strconv.Atoi: parsing "{steps[0]}": invalid syntax'
        if int(steps[0]) == 0:
            return f"step of range should be a positive number: {expression}"
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {expression}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {expression}"
    return f"beginning of range ({start}) beyond end of range ({end}): {expression}" if start > end else ""
