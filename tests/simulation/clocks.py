"""Each member's own clock: it runs at its own rate from its own beginning. Time at a member says nothing about time elsewhere."""

import random
from dataclasses import dataclass


@dataclass
class Clock:
    """`rate` 1.01 gains a second in a hundred. The offset differs by years, so that nothing works only near zero."""

    rate: float
    offset_s: float

    def read(self, now_s: float) -> float:
        return self.offset_s + now_s * self.rate

    def real_delay(self, own_s: float) -> float:
        """How long `own_s` seconds of this clock take."""
        return own_s / self.rate


def draw(rng: random.Random, skew_max: float) -> Clock:
    return Clock(1 + rng.uniform(-skew_max, skew_max), rng.uniform(0, 3e8))
