"""Quantities: 100m, 1.5Gi, 2e3 (apimachinery/pkg/api/resource). Exact, of any size, finer than a nano rounded up; printed in the canonical form.

The canonical form keeps the kind of suffix that came (decimal, binary, exponent), has no fraction, and the largest suffix that allows it: so
`1.5Gi` is printed 1536Mi, and `0.5` is 500m. What has a binary suffix and is below 1024 is printed in decimal form; above, fractions are rounded up.
"""

import re
from enum import Enum
from fractions import Fraction
from functools import lru_cache, total_ordering
from math import ceil, floor
from typing import Any, Self

DIGITS_MAX = 1000
"""Longer numbers are refused: they cost time that grows with the square of their length."""
EXPONENT_MAX = 1000
NANO = Fraction(1, 10**9)
LIMIT = 2**63 - 1
"""Upstream caps what it parses at the largest 64-bit number (`MaxQuantity`): larger values are taken, and mean that."""

_FORM = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?[0-9]+))?")
_DECIMAL = ("", "k", "M", "G", "T", "P", "E")
_BELOW_ONE = {-1: "m", -2: "u", -3: "n"}
_POWERS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")

FORMAT_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_TEXT = "unable to parse quantity's suffix"


class Format(Enum):
    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


@total_ordering
class Quantity:
    """An exact amount and the form to print it in. Compared by amount alone: 1Gi equals 1024Mi."""

    __slots__ = ("amount", "form")

    def __init__(self, amount: Fraction | int, form: Format = Format.DECIMAL) -> None:
        self.amount = Fraction(amount)
        self.form = form

    @classmethod
    def from_milli(cls, milli: int, form: Format = Format.DECIMAL) -> Self:
        return cls(Fraction(milli, 1000), form)

    @property
    def value(self) -> int:
        """Whole units, rounded away from zero, as the scheduler and quota count."""
        return ceil(self.amount) if self.amount >= 0 else floor(self.amount)

    @property
    def milli_value(self) -> int:
        """Thousandths, rounded away from zero: how CPU is counted."""
        scaled = self.amount * 1000
        return ceil(scaled) if scaled >= 0 else floor(scaled)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.amount == other.amount

    def __lt__(self, other: "Quantity") -> bool:
        return self.amount < other.amount

    def __hash__(self) -> int:
        return hash(self.amount)

    def __bool__(self) -> bool:
        return self.amount != 0

    def __add__(self, other: "Quantity") -> "Quantity":
        """The sum, in the form of the first that is not zero."""
        return Quantity(self.amount + other.amount, self.form if self.amount else other.form)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.amount - other.amount, self.form if self.amount else other.form)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.amount, self.form)

    def __repr__(self) -> str:
        return f"Quantity({self})"

    def __str__(self) -> str:
        return _printed(self.amount, self.form)


def parse(value: Any) -> Quantity:
    """A quantity from text or a JSON number. Raises ValueError with Kubernetes' text."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(FORMAT_TEXT)
    if isinstance(value, float):
        value = repr(value)
    return _parsed(str(value))


def canonical(value: Any) -> str:
    """The canonical text: what the API answers. Raises ValueError."""
    return str(parse(value))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Quantity:
    if len(text) > DIGITS_MAX:
        raise ValueError(FORMAT_TEXT)
    found = _FORM.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        raise ValueError(SUFFIX_TEXT if re.match(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[A-Za-z]", text) else FORMAT_TEXT)
    sign, whole, fraction, suffix, exponent = found.groups()
    fraction = fraction or ""
    amount = Fraction(int((whole or "") + fraction or "0"), 10 ** len(fraction))
    form = Format.DECIMAL
    if exponent is not None:
        form = Format.EXPONENT
        if abs(int(exponent)) > EXPONENT_MAX:
            raise ValueError(SUFFIX_TEXT)
        amount *= Fraction(10) ** int(exponent)
    elif suffix and suffix.endswith("i"):
        form = Format.BINARY
        amount *= 1024 ** _BINARY.index(suffix)
    elif suffix:
        amount *= Fraction(10) ** _POWERS[suffix]
    if amount % NANO:
        amount = NANO * ceil(amount / NANO)
    amount = min(amount, Fraction(LIMIT))
    return Quantity(-amount if sign == "-" else amount, form)


def _printed(amount: Fraction, form: Format) -> str:
    if amount == 0:
        return "0"
    if form is Format.BINARY and -1024 < amount < 1024:
        form = Format.DECIMAL
    sign = "-" if amount < 0 else ""
    amount = abs(amount)
    if form is Format.BINARY:
        number, step = ceil(amount), 0
        while step + 1 < len(_BINARY) and number % 1024 == 0:
            number, step = number // 1024, step + 1
        return f"{sign}{number}{_BINARY[step]}"
    if amount % NANO:
        amount = NANO * ceil(amount / NANO)
    step = 0
    if amount.denominator != 1:
        while amount.denominator != 1:
            amount, step = amount * 1000, step - 1
    else:
        while step + 1 < len(_DECIMAL) and amount % 1000 == 0:
            amount, step = amount / 1000, step + 1
    if form is Format.EXPONENT:
        return f"{sign}{int(amount)}e{step * 3}" if step else f"{sign}{int(amount)}"
    return f"{sign}{int(amount)}{_DECIMAL[step] if step >= 0 else _BELOW_ONE[step]}"
