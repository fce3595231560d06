"""What one run of one fault against one cluster gave: times, counts, timeline, verdicts."""

from msgspec import Struct


class Trial(Struct):
    """Filled in by the drill; a fault's `judge` reads it."""
