"""Prometheus' text of /metrics, read the plain way: families with their types, series with their labels."""

import re
from collections.abc import Iterable

from msgspec import Struct

_SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Series(Struct, frozen=True):
    name: str
    labels: dict[str, str]
    value: float


class Exposition:
    """`types` by family; `series` in the order of the text. Raises AssertionError for a line that is neither."""

    def __init__(self, text: str) -> None:
        self.types: dict[str, str] = {}
        self.series: list[Series] = []
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.types, f"{name} is told twice"
                self.types[name] = kind
            elif not line.startswith("#") and line:
                found = _SERIES.match(line)
                assert found is not None, f"not a series: {line!r}"
                labels = dict(_LABEL.findall(found[2] or ""))
                self.series.append(Series(found[1], labels, float(found[3])))

    @property
    def names(self) -> set[str]:
        """What PromQL can select: a histogram's family name is not one of them."""
        return {series.name for series in self.series}

    def value(self, name: str, **labels: str) -> float:
        """Of the one series with these labels among others; 0 if there is none (a counter that nobody used has no series)."""
        found = [series.value for series in self.series if series.name == name and labels.items() <= series.labels.items()]
        assert len(found) < 2, f"{len(found)} series {name}{labels}"
        return found[0] if found else 0.0

    def labels_of(self, family: str) -> set[str]:
        """Names of all labels in the family's series, without the bounds of buckets."""
        return {label for series in self._of(family) for label in series.labels} - {"le"}

    def bounds_of(self, family: str) -> list[float]:
        """Of a histogram: the upper bounds of its first series' buckets."""
        bounds = [float(series.labels["le"]) for series in self.series if series.name == f"{family}_bucket"]
        return bounds[: bounds.index(float("inf")) + 1] if bounds else []

    def _of(self, family: str) -> Iterable[Series]:
        parts = {family, f"{family}_bucket", f"{family}_sum", f"{family}_count"} if self.types.get(family) == "histogram" else {family}
        return (series for series in self.series if series.name in parts)
