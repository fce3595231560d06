"""Regular expressions of users, over texts of users: RE2's, as Kubernetes' are Go's. Matching takes time in proportion to the text, whatever the
pattern: an engine that backtracks would stop a whole server for `(a+)+$` and forty letters.

Syntax and meaning are RE2's, over UTF-8; what it refuses is told in the words of Go's regexp/syntax. Bounds: the memory of one pattern (its program
and the states it was in, RE2's max_mem) and how many are kept.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

PATTERN_MAX = 10_000
MEMORY_BYTES = 1 << 20
KEPT = 128
"""Patterns of that size, so that all of them hold at most 128 MiB; what hosts and names are matched by holds some KiB."""
LARGE_MEMORY_BYTES = 16 << 20
LARGE_KEPT = 4
STEPS_MAX = 1 << 28
"""Bytes of text times instructions of the pattern: what one object, or one call of a function, may cost. A step takes 5 ns where RE2 has given up its
tables of states, a fiftieth of that where it has not: a second at the worst."""

_WORDS = {
    b"invalid escape sequence": "invalid escape sequence",
    b"invalid character class": "invalid character class",
    b"invalid character class range": "invalid character class range",
    b"missing ]": "missing closing ]",
    b"missing )": "missing closing )",
    b"unexpected )": "unexpected )",
    b"trailing \\": "trailing backslash at end of expression",
    b"no argument for repetition operator": "missing argument to repetition operator",
    b"invalid repetition size": "invalid repeat count",
    b"bad repetition operator": "invalid nested repetition operator",
    b"invalid perl operator": "invalid or unsupported Perl syntax",
    b"invalid UTF-8": "invalid UTF-8",
    b"invalid named capture group": "invalid named capture",
}
"""RE2's words and Go's, for the same faults."""
_ESCAPES = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.", re.DOTALL)
"""Each escape of a pattern in turn, literal stretches whole."""


class BadPattern(ValueError):
    """What is no pattern, in Go's words."""


class TooMuch(ValueError):
    """Matching would take too long."""


class Pattern:
    """One compiled pattern."""

    __slots__ = ("_compiled", "size")

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self.size: int = compiled.programsize
        """Instructions."""

    def cost(self, text: str) -> int:
        """Steps that matching takes at most; a character counts as one byte, for most are."""
        return len(text) * self.size

    def occurs_in(self, text: str) -> bool:
        return self._compiled.search(text.encode(errors="replace")) is not None

    def find_all(self, text: str, limit: int = -1) -> list[str]:
        """The first so many places that match; -1: all. Raises TooMuch."""
        found: list[str] = []
        steps, places = self.cost(text), self._compiled.finditer(text)
        while steps <= STEPS_MAX:
            each = next(places, None) if len(found) != limit else None
            if each is None:
                return found
            found.append(each[0])
            # The search for the next place may go on to the end of the text and come back.
            steps += self.cost(text) - each.end() * self.size
        raise TooMuch(f"finding every match takes more than {STEPS_MAX} steps")


def compiled(text: str) -> Pattern:
    """Raises BadPattern."""
    try:
        return _small(text)
    except _Large:
        return _large(text)


class _Large(Exception):
    """It does not fit into MEMORY_BYTES."""


@lru_cache(maxsize=KEPT)
def _small(text: str) -> Pattern:
    return _made(text, MEMORY_BYTES)


@lru_cache(maxsize=LARGE_KEPT)
def _large(text: str) -> Pattern:
    try:
        return _made(text, LARGE_MEMORY_BYTES)
    except _Large:
        raise BadPattern(f"error parsing regexp: expression too large: `{text}`") from None


def _made(text: str, memory_bytes: int) -> Pattern:
    if len(text) > PATTERN_MAX:
        raise BadPattern(f"a pattern has at most {PATTERN_MAX} characters")
    if r"\C" in _ESCAPES.findall(text):
        # A single byte, which may be a part of a character: RE2 has it and Go has not.
        raise BadPattern(r"error parsing regexp: invalid escape sequence: `\C`")
    options = re2.Options()
    options.max_mem = memory_bytes
    options.log_errors = False
    try:
        made = Pattern(re2.compile(text, options))
        re2.purge()  # it keeps 128 of any size; those that are kept here are enough
        return made
    except re2.error as wrong:
        told: bytes = wrong.args[0]
    except UnicodeEncodeError:
        told = b"invalid UTF-8"
    if told.startswith(b"pattern too large"):
        raise _Large from None
    fault, _, where = told.partition(b": ")
    raise BadPattern(f"error parsing regexp: {_WORDS.get(fault, fault.decode())}: `{where.decode(errors='replace')}`") from None
