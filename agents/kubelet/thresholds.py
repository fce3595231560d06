"""When a node is under pressure: kubelet's `--eviction-hard`."""

from collections.abc import Sequence
from typing import Self

from msgspec import Struct

from apiserver.machinery import quantity

MEMORY, DISK = "memory.available", "nodefs.available"
DEFAULT = f"{MEMORY}<100Mi,{DISK}<10%"
"""Upstream's, of what is watched here."""


class Threshold(Struct, frozen=True):
    """`at_least`: a quantity of bytes, or a part of the whole in percent. Zero: never under pressure."""

    at_least: str = "0"

    def bytes_of(self, capacity_bytes: int) -> int:
        if self.at_least.endswith("%"):
            return int(capacity_bytes * quantity.parse(self.at_least[:-1]).amount / 100)
        return quantity.parse(self.at_least).value

    def is_passed(self, capacity_bytes: int, left_bytes: int) -> bool:
        return left_bytes < self.bytes_of(capacity_bytes)

    def text(self, capacity_bytes: int) -> str:
        return str(self.bytes_of(capacity_bytes)) if self.at_least.endswith("%") else self.at_least


class Thresholds(Struct, frozen=True):
    memory: Threshold = Threshold()
    disk: Threshold = Threshold()

    @classmethod
    def parse(cls, given: Sequence[str]) -> Self:
        """`given`: each `SIGNAL<QUANTITY` or `SIGNAL<PERCENTAGE`. A signal that is not named has no threshold, as upstream. Raises ValueError."""
        found: dict[str, Threshold] = {}
        for each in given:
            signal, sign, at_least = each.partition("<")
            if not sign or not at_least:
                raise ValueError(f"--eviction-hard: {each!r} is not SIGNAL<QUANTITY, such as {DISK}<10%")
            if signal not in (MEMORY, DISK):
                raise ValueError(f"--eviction-hard: the signal {signal!r} is not watched here; {MEMORY} and {DISK} are")
            if signal in found:
                raise ValueError(f"--eviction-hard: {signal} is given twice")
            found[signal] = _threshold(each, at_least)
        return cls(found.get(MEMORY, Threshold()), found.get(DISK, Threshold()))


def _threshold(given: str, at_least: str) -> Threshold:
    is_part = at_least.endswith("%")
    try:
        amount = quantity.parse(at_least.removesuffix("%")).amount
    except ValueError as error:
        raise ValueError(f"--eviction-hard: {given!r}: {error}") from None
    if amount < 0 or (is_part and amount > 100):
        raise ValueError(f"--eviction-hard: {given!r}: must be {'between 0% and 100%' if is_part else 'zero or more'}")
    return Threshold(at_least)
