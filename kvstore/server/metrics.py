"""/metrics: the collectors of `collectors.py` and of the process, as text.

Counts that exist anyway (Raft's indexes, the services' counters) are read when somebody asks; durations are kept by `observed.py`. Nothing here
costs anything between two scrapes.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from keelson.cogs.exposition import TEXT, text_of
from kvstore.api.rpc import Stats
from kvstore.server.collectors import DiskCollector, NetworkCollector, ProcessGauges, RpcCollector, ServerCollector, StateCollector
from kvstore.server.loop import Runner
from kvstore.server.transport import Transport


class Metrics:
    def __init__(self, runner: Runner, transport: Transport, stats: Stats) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        collectors: list[Collector] = [
            ServerCollector(runner, stats),
            StateCollector(runner, stats),
            DiskCollector(runner),
            NetworkCollector(runner, transport, stats),
            RpcCollector(stats),
            ProcessGauges(runner),
        ]
        for collector in collectors:
            self._registry.register(collector)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Body and content type for an Accept header."""
        if "application/openmetrics-text" in accept:
            body: bytes = openmetrics.generate_latest(_Proper(self._registry.collect()))  # type: ignore[no-untyped-call]
            return body, openmetrics.CONTENT_TYPE_LATEST
        return text_of(self._registry.collect()), TEXT


class _Proper(Collector):
    """OpenMetrics allows no counter without `_total`: those of etcd's are told without a type there."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for metric in self._metrics:
            if metric.type == "counter" and any(not sample.name.endswith("_total") for sample in metric.samples):
                metric.type = "unknown"
            yield metric
