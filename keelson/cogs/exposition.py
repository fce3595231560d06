"""Prometheus' text of what was counted (`metrics.py`). Apart from it, because the library takes 15 ms to import: a start does not wait for that,
the first who asks for the metrics does."""

from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.samples import Sample

from keelson.cogs.metrics import Histogram, number

TEXT = "text/plain; version=0.0.4; charset=utf-8"


def histogram_family(name: str, text: str, labels: tuple[str, ...], histograms: Mapping[tuple[str, ...], Histogram]) -> Metric:
    """One family of the histograms by their label values."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, histogram in histograms.items():
        family.add_metric(values, histogram.buckets(), histogram.total)
    return family


def plain_counter(name: str, text: str, value: float) -> Metric:
    """A counter whose name does not end in `_total`, as some of etcd's do not."""
    family = Metric(name, text, "counter")
    family.add_sample(name, {}, value)
    return family


def text_of(metrics: Iterable[Metric]) -> bytes:
    """Prometheus' text format, families by name and, unlike prometheus-client's writer, with the counters' names as they are."""
    lines: list[str] = []
    for metric in sorted(metrics, key=lambda found: found.name):
        name = metric.name
        if metric.type == "counter":
            name = metric.samples[0].name if metric.samples else f"{name}_total"
        help_text = metric.documentation.replace("\\", r"\\").replace("\n", r"\n")
        lines.append(f"# HELP {name} {help_text}\n# TYPE {name} {'untyped' if metric.type == 'unknown' else metric.type}\n")
        lines += map(_line, metric.samples)
    return "".join(lines).encode()


def _line(sample: Sample) -> str:
    if not sample.labels:
        return f"{sample.name} {number(sample.value)}\n"
    labels = ",".join([f'{name}="{_escaped(value)}"' for name, value in sample.labels.items()])
    return f"{sample.name}{{{labels}}} {number(sample.value)}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") if "\\" in value or '"' in value or "\n" in value else value
