"""Where a generator's choices come from: a seeded generator for long runs, hypothesis where failures shall shrink."""

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Chooser(Protocol):
    def pick(self, options: Sequence[T]) -> T:
        """One of `options`; the first is the simplest."""
        ...

    def number(self, low: int, high: int) -> int: ...

    def chance(self, percent: int) -> bool:
        """True about `percent` times in a hundred; False is the simpler outcome."""
        ...

    def blob(self, size_max: int) -> bytes: ...


class Seeded:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pick(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def chance(self, percent: int) -> bool:
        return self._random.randrange(100) < percent

    def blob(self, size_max: int) -> bytes:
        return self._random.randbytes(self._random.randint(0, size_max))


class Drawn:
    """Choices drawn from hypothesis data: it shrinks them when a comparison fails."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def pick(self, options: Sequence[T]) -> T:
        return options[self._data.draw(st.integers(0, len(options) - 1))]

    def number(self, low: int, high: int) -> int:
        # Drawn as a distance: revisions go on from example to example, and hypothesis wants the same choices wherever it replays one.
        return low + self._data.draw(st.integers(0, high - low))

    def chance(self, percent: int) -> bool:
        return self._data.draw(st.integers(0, 99)) >= 100 - percent

    def blob(self, size_max: int) -> bytes:
        return self._data.draw(st.binary(max_size=size_max))
