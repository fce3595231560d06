"""What kube-scheduler's /metrics says, under its names (pkg/scheduler/metrics)."""

from collections.abc import Iterable
from typing import Any

from agents.scheduler.queue import Place, SchedulingQueue
from agents.scheduler.snapshot import Snapshot
from keelson.cogs.metrics import Histogram, exponential

ATTEMPT_BOUNDS_S = exponential(0.001, 2, 15)
SLI_BOUNDS_S = exponential(0.01, 2, 20)
VICTIMS_BOUNDS = exponential(1, 2, 7)

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"


class Metrics:
    """Counters and histograms, fed by the scheduler's shell. Labels: result and profile."""

    def __init__(self, queue: SchedulingQueue, snapshot: Snapshot) -> None:
        self._queue, self._snapshot = queue, snapshot
        self.attempts: dict[tuple[str, str], Histogram] = {}
        self.sli: dict[tuple[str, ...], Histogram] = {}
        self.preemption_attempts = 0
        self.victims = Histogram(VICTIMS_BOUNDS)

    def attempt(self, result: str, profile: str, duration_s: float) -> None:
        key = (result, profile)
        if key not in self.attempts:
            self.attempts[key] = Histogram(ATTEMPT_BOUNDS_S)
        self.attempts[key].observe(duration_s)

    def scheduled(self, attempts: int, waited_s: float) -> None:
        """From the queue to bound. `attempts` beyond 15 count as 16+."""
        key = (str(attempts) if attempts <= 15 else "16+",)
        if key not in self.sli:
            self.sli[key] = Histogram(SLI_BOUNDS_S)
        self.sli[key].observe(waited_s)

    def collect(self) -> Iterable[Any]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        from keelson.cogs.exposition import histogram_family

        attempts = CounterMetricFamily(
            "scheduler_schedule_attempts",
            "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal"
            " scheduler problem.",
            labels=["result", "profile"],
        )
        for labels, histogram in self.attempts.items():
            attempts.add_metric(list(labels), float(sum(histogram.counts)))
        yield attempts
        pending = GaugeMetricFamily("scheduler_pending_pods", "Number of pending pods, by the queue type.", labels=["queue"])
        for place in (Place.ACTIVE, Place.BACKOFF, Place.UNSCHEDULABLE, Place.GATED):
            pending.add_metric([place.value], float(self._queue.size(place)))
        yield pending
        cache = GaugeMetricFamily("scheduler_cache_size", "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.", labels=["type"])
        snapshot = self._snapshot
        for kind, counted in (("nodes", snapshot.order), ("pods", snapshot.pods), ("assumed_pods", snapshot.assumed)):
            cache.add_metric([kind], float(len(counted)))
        yield cache
        yield CounterMetricFamily(
            "scheduler_preemption_attempts", "Total preemption attempts in the cluster till now", value=float(self.preemption_attempts)
        )
        yield histogram_family("scheduler_preemption_victims", "Number of selected preemption victims", (), {(): self.victims})
        yield histogram_family(
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
            ("result", "profile"),
            {tuple(labels): histogram for labels, histogram in self.attempts.items()},
        )
        yield histogram_family(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling"
            " attempts.",
            ("attempts",),
            self.sli,
        )
