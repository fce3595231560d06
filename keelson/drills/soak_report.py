"""What a soak gave, and the form of its JSON: windows one after the other, and the members' sizes all the time."""

from msgspec import Struct

from keelson.drills.fault import Verdict
from keelson.drills.growth import Size


class Window(Struct, frozen=True):
    """`gap_s`: the longest time without an acknowledged write."""

    began_s: float
    done: list[str]
    ok: int
    failed: int
    unknown: int
    gap_s: float
    verdicts: list[Verdict]


class Report(Struct):
    program: str
    version: str
    date: str
    settings: dict[str, float | int | str]
    machine: dict[str, str | int]
    windows: list[Window]
    sizes: list[Size]
    verdicts: list[Verdict]
    """Over the whole run."""
    error: str = ""

    @property
    def kept(self) -> bool:
        return (
            not self.error
            and all(verdict.kept for window in self.windows for verdict in window.verdicts)
            and all(each.kept for each in self.verdicts)
        )
